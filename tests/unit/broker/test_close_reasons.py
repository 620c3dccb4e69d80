"""What /metrics counts the end of a connection to the broker as."""

import brokerside
import pytest
from crashing import POISON, Crashing
from fakebroker import FakeBroker
from scenario import O, scenario

from statelessd.broker import quarantine
from statelessd.message import Credentials


def closed(publish):
    return publish.publisher.figures().connections_closed


async def counts(publish, **expected):
    await publish.until(lambda: sum(closed(publish).values()) >= sum(expected.values()))
    assert closed(publish) == expected


def _hang_up(peer, channel, tag, body):
    peer.cut()


def _shut_down(peer, channel, tag, body):
    peer.send(brokerside.close(320, "CONNECTION_FORCED - broker forced connection closure"))


def _send_garbage(peer, channel, tag, body):
    peer.send(b"\x00garbage")


def _lose_broker(peer, channel, tag, body):
    peer.send(brokerside.close(503, "UPSTREAM_ERROR - End of file"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_hang_up, "network"),
        (_send_garbage, "network"),
        (_lose_broker, "network"),  # the proxy's close, and not the broker's
        (_shut_down, "broker"),
    ],
)
@scenario
async def test_a_connection_that_is_lost(broker, client, answer, reason):
    publish = client()
    broker.on_publish = answer
    assert await publish() is O.UNCONFIRMED
    await counts(publish, **{reason: 1})


@scenario
async def test_a_broker_that_says_nothing_or_answers_nothing(broker, client):
    broker.heartbeat = 1
    publish = client()
    assert await publish() is O.CONFIRMED
    await counts(publish, silent=1)
    publish = client(channel_timeout=0.5)
    broker.heartbeat = 0
    broker.open_channels = False
    assert await publish(timeout=3) is O.BROKER_UNAVAILABLE
    assert closed(publish)["stalled"] >= 1
    assert set(closed(publish)) == {"stalled"}


@scenario
async def test_connections_that_the_gateway_closes(broker, client):
    publish = client(max_connections=1)
    for name in "ab":
        assert await publish(credentials=Credentials(name, "x")) is O.CONFIRMED
    await counts(publish, limit=1)
    await publish.publisher.close()
    assert closed(publish) == {"limit": 1, "shutdown": 1}
    publish = client(idle_timeout=0.5)
    assert await publish() is O.CONFIRMED
    await counts(publish, idle=1)
    publish = client(reverify_after=0.5)
    assert await publish() is O.CONFIRMED
    await publish.until(lambda: closed(publish))
    assert set(closed(publish)) == {"replaced"}
    publish = client()
    credentials = Credentials.of_token("t", "u", 0.0)
    assert await publish(credentials=credentials) is O.CONFIRMED
    await counts(publish, expired=1)


@scenario
async def test_a_login_that_moves_to_another_node(broker, client):
    async with FakeBroker() as other:
        publish = client(hosts=tuple(f"127.0.0.1:{b.port}" for b in (broker, other)))
        assert await publish(b"opens") is O.CONFIRMED
        here = broker if broker.peers else other
        here.on_publish = lambda *_: None
        assert await publish(b"lost", timeout=10) is O.UNCONFIRMED
        await counts(publish, moved=1)
        await publish.publisher.close()


@scenario
async def test_a_second_connection_that_is_not_needed_any_more(broker, client, monkeypatch):
    monkeypatch.setattr(quarantine, "WHILE", 0.5)
    publish = client()
    Crashing(broker)
    for outcome in (O.UNCONFIRMED, O.UNCONFIRMED, O.BAD_REQUEST):
        assert await publish(b"poison", exchange="bad", header=POISON) is outcome
    assert await publish(b"m", exchange="bad") is O.CONFIRMED
    await counts(publish, broker=2, unneeded=1)
