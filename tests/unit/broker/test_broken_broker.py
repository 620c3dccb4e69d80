"""A broker that is silent, slow, gone, or talks nonsense: told in time, and nothing is lost."""

import brokerside
import pytest
from scenario import O, outcomes

from statelessd.message import Credentials

OTHER = Credentials("other", "x")


async def test_what_waits_is_sent_when_the_broker_returns(broker, publish):
    await publish.opens()
    await broker.stop()
    await publish.until(lambda: not publish.statistics["connected"])
    pending = publish.start(b"meanwhile")
    assert publish.statistics["queue_size"] == 1
    await broker.start_again()
    assert (await pending)[0] is O.CONFIRMED
    assert broker.published == [b"opens", b"meanwhile"]


def once(broker, name, say):
    """Let the broker do something else the next time."""
    regular = getattr(broker, name)

    def other(peer, *args):
        setattr(broker, name, regular)
        peer.send(say(*args) + brokerside.close())

    setattr(broker, name, other)


@pytest.mark.parametrize(
    ("name", "say"),
    [
        ("on_open", brokerside.open_ok),
        ("on_select", brokerside.select_ok),
        ("on_publish", lambda channel, *_: brokerside.channel_close(channel, 541, "INTERNAL")),
    ],
)
async def test_what_is_offered_together_with_the_end_is_not_used(
    broker, publish, caplog, name, say
):
    once(broker, name, say)
    pending = [publish.start(b"%d" % n) for n in range(3)]
    first, *others = await outcomes(*pending)
    assert first is (O.UNCONFIRMED if name == "on_publish" else O.CONFIRMED)
    assert others == [O.CONFIRMED] * 2
    assert broker.published == [b"0", b"1", b"2"]
    assert len(broker.peers) == 2
    assert not [r for r in caplog.records if r.levelname == "ERROR"]


@pytest.mark.parametrize("says", [b"", brokerside.tune()[:5]], ids=["nothing", "half a frame"])
async def test_a_login_that_gets_no_answer_is_tried_again(broker, client, says):
    publish = client(login_timeout=0.2)
    broker.on_login = lambda peer: peer.send(says)
    waiting = publish.start()
    await publish.until(lambda: len(broker.peers) >= 2)
    broker.on_login = None
    assert (await waiting)[0] is O.CONFIRMED
    assert broker.published == [b"m"]


@pytest.mark.parametrize("size", [0, 9], ids=["nothing", "half a frame"])
async def test_a_broker_that_answers_nothing_any_more_is_dropped(broker, client, size):
    publish = client(stalled_timeout=0.5)
    await publish.opens()
    broker.open_channels = False
    broker.on_publish = lambda peer, channel, tag, _: peer.send(brokerside.ack(channel, tag)[:size])
    outcome, detail = await publish.start()
    assert outcome is O.UNCONFIRMED
    assert "did not answer for 0.5 s" in detail
    broker.open_channels = True
    broker.confirms()
    assert await publish() is O.CONFIRMED


async def test_acks_before_a_fault_in_the_same_read_are_told(broker, publish):
    await publish.opens()
    broker.is_silent()
    first, second = publish.start(b"1"), publish.start(b"2")
    await publish.published(b"2")
    broker.peers[0].send(brokerside.ack(1, 2) + brokerside.ack(1, 99))
    assert await outcomes(first, second) == [O.CONFIRMED, O.UNCONFIRMED]
    await publish.is_idle()


async def test_nothing_is_handed_to_a_connection_that_the_broker_closes(broker, publish):
    await publish.opens("a", "b")
    broker.is_silent()
    pending = publish.start(exchange="a")
    await publish.published(b"m")
    broker.confirms()
    more = []
    settle = pending.publish.callback

    def settle_and_publish(*told):
        settle(*told)
        more.extend([publish.start(b"foreign", user_id="bob"), publish.start(b"own", exchange="b")])

    pending.publish.callback = settle_and_publish
    # In one read: a confirm, and the Close of the connection behind it.
    broker.peers[0].send(brokerside.ack(1, 2) + brokerside.close())
    assert (await pending)[0] is O.CONFIRMED
    assert await outcomes(*more) == [O.CONFIRMED] * 2
    assert len(broker.peers) == 2
    assert sorted(broker.published) == [b"foreign", b"m", b"opens", b"opens", b"own"]


@pytest.mark.parametrize(
    "point",
    ["Connection.StartOk", "Connection.TuneOk", "Connection.Open", "Channel.Open",
     "Confirm.Select", "Basic.Publish", "ContentHeader", "ContentBody"],
)  # fmt: skip
async def test_a_connection_lost_at_any_point_of_a_publish(broker, publish, point):
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


@pytest.mark.parametrize("nonsense", [HUGE, UNKNOWN, b"HTTP/1.1 400 Bad", b"\x00garbage"])
async def test_a_broker_that_breaks_the_protocol_is_dropped_at_once(broker, client, nonsense):
    publish = client(stalled_timeout=60)
    assert await publish(credentials=OTHER) is O.CONFIRMED
    broker.on_publish = lambda peer, *_: peer.send(nonsense)
    outcome, detail = await publish.start()
    assert outcome is O.UNCONFIRMED
    assert "broke the protocol" in detail
    broker.confirms()
    assert await publish() is O.CONFIRMED
    assert await publish(credentials=OTHER) is O.CONFIRMED
    assert len(broker.peers) == 3  # the other's connection was left alone


async def test_a_reply_text_that_is_cut_within_a_character(broker, publish):
    whole = brokerside.channel_close(1, 404, "NOT_FOUND - no exchange 'caf\u00e9' in vhost 'test'")
    cut = whole.replace(b"\xc3\xa9", b"\xc3.")
    broker.on_publish = lambda peer, *_: peer.send(cut)
    outcome, detail = await publish.start()
    assert outcome is O.EXCHANGE_NOT_FOUND
    assert "caf\ufffd." in detail
