"""What /metrics counts the end of a connection to the broker as."""

import brokerside
import pytest
from behaviours import POISON, Crashing
from scenario import O, hosts

from statelessd.broker import quarantine
from statelessd.message import Credentials


def closed(publish):
    return publish.publisher.figures().connections_closed


async def counts(publish, **expected):
    await publish.until(lambda: sum(closed(publish).values()) >= sum(expected.values()))
    assert closed(publish) == expected


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda peer: peer.cut(), "network"),
        (lambda peer: peer.send(b"\x00garbage"), "network"),
        # The proxy's close, and not the broker's.
        (lambda peer: peer.send(brokerside.close(503, "UPSTREAM_ERROR - End of file")), "network"),
        (lambda peer: peer.send(brokerside.close()), "broker"),
    ],
)
async def test_a_connection_that_is_lost(broker, publish, answer, reason):
    broker.on_publish = lambda peer, *_: answer(peer)
    assert await publish() is O.UNCONFIRMED
    await counts(publish, **{reason: 1})


async def test_a_broker_that_says_nothing_any_more(broker, publish):
    broker.heartbeat = 1
    await publish.opens()
    await publish.until(lambda: "Heartbeat" in broker.peers[0].methods)  # ours
    await counts(publish, silent=1)


async def test_a_broker_that_answers_nothing(broker, client):
    publish = client(channel_timeout=0.5)
    broker.open_channels = False
    pending = publish.start(timeout=30)
    await publish.until(lambda: closed(publish))
    assert set(closed(publish)) == {"stalled"}
    assert not pending.done()
    broker.open_channels = True
    assert (await pending)[0] is O.CONFIRMED


@pytest.mark.parametrize(
    ("settings", "credentials", "reason"),
    [
        ({"idle_timeout": 0.5}, Credentials("a", "x"), "idle"),
        ({"reverify_after": 0.5}, Credentials("a", "x"), "replaced"),
        ({}, Credentials.of_token("t", "u", 0.0), "expired"),
    ],
)
async def test_connections_whose_time_is_over(client, settings, credentials, reason):
    publish = client(**settings)
    assert await publish(credentials=credentials) is O.CONFIRMED
    await publish.until(lambda: closed(publish))
    assert set(closed(publish)) == {reason}


async def test_connections_that_others_need(client):
    publish = client(max_connections=1)
    for name in "ab":
        assert await publish(credentials=Credentials(name, "x")) is O.CONFIRMED
    await counts(publish, limit=1)
    await publish.publisher.close()
    assert closed(publish) == {"limit": 1, "shutdown": 1}


async def test_a_login_that_moves_to_another_node(broker, other, client):
    publish = client(hosts=hosts(broker, other))
    await publish.opens()
    (broker if broker.peers else other).is_silent()
    assert await publish(b"lost") is O.UNCONFIRMED
    await counts(publish, moved=1)


async def test_a_second_connection_that_is_not_needed_any_more(broker, publish, monkeypatch):
    monkeypatch.setattr(quarantine, "WHILE", 0.5)
    Crashing(broker)
    for outcome in (O.UNCONFIRMED, O.UNCONFIRMED, O.BAD_REQUEST):
        assert await publish(b"poison", exchange="bad", header=POISON) is outcome
    assert await publish(b"m", exchange="bad") is O.CONFIRMED
    await counts(publish, broker=2, unneeded=1)
