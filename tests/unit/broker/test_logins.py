"""Logins as people look at them: where each stands, since when, and what it was told last."""

import time

import brokerside
import pytest
from scenario import O, scenario

from statelessd.broker.statistics import BrokerStatus
from statelessd.message import Credentials


def row(publish, user="guest"):
    rows = {each.user: each for each in publish.publisher.logins("8000")}
    return rows.get(user)


@scenario
async def test_a_connected_login_with_what_it_has_done(broker, client):
    publish = client()
    before = time.time()
    for _ in range(3):
        assert await publish() is O.CONFIRMED
    found = row(publish)
    assert (found.backend, found.virtual_host, found.state) == ("8000", "test", "connected")
    assert before - 0.1 <= found.since <= time.time()
    assert (found.publishes, found.channels, found.reconnects) == (3, 1, 0)
    assert (found.queue_size, found.in_flight, found.last_error) == (0, 0, "")
    await publish.until(lambda: row(publish).rate > 0)
    await publish.until(lambda: row(publish).rate == 0)
    assert row(publish).since == found.since


@scenario
async def test_messages_under_way_are_told_of(broker, client):
    publish = client()
    assert await publish() is O.CONFIRMED
    broker.on_publish = lambda *_: None
    publish.start(b"sent")
    publish.start(b"fresh", exchange="other")  # a fresh channel sends one alone
    publish.start(b"waits", exchange="other")
    await publish.until(lambda: row(publish).in_flight == 2)
    assert row(publish).queue_size == 1
    assert row(publish).queue_size == publish.statistics["queue_size"]


@scenario
async def test_a_refused_login_is_there_for_a_while_and_says_why(broker, client):
    broker.on_login = lambda peer: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
    publish = client(refused_for=0.5)
    assert await publish() is O.UNAUTHORIZED
    assert row(publish).state == "refused"
    assert row(publish).last_error == "The broker refused the user name or password."
    assert publish.publisher.connection_statistics() == {}
    await publish.until(lambda: row(publish) is None)


@scenario
async def test_the_same_user_with_a_wrong_password_leaves_an_error_on_the_right_ones_row(
    broker, client
):
    publish = client()
    assert await publish() is O.CONFIRMED
    broker.on_login = lambda peer: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
    assert await publish(credentials=Credentials("guest", "wrong")) is O.UNAUTHORIZED
    [found] = publish.publisher.logins("8000")
    assert (found.state, found.publishes) == ("connected", 1)
    assert found.last_error == "The broker refused the user name or password."


@scenario
async def test_a_lost_connection_waits_comes_back_and_is_counted(broker, client):
    publish = client()
    assert await publish() is O.CONFIRMED
    await broker.stop()
    waiting = publish.start(timeout=8)
    await publish.until(lambda: row(publish).state == "waiting")
    assert row(publish).queue_size == 1
    assert "refused" in row(publish).last_error.lower()
    await broker.start_again()
    assert (await waiting)[0] is O.CONFIRMED
    assert (row(publish).state, row(publish).reconnects) == ("connected", 1)
    assert row(publish).last_error  # the last one, though it is over


@scenario
async def test_a_connection_that_was_closed_by_our_will_is_no_error(broker, client):
    publish = client(idle_timeout=0.5)
    assert await publish() is O.CONFIRMED
    await publish.until(lambda: row(publish).state == "closed")
    assert (row(publish).last_error, row(publish).channels) == ("", 0)
    assert abs(row(publish).since - time.time()) < 5
    assert await publish() is O.CONFIRMED
    assert row(publish).reconnects == 0


@scenario
async def test_connecting_is_a_state(broker, client):
    broker.accept = False
    publish = client()
    publish.start(timeout=1)
    await publish.until(lambda: row(publish) is not None)
    assert row(publish).state == "connecting"


@pytest.mark.parametrize("accept", [True, False], ids=["nobody", "a black hole"])
def test_a_broker_that_is_away_is_seen_without_waiting_for_it(accept):
    @scenario
    async def play(broker, client):
        publish = client()
        assert await publish() is O.CONFIRMED
        broker.accept = accept
        if accept:
            await broker.stop()
        else:
            broker.peers[0].cut()
        started = publish.loop.time()

        def state():
            publish.publisher.start_probe()
            return publish.publisher.broker_state().state

        await publish.until(lambda: state() is BrokerStatus.UNREACHABLE)
        assert publish.loop.time() - started < 2
        broker.accept = True
        if accept:
            await broker.start_again()
            started = publish.loop.time()
            await publish.until(lambda: state() is BrokerStatus.REACHABLE)
            assert publish.loop.time() - started < 2

    play()
