"""Whatever comes costs CPU time and memory in proportion to its size, and no turn takes long."""

import os

import brokerside as broker
from cost import check
from hypothesis import Phase, given, settings
from pamqp import commands
from repetitive import heads, long, request, requests, streams

# Nothing is made smaller: the input is short as it is written, and a small one costs nothing.
EXAMPLES = 300 if "FUZZ" in os.environ else 20
costly = settings(max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate))

LOGIN = broker.start() + broker.tune() + broker.open_ok()
PROPERTIES = commands.Basic.Properties(headers={"a": [1] * 100})
broker_streams = long(
    [broker.blocked("x"), broker.unblocked(), broker.start(), broker.tune(), broker.open_ok(),
     broker.returned(1, "e", "k", b"x" * 100, PROPERTIES), broker.ack(1, 1, False),
     broker.channel_close(1, 404, "x" * 200), b"\x08\x00\x00\x00\x00\x00\x00\xce", b"\xce",
     b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x03\xe7\xce", b"\x03\x00\x01\x00\x00\x00\x01x\xce",
     b"\x03\x00\x01\x00\x00\x00\x00\xce", b"\0"],
    [b"", LOGIN, LOGIN + broker.channel_open_ok(1), LOGIN + b"\x01\x00\x01\x00\x01\x00\x00",
     LOGIN + broker.returned(1, "e", "k", b"x" * 100, PROPERTIES)[:-110]],
)  # fmt: skip


class TestEdge:
    @costly
    @given(requests())
    def test_a_body(self, drawn):
        check("edge", request(*drawn))

    @costly
    @given(heads())
    def test_a_head(self, head):
        check("edge", head)

    @costly
    @given(streams)
    def test_a_connection(self, stream):
        check("edge", bytes(stream))


class TestBroker:
    @costly
    @given(broker_streams)
    def test_its_frames(self, stream):
        check("broker", bytes(stream))
