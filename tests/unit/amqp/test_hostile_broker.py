"""A broker that sends what none should: bounded in memory and CPU, and told in printable words."""

import struct
import time
import tracemalloc

import brokerside as broker
import pytest
from pamqp import body, commands, frame

from statelessd.amqp import encode, events
from statelessd.amqp.protocol import ConnectionState, Login, Protocol

EMPTY = encode.properties({})
FRAME = 100_000  # bytes of a body frame
LARGE = 50 * FRAME
NASTY = "\x1b[2J\x9b1m\r\nroot\u202egpj\u2066 \x00"


def raw(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def table(content):
    return struct.pack(">I", len(content)) + content


def with_channel():
    protocol = Protocol(Login("guest", "secret", "test", {}))
    protocol.receive_data(broker.start() + broker.tune() + broker.open_ok())
    protocol.open_channel()
    protocol.receive_data(broker.channel_open_ok(1) + broker.select_ok(1))
    return protocol


def publish(protocol, content, mandatory=True):
    protocol.publish(1, "m", "e", "k", EMPTY, content, mandatory)


def announced(size, exchange="e", routing_key="k"):
    """A return whose body, of so many bytes, has not come yet."""
    whole = broker.method(commands.Basic.Return(312, "NO_ROUTE", exchange, routing_key), 1)
    return whole + raw(2, 1, struct.pack(">HHQ", 60, 0, size) + EMPTY)


def error_of(found):
    assert isinstance(found[-1], events.Failed)
    return str(found[-1].error)


class TestReturns:
    @pytest.mark.parametrize("size", [6, 2**40, 2**64 - 1])
    def test_a_body_larger_than_any_that_may_come_back_ends_the_connection(self, size):
        protocol = with_channel()
        publish(protocol, b"x" * 5)
        publish(protocol, b"x" * 100, mandatory=False)
        assert "a return of" in error_of(protocol.receive_data(announced(size)))
        assert protocol.lost() == ["m", "m"]

    def test_a_body_that_comes_is_not_held(self):
        protocol = with_channel()
        publish(protocol, b"x" * LARGE)
        piece = frame.marshal(body.ContentBody(b"x" * FRAME), 1)
        protocol.receive_data(announced(LARGE))
        tracemalloc.start()
        try:
            for _ in range(LARGE // FRAME - 1):
                assert protocol.receive_data(piece) == []
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 3 * FRAME
        [settled] = protocol.receive_data(piece + broker.ack(1, 1))
        assert settled.settled == [("m", events.Settlement.RETURNED)]

    def test_a_body_that_never_gets_on_ends_the_connection(self):
        protocol = with_channel()
        publish(protocol, b"hello")
        empty = raw(3, 1, b"")
        assert "a content body" in error_of(protocol.receive_data(announced(5) + empty))

    @pytest.mark.parametrize("added", [b"\x01aA" + table(b"V" * 120_000), b"\x00V" * 60_000])
    def test_headers_that_no_broker_adds_are_not_looked_at(self, added):
        protocol = with_channel()
        for entry, priority in (("plain", None), ("urgent", 9)):
            header = encode.properties({"priority": priority})
            protocol.publish(1, entry, "e", "k", header, b"", True)
        method = broker.method(commands.Basic.Return(312, "NO_ROUTE", "e", "k"), 1)
        content = struct.pack(">HHQH", 60, 0, 0, 1 << 13) + table(added)
        began = time.process_time()
        for _ in range(20):
            assert protocol.receive_data(method + raw(2, 1, content)) == []
        assert time.process_time() - began < 0.4
        [settled] = protocol.receive_data(broker.ack(1, 2, multiple=True))
        doubtful = events.Settlement.DOUBTFUL
        assert settled.settled == [("plain", doubtful), ("urgent", doubtful)]

    def test_a_return_whose_names_cannot_be_ours_ends_the_connection(self):
        protocol = with_channel()
        publish(protocol, b"hello")
        names = announced(5, routing_key="x" * 255).replace(b"x" * 255, b"\xff" * 255)
        assert "not UTF-8" in error_of(protocol.receive_data(names))


def start(properties):
    mechanisms = b"PLAIN"
    payload = struct.pack(">HHBB", 10, 10, 0, 9) + table(properties)
    return raw(1, 0, payload + table(mechanisms) + table(b"en_US"))


def nested(kind, depth):
    content = b""
    for _ in range(depth):
        content = (b"\x00" if kind == b"F" else b"") + kind + table(content)
    return content


MANY = 65_000
SERVER_PROPERTIES = {
    "a long array": b"\x01aA" + table(b"V" * MANY),
    "many entries": b"\x00V" * (MANY // 2),
    "nested tables": b"\x01aF" + table(nested(b"F", MANY // 7)),
    "nested arrays": b"\x01aA" + table(nested(b"A", MANY // 6)),
    "a long text": b"\x07productS" + table(b"\x1b" * MANY),
}


class TestStart:
    @pytest.mark.parametrize("name", SERVER_PROPERTIES)
    def test_server_properties_take_little_time(self, name):
        data = start(SERVER_PROPERTIES[name])
        began = time.process_time()
        for _ in range(5):
            protocol = Protocol(Login("guest", "secret", "test", {}))
            assert protocol.receive_data(data) == []
            assert protocol.state is ConnectionState.AUTHENTICATING
        assert time.process_time() - began < 1.0
        assert len(protocol.peer.product) < 10_000

    @pytest.mark.parametrize(
        "properties",
        [
            b"\x01aA" + struct.pack(">I", 2**32 - 1),
            b"\x01aS" + struct.pack(">I", 10) + b"short",
            b"\x01a?",
            b"\xff",
            b"\x01a",
        ],
    )
    def test_properties_that_are_malformed_end_the_connection(self, properties):
        protocol = Protocol(Login("guest", "secret", "test", {}))
        assert error_of(protocol.receive_data(start(properties)))

    def test_a_start_is_not_taken_twice(self):
        found = with_channel().receive_data(start(SERVER_PROPERTIES["a long array"]))
        assert "Start is not expected while open" in error_of(found)


class TestTexts:
    def test_what_people_may_read_is_printable(self):
        closed = broker.channel_close(1, 404, NASTY)
        reasons = broker.blocked(NASTY) + closed + broker.close(320, NASTY)
        found = with_channel().receive_data(reasons)
        texts = [getattr(event, "text", "") or getattr(event, "reason", "") for event in found]
        assert len(texts) == 3
        for text in texts:
            assert text.isprintable()
            assert r"\x1b[2J\x9b1m\r\nroot\u202egpj\u2066 \x00" in text

    def test_what_is_not_utf_8_is_printable_as_well(self):
        close = broker.close(320, "x" * 200).replace(b"x" * 200, b"\xff\x9b\xe2\x80" * 50)
        [closed] = with_channel().receive_data(close)
        assert closed.text.isprintable()

    @pytest.mark.parametrize(
        "method",
        [
            commands.Queue.DeclareOk("q", 1, 1),
            commands.Basic.ConsumeOk(NASTY),
            commands.Connection.Secure(NASTY),
            commands.Queue.Declare(0, "q", arguments={"a": [1]}),
        ],
    )
    @pytest.mark.parametrize("cut", [0, 3])
    def test_errors_name_the_method_and_quote_nothing(self, method, cut):
        payload = frame.marshal(method, 1)[7:-1]
        error = error_of(with_channel().receive_data(raw(1, 1, payload[: len(payload) - cut])))
        assert method.name in error
        assert " at 0x" not in error
        assert error.isprintable()

    @pytest.mark.parametrize(
        "kind", [commands.Connection.Tune, commands.Channel.OpenOk, commands.Confirm.SelectOk]
    )
    def test_an_error_of_a_decoder_names_no_object(self, kind):
        payload = struct.pack(">IB", kind.index, 7)
        error = error_of(with_channel().receive_data(raw(1, 1, payload)))
        assert kind.name in error
        assert " at 0x" not in error
