"""Whatever the broker sends: an event or a protocol error, and the same in whatever pieces.

No exception leaves the protocol but its own. A call that a state does not allow
raises StateError and changes nothing.
"""

import brokerside as broker
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutate import cuts, mutated, octets
from pamqp import commands, frame

from statelessd.amqp import encode, events
from statelessd.amqp.errors import ProtocolError, StateError
from statelessd.amqp.protocol import ConnectionState, Login, Protocol

HEADER = encode.properties({"delivery_mode": 2})
LOGIN = broker.start() + broker.tune() + broker.open_ok()
CHANNELS = b"".join(broker.channel_open_ok(n) + broker.select_ok(n) for n in (1, 2))

channels = st.integers(0, 3)
tags = st.integers(0, 6)
codes = st.sampled_from([200, 311, 320, 403, 404, 406, 501, 530, 541])
texts = st.sampled_from(
    ["", "NOT_FOUND - no exchange 'e' in vhost 'v'", "ACCESS_REFUSED - caf\u00e9", "x" * 255]
)
keys = st.sampled_from(["k", "other"])
bodies = st.sampled_from([b"", b"a", b"b" * 10])

frames = st.one_of(
    st.builds(broker.ack, channels, tags, st.booleans()),
    st.builds(broker.nack, channels, tags, st.booleans()),
    st.builds(
        lambda channel, key, body: broker.returned(
            channel, "e", key, body, commands.Basic.Properties(delivery_mode=2)
        ),
        channels,
        keys,
        bodies,
    ),
    st.builds(broker.channel_close, channels, codes, texts),
    st.builds(broker.channel_close_ok, channels),
    st.builds(broker.close, codes, texts),
    st.builds(broker.blocked, texts),
    st.sampled_from(
        [
            broker.unblocked(),
            broker.close_ok(),
            broker.open_ok(),
            broker.tune(),
            broker.start(),
            broker.channel_open_ok(1),
            broker.select_ok(3),
            broker.method(commands.Basic.GetEmpty(), 1),
            broker.method(commands.Connection.Secure("x")),
            b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x03\xe7\xce",  # an unknown method
            b"\x01\x00\x01\x7f\xff\xff\xff",  # a frame of 2 GB
            b"\x08\x00\x00\x00\x00\x00\x00\xce",  # a heartbeat
            frame.marshal(broker.ContentBody(b"stray"), 1),
            b"AMQP\x00\x00\x09\x01",
        ]
    ),
)
streams = st.lists(frames, max_size=8).map(b"".join)


def new():
    return Protocol(Login("guest", "secret", "test", {"product": "statelessd"}))


def busy():
    """Two channels: one with messages under way of every kind, and one that is closing."""
    protocol = new()
    protocol.receive_data(LOGIN)
    protocol.open_channel()
    protocol.open_channel()
    protocol.receive_data(CHANNELS)
    for i, (key, body, mandatory) in enumerate(
        [("k", b"a", True), ("k", b"a", True), ("k", b"", True), ("other", b"a", False)]
    ):
        protocol.publish(1, f"m{i}", "e", key, HEADER, body, mandatory)
    protocol.close_channel(2)
    protocol.data_to_send()
    return protocol


def fed(protocol, pieces):
    """All events, comparable; and what is left of the protocol."""
    found = []
    for piece in pieces:
        for event in protocol.receive_data(piece):
            if isinstance(event, events.Failed):
                assert isinstance(event.error, ProtocolError)
                assert str(event.error)
                # Not its text: how much of the nonsense had come decides what it looks like.
                return [*found, "failed"], protocol
            found.append(event)
    return found, protocol


def refused(make, call):
    """Assert that the call is refused, and that the protocol goes on as if it had not been."""
    protocol = make()
    with pytest.raises(StateError):
        call(protocol)
    assert told(protocol) == told(make())


def told(protocol):
    """Return what can be seen of it, and what it makes of what comes later."""
    later = CHANNELS + broker.ack(1, 0, True) + broker.channel_close_ok(2) + broker.close_ok()
    seen = protocol.state, protocol.data_to_send()
    return seen, fed(protocol, [later])[0], protocol.data_to_send(), protocol.lost()


CALLS = {
    "open a channel": lambda p: p.open_channel(),
    "publish": lambda p: p.publish(1, "late", "e", "k", HEADER, b"x"),
    "publish mandatory": lambda p: p.publish(1, "late", "e", "k", HEADER, b"x", True),
    "a heartbeat": lambda p: p.send_heartbeat(),
    "close": lambda p: p.close(),
    "close a channel": lambda p: p.close_channel(1),
}


@pytest.mark.parametrize("start", [new, busy])
@given(data=st.data())
def test_the_same_in_whatever_pieces(start, data):
    prefix = LOGIN if start is new else b""
    stream = data.draw(mutated(streams.map(lambda s: prefix + s)))
    whole, protocol = fed(start(), [stream])
    assert fed(start(), octets(stream))[0] == whole
    assert fed(start(), cuts(data.draw, stream))[0] == whole
    if whole[-1:] == ["failed"]:
        assert protocol.state is ConnectionState.CLOSED


@pytest.mark.parametrize("start", [new, busy])
@given(data=st.data())
def test_after_its_end_a_connection_takes_nothing_and_tells_nothing(start, data):
    stream = data.draw(mutated(streams))
    _, protocol = fed(start(), [stream])
    if protocol.state is not ConnectionState.CLOSED:
        return
    for call in CALLS.values():
        refused(lambda: fed(start(), [stream])[1], call)
    later = protocol.receive_data(broker.ack(1, 0, True) + broker.unblocked())
    assert all(isinstance(event, events.Failed) for event in later)


@given(stream=mutated(streams))
def test_each_message_is_told_of_once(stream):
    found, protocol = fed(busy(), [stream])
    entries = []
    for event in found:
        if isinstance(event, events.Settled):
            entries += [entry for entry, _ in event.settled]
        elif isinstance(event, events.ChannelClosed):
            entries += event.lost
    entries += protocol.lost()
    assert sorted(entries) == ["m0", "m1", "m2", "m3"]


@pytest.mark.parametrize("name", CALLS)
def test_what_a_state_does_not_allow_changes_nothing(name):
    for make in (new, closing):
        refused(make, CALLS[name])
    for call in (
        lambda p: p.publish(2, "late", "e", "k", HEADER, b""),  # it is closing
        lambda p: p.publish(9, "late", "e", "k", HEADER, b""),
        lambda p: p.publish(1, "large", "e", "k", b"x" * 200_000, b"", True),
        lambda p: p.close_channel(2),
        lambda p: p.close_channel(9),
    ):
        refused(busy, call)


def closing():
    protocol = busy()
    protocol.close()
    return protocol
