"""A broker that is silent, slow, gone, or talks nonsense: told in time, and nothing is lost."""

import contextlib
import socket

import brokerside
import pytest
from scenario import O, scenario

from statelessd.message import Credentials


@scenario
async def test_a_broker_that_is_away_is_unavailable_at_the_deadline(broker, client):
    publish = client()
    await broker.stop()
    outcome, detail = await publish.start(timeout=0.3)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "refused" in detail.lower()


@scenario
async def test_what_waits_is_sent_when_the_broker_returns(broker, client):
    publish = client()
    assert await publish(b"before") is O.CONFIRMED
    await broker.stop()
    await publish.until(lambda: not publish.statistics["connected"])
    pending = publish.start(b"meanwhile", timeout=10)
    assert publish.statistics["queue_size"] == 1
    await broker.start_again()
    assert (await pending)[0] is O.CONFIRMED
    assert broker.published == [b"before", b"meanwhile"]


@scenario
async def test_a_lost_connection_leaves_the_handed_over_unknown_and_sends_the_rest(broker, client):
    publish = client()
    broker.on_publish = lambda *_: None
    first, second = publish.start(b"first"), publish.start(b"second")
    await publish.until(lambda: broker.published)
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    broker.peers[0].cut()
    assert (await first)[0] is O.UNCONFIRMED
    assert (await second)[0] is O.CONFIRMED
    assert broker.published == [b"first", b"second"]


def _goodbye(broker):
    """The same read tells of the login's end and the connection's."""
    regular = broker.on_open

    def on_open(peer):
        broker.on_open = regular
        peer.send(brokerside.open_ok() + brokerside.close())

    broker.on_open = on_open


def _channel_and_goodbye(broker):
    regular = broker.on_select

    def on_select(peer, channel):
        broker.on_select = regular
        peer.send(brokerside.select_ok(channel) + brokerside.close())

    broker.on_select = on_select


def _refusal_and_goodbye(broker):
    regular = broker.on_publish

    def on_publish(peer, channel, tag, body):
        broker.on_publish = regular
        broker.published.clear()  # for it is refused
        peer.send(brokerside.channel_close(channel, 541, "INTERNAL_ERROR") + brokerside.close())

    broker.on_publish = on_publish


@pytest.mark.parametrize("once", [_goodbye, _channel_and_goodbye])
@scenario
async def test_what_is_offered_together_with_the_end_is_not_used(broker, client, caplog, once):
    once(broker)
    publish = client()
    pending = [publish.start(b"%d" % n) for n in range(3)]
    assert {(await each)[0] for each in pending} == {O.CONFIRMED}
    assert broker.published == [b"0", b"1", b"2"]
    assert len(broker.peers) == 2
    assert not [r for r in caplog.records if r.levelname == "ERROR"]


@scenario
async def test_a_channel_that_closes_with_its_connection(broker, client, caplog):
    _refusal_and_goodbye(broker)
    publish = client()
    pending = [publish.start(b"%d" % n) for n in range(3)]
    outcomes = [(await each)[0] for each in pending]
    assert outcomes[1:] == [O.CONFIRMED] * 2
    assert broker.published == [b"1", b"2"]
    assert not [r for r in caplog.records if r.levelname == "ERROR"]


@scenario
async def test_a_host_name_that_cannot_be(broker, client):
    outcome, detail = await client(host="a..b").start(timeout=0.3)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "not valid" in detail


@scenario
async def test_a_broker_that_accepts_and_says_nothing_is_given_up(broker, client):
    broker.accept = False
    publish = client(login_timeout=0.2)
    outcome, _ = await publish.start(timeout=0.7)
    assert outcome is O.BROKER_UNAVAILABLE
    assert len(broker.peers) >= 2  # tried again on another connection


@scenario
async def test_a_broker_that_answers_nothing_any_more_is_dropped(broker, client):
    publish = client(stalled_timeout=0.5)
    assert await publish() is O.CONFIRMED
    broker.on_publish = lambda *_: None
    broker.open_channels = False
    outcome, detail = await publish.start(b"stalled", timeout=10)
    assert outcome is O.UNCONFIRMED
    assert "did not answer for 0.5 s" in detail


@scenario
async def test_a_broker_that_opens_no_channel_is_dropped(broker, client):
    publish = client(channel_timeout=0.5)
    broker.open_channels = False
    pending = publish.start(timeout=10)
    await publish.until(lambda: len(broker.peers) >= 2)
    broker.open_channels = True
    assert (await pending)[0] is O.CONFIRMED


@scenario
async def test_a_broker_that_sends_garbage_is_dropped(broker, client):
    publish = client()
    broker.on_publish = lambda peer, *_: peer.send(b"\x00garbage")
    assert await publish() is O.UNCONFIRMED
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    assert await publish() is O.CONFIRMED


@scenario
async def test_a_silent_broker_misses_its_heartbeats(broker, client):
    broker.heartbeat = 1
    publish = client()
    assert await publish() is O.CONFIRMED
    await publish.until(lambda: "Heartbeat" in broker.peers[0].methods)  # ours
    await publish.until(lambda: broker.peers[0].gone)  # none of its own for two intervals


