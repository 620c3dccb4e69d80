import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, decode, frame, header

from statelessd.amqp import encode
from statelessd.amqp.errors import EncodeError

short_text = st.text(max_size=60)  # at most 240 bytes
words = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=30)


def short(size):
    return st.integers(-(1 << (size - 1)), (1 << (size - 1)) - 1)


leaves = (
    st.none()
    | st.booleans()
    | short(64)
    | st.floats(allow_nan=False)
    | st.text(max_size=50)
    | st.binary(max_size=50).map(bytes)
)
values = st.recursive(
    leaves,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(short_text, children, max_size=4)
    ),
    max_leaves=12,
)
tables = st.dictionaries(short_text, values, max_size=6)

property_values = st.fixed_dictionaries(
    {},
    optional={
        "content_type": words,
        "content_encoding": words,
        "headers": tables,
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 255),
        "correlation_id": words,
        "reply_to": words,
        "expiration": words,
        "message_id": words,
        "timestamp": st.integers(0, (1 << 32) - 1),  # what pamqp can make a date of
        "type": words,
        "user_id": words,
        "app_id": words,
    },
)


@given(tables)
def test_a_field_table_is_what_pamqp_reads_back(table):
    data = encode.field_table(table)
    consumed, decoded = decode.field_table(data)
    assert consumed == len(data)
    assert decoded == table


@given(property_values)
def test_properties_are_what_pamqp_reads_back(values):
    data = encode.properties(values)
    content = struct.pack(">HHQ", 60, 0, 0) + data
    decoded = header.ContentHeader()
    decoded.unmarshal(content)
    for name in commands.Basic.Properties.attributes():
        got = getattr(decoded.properties, name)
        if name == "timestamp" and got is not None:
            got = int(got.timestamp())
        ours = "type" if name == "message_type" else name  # pamqp's name for it
        assert (got if got != "" else None) == values.get(ours)


@given(property_values)
def test_properties_without_floats_and_small_integers_are_byte_for_byte_pamqps(values):
    values.pop("headers", None)  # pamqp picks other integer and float types there
    values.pop("timestamp", None)
    expected = dict(values)
    if "type" in expected:
        expected["message_type"] = expected.pop("type")  # pamqp's name for it
    assert encode.properties(values) == commands.Basic.Properties(**expected).marshal()


def test_a_timestamp_has_all_64_bits():
    assert encode.properties({"timestamp": 2**64 - 1}) == b"\x00\x40" + b"\xff" * 8


def test_doubles_keep_their_64_bits():
    assert encode.field_value(0.1) == b"d" + struct.pack(">d", 0.1)


@given(short_text.filter(lambda s: s.isascii()), short_text.filter(str.isascii), st.booleans())
def test_basic_publish_is_byte_for_byte_pamqps(exchange, routing_key, mandatory):
    method = commands.Basic.Publish(routing_key=routing_key, mandatory=mandatory)
    method.exchange = exchange  # past pamqp's validation of names
    method.validate = lambda: None
    ours = encode.publish_start(3, exchange, routing_key, mandatory)
    assert ours == frame.marshal(method, 3) + b"\x02\x00\x03"  # a header frame's type and channel


def test_names_that_pamqp_refuses_are_encoded():
    assert encode.publish_start(3, "é" * 100, "k", False)[11:].startswith(
        b"\x00\x00\xc8" + "é".encode() * 100
    )


@pytest.mark.parametrize("frame_max", [4096, 131072])
@pytest.mark.parametrize("size", [0, 1, 4087, 4088, 4089, 8176, 8177, 131064, 131065, 300_000])
def test_a_body_is_split_into_frames_that_pamqp_reads_back(size, frame_max):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    properties = encode.properties({"content_type": "text/plain"})
    pieces = []
    encode.Envelope(7, "e", "k", properties, False).seal(body, frame_max, pieces)
    data = b"".join(pieces)
    kinds, got = [], b""
    while data:
        consumed, channel, value = frame.unmarshal(data)
        assert channel == 7
        assert consumed <= frame_max
        kinds.append(type(value).__name__)
        if kinds[-1] == "ContentHeader":
            assert value.body_size == size
            assert value.properties.content_type == "text/plain"
        elif kinds[-1] == "ContentBody":
            got += value.value
        data = data[consumed:]
    assert kinds[:2] == ["Publish", "ContentHeader"]
    assert len(kinds) == 2 + -(-size // (frame_max - 8))
    assert got == body


def test_connection_open_is_pamqps_also_for_names_it_refuses():
    assert encode.connection_open("test") == frame.marshal(commands.Connection.Open("test"), 0)
    assert "ünï".encode() in encode.connection_open("ünï")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": 2**63}, "beyond 64 bits"),
        ({"a": -(2**63) - 1}, "beyond 64 bits"),
        ({"x" * 256: 1}, "256 bytes"),
        ({"ü" * 128: 1}, "256 bytes"),
        ({"a": {"b": [object()]}}, "type object"),
        ({"a": "\ud800"}, "surrogate"),
    ],
)
def test_what_amqp_cannot_carry_is_an_encode_error(value, words):
    with pytest.raises(EncodeError, match=words):
        encode.properties({"headers": value})


def test_the_error_names_the_property():
    with pytest.raises(EncodeError, match=r"^app_id is 300 bytes long"):
        encode.properties({"app_id": "x" * 300})


def test_a_short_string_may_have_255_bytes():
    assert encode.short_string("x" * 255) == b"\xff" + b"x" * 255


def test_content_keys_keep_the_parts_apart():
    keys = {
        encode.content_key("a", "bc", b"d"),
        encode.content_key("ab", "c", b"d"),
        encode.content_key("a", "b", b"cd"),
        encode.content_key("a", "bc", b""),
    }
    assert len(keys) == 4
