"""A login's life: found by its password, idle, verified anew, closed in order."""

import asyncio

import brokerside
from scenario import O, outcomes

from statelessd.message import Credentials


async def test_of_too_many_logins_the_figures_are_kept_in_sum_only(broker, client, monkeypatch):
    monkeypatch.setattr("statelessd.broker.pool.MOST_LOGINS", 2)
    publish = client(max_connections=2)
    for name in "abcdef":
        assert await publish(credentials=Credentials(name, "x")) is O.CONFIRMED
        # The limit of connections closes the one before the last.
        await publish.until(lambda: repr(publish.publisher).count("<Session ") <= 2)
    told = list(publish.publisher.connection_statistics())
    assert told[-2:] == ["test:e", "test:f"]
    assert len(told) <= 3  # one may have been closing
    metrics = publish.publisher.figures()
    assert (metrics.connections_opened, metrics.channels_opened) == (6, 6)
    assert metrics.outcomes["confirmed"] == 6


async def test_an_idle_connection_is_closed_in_order(broker, client):
    publish = client(idle_timeout=0.5)
    await publish.opens()
    await publish.until(lambda: broker.peers[0].gone)
    assert broker.peers[0].methods[-2:] == ["Channel.Close", "Connection.Close"]
    assert await publish() is O.CONFIRMED


async def test_closing_answers_what_is_left_and_closes_in_order(broker, publish, caplog):
    broker.is_silent()
    handed_over = [
        publish.start(b"x"),
        *(publish.start(b"x", user_id="bob") for _ in range(2)),  # each on its own channel
    ]
    await publish.published(b"x", 3)
    # Some confirms come before the Close-Ok of their channel, and some never.
    close_ok = broker.on_close_channel
    broker.on_close_channel = lambda peer, channel: (
        channel == 1 or peer.send(brokerside.ack(channel, 1)),
        close_ok(peer, channel),
    )
    await publish.publisher.close()
    assert set(await outcomes(*handed_over)) == {O.UNCONFIRMED}
    assert await publish() is O.SHUTTING_DOWN
    assert broker.peers[0].methods[-1] == "Connection.Close"
    assert publish.publisher.figures().connections_closed == {"shutdown": 1}
    assert "failed" not in caplog.text
    assert "broke the protocol" not in caplog.text


async def test_what_is_in_flight_when_the_login_is_replaced_is_settled_on_its_connection(
    broker, client
):
    publish = client(reverify_after=0.5)
    await publish.opens()
    broker.is_silent()
    held = publish.start(b"held")
    await publish.until(lambda: len(broker.peers) == 2)
    broker.confirms()
    await publish.until(lambda: publish.shows("draining [<Session"))
    behind = publish.start(b"behind")
    assert await publish(b"elsewhere", exchange="other") is O.CONFIRMED
    assert broker.published[-1] == b"elsewhere"
    broker.peers[0].send(brokerside.ack(1, 2))
    assert await outcomes(held, behind) == [O.CONFIRMED] * 2
    assert broker.published == [b"opens", b"held", b"elsewhere", b"behind"]
    await publish.until(lambda: broker.peers[0].gone)


async def test_a_connection_lost_while_its_login_is_verified(broker, client):
    publish = client(reverify_after=0.5)
    await publish.opens()
    broker.on_login = lambda peer: None  # the successor waits for its login
    await publish.until(lambda: len(broker.peers) == 2 and broker.peers[1].start_ok)
    broker.peers[0].cut()
    await publish.until(lambda: publish.shows("sessions []"))
    broker.on_login = None
    broker.peers[1].send(brokerside.tune())
    await publish.until(lambda: publish.shows("sessions [<Session", "successors []"))
    assert await publish(b"on the successor") is O.CONFIRMED
    assert broker.peers[1].methods.count("Basic.Publish") == 1


async def test_a_connection_limit_at_that_moment_is_no_refusal(broker, client):
    publish = client(reverify_after=0.5)
    await publish.opens()
    text = "NOT_ALLOWED - Connection refused for user 'guest': user connection limit (1) is reached"
    broker.refuses_logins(530, text)
    await publish.until(lambda: len(broker.peers) >= 3)  # tried, and tried again
    assert await publish() is O.CONFIRMED
    assert not broker.peers[0].gone


async def test_verifying_a_login_is_no_use_of_it(broker, client):
    publish = client(reverify_after=0.5, idle_timeout=2.5)
    await publish.opens()
    await publish.until(lambda: len(broker.peers) > 1 and not publish.shows("<Session"))
    assert not broker.alive()


async def test_a_message_that_comes_while_the_connection_ends_stays_behind_those_that_wait(
    broker, publish
):
    await publish.opens()
    broker.is_silent()
    early = [publish.start(b"%d" % n) for n in range(300)]
    await publish.published(b"199")
    broker.confirms()
    broker.peers[-1].send(brokerside.close())
    while not publish.shows(": ending"):  # noqa: ASYNC110 - it lasts for a turn of the loop or two
        await asyncio.sleep(0)
    late = publish.start(b"late")
    assert set(await outcomes(*early)) == {O.UNCONFIRMED, O.CONFIRMED}
    assert (await late)[0] is O.CONFIRMED
    assert broker.published[-2:] == [b"299", b"late"]