@scenario
async def test_acks_before_a_fault_in_the_same_read_are_told(broker, client):
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    broker.on_publish = lambda *_: None
    first, second = publish.start(b"1"), publish.start(b"2")
    await publish.until(lambda: len(broker.published) == 3)
    broker.peers[0].send(brokerside.ack(1, 2) + brokerside.ack(1, 99))
    assert [(await p)[0] for p in (first, second)] == [O.CONFIRMED, O.UNCONFIRMED]
    assert publish.publisher._pool.sessions()[0].load.messages == 0


@scenario
async def test_nothing_is_handed_to_a_connection_that_the_broker_closes(broker, client):
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    [session] = publish.publisher._pool.sessions()
    # As it is between the broker's Close and the end of the socket.
    session.connection.data_received(brokerside.close(320, "CONNECTION_FORCED - bye"))
    foreign, own = publish.start(b"foreign", user_id="bob"), publish.start(b"own")
    assert (await foreign)[0] is O.CONFIRMED
    assert (await own)[0] is O.CONFIRMED
    assert len(broker.peers) == 2
    assert sorted(broker.published) == [b"foreign", b"opens", b"own"]


@pytest.mark.parametrize(
    "point",
    [
        "Connection.StartOk",
        "Connection.TuneOk",
        "Connection.Open",
        "Channel.Open",
        "Confirm.Select",
        "Basic.Publish",
        "ContentHeader",
        "ContentBody",
    ],
)
@scenario
async def test_a_connection_lost_at_any_point_of_a_publish(broker, client, point):
    publish = client()
    broker.cut_at = point
    outcome = await publish(b"x" * 10)
    if point in ("Basic.Publish", "ContentHeader", "ContentBody"):
        assert outcome is O.UNCONFIRMED  # handed over: whether the broker had it nobody knows
        assert broker.published == []
    else:
        assert outcome is O.CONFIRMED
        assert broker.published == [b"x" * 10]
    assert await publish(b"next") is O.CONFIRMED
    assert broker.published[-1:] == [b"next"]
    assert broker.published.count(b"x" * 10) <= 1


HUGE = b"\x01\x00\x01\x7f\xff\xff\xff"  # the head of a method frame of 2 GB
UNKNOWN = b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x03\xe7\xce"  # class 60, method 999


@pytest.mark.parametrize("nonsense", [HUGE, UNKNOWN, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@scenario
async def test_a_broker_that_breaks_the_protocol_is_dropped_at_once(broker, client, nonsense):
    publish = client(stalled_timeout=60)
    other = Credentials("other", "x")
    assert await publish(credentials=other) is O.CONFIRMED
    broker.on_publish = lambda peer, *_: peer.send(nonsense)
    outcome, detail = await publish.start(timeout=10)
    assert outcome is O.UNCONFIRMED
    assert "broke the protocol" in detail
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    assert await publish() is O.CONFIRMED
    assert await publish(credentials=other) is O.CONFIRMED
    assert len(broker.peers) == 3  # the other's connection was left alone


@scenario
async def test_half_a_frame_and_then_nothing(broker, client):
    publish = client(stalled_timeout=0.5)
    assert await publish() is O.CONFIRMED
    broker.open_channels = False
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag)[:9])
    outcome, detail = await publish.start(timeout=10)
    assert outcome is O.UNCONFIRMED
    assert "did not answer" in detail
    broker.open_channels = True
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    assert await publish() is O.CONFIRMED


@scenario
async def test_half_a_frame_at_the_login(broker, client):
    publish = client(login_timeout=0.3)
    broker.on_login = lambda peer: peer.send(brokerside.tune()[:5])
    waiting = publish.start(timeout=10)
    await publish.until(lambda: broker.peers and broker.peers[0].start_ok)
    broker.on_login = None
    assert (await waiting)[0] is O.CONFIRMED
    assert broker.published == [b"m"]


@scenario
async def test_a_reply_text_that_is_cut_within_a_character(broker, client):
    publish = client()
    whole = brokerside.channel_close(1, 404, "NOT_FOUND - no exchange 'caf\u00e9' in vhost 'test'")
    cut = whole.replace(b"\xc3\xa9", b"\xc3.")
    broker.on_publish = lambda peer, *_: peer.send(cut)
    outcome, detail = await publish.start()
    assert outcome is O.EXCHANGE_NOT_FOUND
    assert "caf\ufffd." in detail


@scenario
async def test_a_broker_that_stops_reading_is_dropped_after_its_time(broker, client):
    publish = client(stalled_timeout=1.0)
    assert await publish() is O.CONFIRMED
    stuck = broker.peers[0]
    stuck.reading.clear()
    body = b"x" * 1_000_000
    pending = [publish.start(body, timeout=15) for _ in range(30)]
    outcomes = [(await p)[0] for p in pending]
    # What was handed over nobody knows of; the rest went out on the next connection.
    assert set(outcomes) == {O.UNCONFIRMED, O.CONFIRMED}
    assert broker.published.count(body) == outcomes.count(O.CONFIRMED)
    assert len(broker.peers) == 2


@scenario
async def test_a_host_that_does_not_answer(broker, client):
    """A listener whose backlog is full drops what comes: as a firewall does."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        publish = client(port=full.getsockname()[1], connect_timeout=0.3)
        outcome, detail = await publish.start(timeout=0.8)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "does not answer" in detail
