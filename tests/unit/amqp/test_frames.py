import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame

from statelessd.amqp.errors import FrameError, ProtocolError
from statelessd.amqp.events import BasicAck, BasicReturn, Blocked, CloseMethod
from statelessd.amqp.frames import FrameSplitter, decode_content_header, decode_method


def raw(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (raw(1, 1, b"x")[:-1] + b"\x00", "frame-end"),
        (struct.pack(">BHI", 1, 1, 2**31), "2147483648 bytes"),
        (struct.pack(">BHI", 1, 1, 4096 - 8 + 1), "4089 bytes"),
        (b"AMQP\x00\x00\x08\x00", "does not speak"),
        (b"HTTP/1.1 400 Bad Request", "unknown type 72"),
        (b"\x07", "unknown type 7"),
    ],
)
def test_what_is_no_frame_is_an_error(data, words):
    with pytest.raises(FrameError, match=words):
        list(FrameSplitter(4096).feed(data))


def test_a_frame_of_the_agreed_size_is_taken():
    assert len(list(FrameSplitter(4096).feed(raw(3, 1, b"x" * 4088)))) == 1


def payload(method):
    return frame.marshal(method, 0)[7:-1]


def test_acks_and_nacks_are_decoded_as_pamqp_encodes_them():
    assert decode_method(payload(commands.Basic.Ack(2**40, True))) == BasicAck(2**40, True, True)
    assert decode_method(payload(commands.Basic.Ack(1, False))) == BasicAck(1, False, True)
    nack = commands.Basic.Nack(9, True, False)
    assert decode_method(payload(nack)) == BasicAck(9, True, False)


def test_the_texts_of_the_broker_are_decoded():
    close = commands.Connection.Close(403, "ACCESS_REFUSED - no", 10, 11)
    assert decode_method(payload(close)) == CloseMethod(403, "ACCESS_REFUSED - no", (10, 11))
    close = commands.Channel.Close(404, "NOT_FOUND", 60, 40)
    assert decode_method(payload(close)) == CloseMethod(404, "NOT_FOUND", (60, 40))
    returned = commands.Basic.Return(312, "NO_ROUTE", "e", "k")
    assert decode_method(payload(returned)) == BasicReturn("e", "k")
    blocked = commands.Connection.Blocked("low on memory")
    assert decode_method(payload(blocked)) == Blocked("low on memory")


def test_a_reply_text_cut_within_a_character_is_decoded_with_a_replacement():
    text = ("x" * 251 + "é").encode()[:252] + b"..."
    data = struct.pack(">IH", 20 << 16 | 40, 404) + bytes([len(text)]) + text + b"\0" * 4
    method = decode_method(data)
    assert isinstance(method, CloseMethod)
    assert method.text == "x" * 251 + "\ufffd..."


def test_an_unknown_method_is_a_protocol_error():
    with pytest.raises(ProtocolError):
        decode_method(b"\x00\x63\x00\x63")


@given(st.binary(max_size=80), st.sampled_from([10, 20, 50, 60, 85, 90]), st.integers(0, 130))
def test_garbage_raises_nothing_but_a_protocol_error(data, cls, method):
    for candidate in (data, struct.pack(">HH", cls, method) + data):
        with contextlib.suppress(ProtocolError):
            decode_method(candidate)


def test_a_content_header_gives_body_size_and_properties():
    data = struct.pack(">HHQ", 60, 0, 123) + b"\x80\x00\x01a"
    assert decode_content_header(data) == (123, b"\x80\x00\x01a")
    with pytest.raises(FrameError):
        decode_content_header(data[:13])
