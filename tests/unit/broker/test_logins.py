"""Logins as people look at them: where each stands, since when, and what it was told last."""

import time

from scenario import O

from statelessd.message import Credentials


def row(publish, user="guest"):
    rows = {each.user: each for each in publish.publisher.logins("8000")}
    return rows.get(user)


async def test_a_connected_login_with_what_it_has_done(broker, publish):
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


async def test_messages_under_way_are_told_of(broker, publish):
    assert await publish() is O.CONFIRMED
    broker.is_silent()
    publish.start(b"sent")
    publish.start(b"fresh", exchange="other")  # a fresh channel sends one alone
    publish.start(b"waits", exchange="other")
    await publish.until(lambda: row(publish).in_flight == 2)
    assert row(publish).queue_size == 1
    assert row(publish).queue_size == publish.statistics["queue_size"]


async def test_the_same_user_with_a_wrong_password_leaves_an_error_on_the_right_ones_row(
    broker, publish
):
    assert await publish() is O.CONFIRMED
    broker.refuses_logins()
    assert await publish(credentials=Credentials("guest", "wrong")) is O.UNAUTHORIZED
    [found] = publish.publisher.logins("8000")
    assert (found.state, found.publishes) == ("connected", 1)
    assert found.last_error == "The broker refused the user name or password."


async def test_a_connection_that_was_closed_by_our_will_is_no_error(broker, client):
    publish = client(idle_timeout=0.5)
    assert await publish() is O.CONFIRMED
    await publish.until(lambda: row(publish).state == "closed")
    assert (row(publish).last_error, row(publish).channels) == ("", 0)
    assert abs(row(publish).since - time.time()) < 5
    assert await publish() is O.CONFIRMED
    assert row(publish).reconnects == 0


async def test_connecting_is_a_state(broker, client):
    broker.accept = False
    publish = client()
    publish.start(timeout=1)
    await publish.until(lambda: row(publish) is not None)
    assert row(publish).state == "connecting"
