"""The whole broker layer against a scripted broker on a real socket."""

import brokerside
import pytest
from scenario import O, scenario

from statelessd.amqp import encode
from statelessd.message import Credentials


@scenario
async def test_a_confirmed_message(broker, client):
    publish = client()
    assert await publish(b"one") is O.CONFIRMED
    assert await publish(b"two") is O.CONFIRMED
    assert broker.published == [b"one", b"two"]
    assert len(broker.peers) == 1
    properties = broker.peers[0].start_ok.client_properties
    assert properties["product"] == "statelessd"
    assert properties["connection_name"] == "statelessd test:0"


@scenario
async def test_a_fresh_channel_sends_one_message_alone(broker, client):
    publish = client()
    broker.on_publish = lambda *_: None
    pending = [publish.start(b"%d" % i) for i in range(3)]
    await publish.until(lambda: broker.published)
    assert broker.published == [b"0"]
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    broker.peers[0].send(brokerside.ack(1, 1))
    assert [await p for p in pending] == [(O.CONFIRMED, "")] * 3
    assert broker.published == [b"0", b"1", b"2"]


@scenario
async def test_a_confirm_that_does_not_come_is_unknown_at_the_deadline(broker, client):
    publish = client()
    broker.on_publish = lambda *_: None
    assert await publish(timeout=0.2) is O.UNCONFIRMED
    broker.peers[0].send(brokerside.ack(1, 1))  # too late to be told, not to be counted
    await publish.until(lambda: publish.statistics["publishes"])
    assert (publish.publisher._tally.size, publish.publisher._tally.active) == (0, set())
    assert publish.publisher._pool.sessions()[0].load.messages == 0


@scenario
async def test_nothing_is_sent_after_its_answer(broker, client):
    publish = client()
    broker.on_publish = lambda *_: None
    publish.start(b"probe")
    assert await publish(b"late", timeout=0.2) is O.BROKER_UNAVAILABLE
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    broker.peers[0].send(brokerside.ack(1, 1))
    assert await publish(b"next") is O.CONFIRMED
    assert broker.published == [b"probe", b"next"]


@scenario
async def test_a_fault_of_ours_leaves_no_place_taken(broker, client, monkeypatch):
    publish = client()
    assert await publish() is O.CONFIRMED
    [session] = publish.publisher._pool.sessions()
    monkeypatch.setattr(session.channels, "_routes", None)
    assert await publish() is O.INTERNAL_ERROR
    monkeypatch.undo()
    assert (session.load.messages, publish.publisher._tally.size) == (0, 0)


@scenario
async def test_returned_and_nacked(broker, client):
    publish = client()
    broker.on_publish = lambda peer, channel, tag, body: peer.send(
        brokerside.returned(channel, "e", "k", body) + brokerside.ack(channel, tag)
    )
    assert await publish(b"", mandatory=True) is O.NO_ROUTE
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.nack(channel, tag))
    assert await publish() is O.NACKED


@scenario
async def test_one_blocked_connection_stands_for_the_broker(broker, client):
    publish = client()
    other = Credentials("other", "x")
    assert await publish() is O.CONFIRMED
    assert await publish(credentials=other) is O.CONFIRMED
    broker.on_publish = lambda peer, *_: peer.send(brokerside.blocked("low on memory"))
    handed_over = publish.start(b"held", timeout=0.5)
    await publish.until(lambda: broker.published[-1] == b"held")
    await publish.until(lambda: publish.publisher._alarm.active)
    outcome, detail = await publish.start(b"refused", credentials=other)
    assert outcome is O.BROKER_BLOCKED
    assert "low on memory" in detail
    assert (await handed_over)[0] is O.UNCONFIRMED
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    broker.peers[0].send(brokerside.ack(1, 2) + brokerside.unblocked())
    await publish.until(lambda: not publish.publisher._alarm.active)
    assert await publish(b"again", credentials=other) is O.CONFIRMED
    assert b"refused" not in broker.published


@scenario
async def test_a_header_beyond_the_negotiated_frame_is_refused_before_it_is_sent(broker, client):
    broker.frame_max = 4096
    publish = client()
    header = encode.properties({"headers": {"h": "x" * 5000}})
    assert await publish(header=header) is O.BAD_REQUEST
    assert await publish(b"y" * 50_000) is O.CONFIRMED
    assert broker.published == [b"y" * 50_000]


def test_pytest_is_told_about_failures():
    with pytest.raises(AssertionError):
        scenario(lambda broker, client: _fails())()


async def _fails():
    raise AssertionError("as every scenario would")
