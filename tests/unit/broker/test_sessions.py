"""A login's life: found by its password, idle, verified anew, closed in order."""

import asyncio
import logging
import time

import brokerside
from scenario import GUEST, O, scenario

from statelessd.message import Credentials


@scenario
async def test_the_password_is_part_of_the_key(broker, client):
    publish = client()
    assert await publish() is O.CONFIRMED
    broker.on_login = lambda peer: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
    assert await publish(b"bad", credentials=Credentials("guest", "wrong")) is O.UNAUTHORIZED
    assert await publish(b"good") is O.CONFIRMED
    assert broker.published == [b"m", b"good"]
    assert list(publish.publisher.connection_statistics()) == ["test:guest"]


@scenario
async def test_credentials_that_do_not_fit_a_login_are_unauthorized(broker, client):
    broker.product, broker.version = "RabbitMQ", "3.10.8"
    publish = client()
    assert await publish(credentials=Credentials("guest", "x" * 5000)) is O.UNAUTHORIZED


@scenario
async def test_of_too_many_logins_the_figures_are_kept_in_sum_only(broker, client, monkeypatch):
    monkeypatch.setattr("statelessd.broker.pool.MOST_LOGINS", 2)
    publish = client(max_connections=2)
    for name in "abcdef":
        assert await publish(credentials=Credentials(name, "x")) is O.CONFIRMED
        # The limit of connections closes the one before the last.
        await publish.until(lambda: len(publish.publisher._pool.sessions()) <= 2)
    told = list(publish.publisher.connection_statistics())
    assert told[-2:] == ["test:e", "test:f"]
    assert len(told) <= 3  # one may have been closing
    metrics = publish.publisher.figures()
    assert (metrics.connections_opened, metrics.channels_opened) == (6, 6)
    assert metrics.outcomes["confirmed"] == 6


@scenario
async def test_an_idle_connection_is_closed_in_order(broker, client):
    publish = client(idle_timeout=0.5)
    assert await publish() is O.CONFIRMED
    await publish.until(lambda: broker.peers[0].gone)
    assert broker.peers[0].methods[-2:] == ["Channel.Close", "Connection.Close"]
    assert await publish() is O.CONFIRMED


@scenario
async def test_closing_answers_what_is_left_and_says_goodbye(broker, client):
    publish = client()
    assert await publish() is O.CONFIRMED
    broker.on_publish = lambda *_: None
    handed_over = publish.start(b"x")
    await publish.until(lambda: broker.published[-1] == b"x")
    await publish.publisher.close()
    assert handed_over.result()[0] is O.UNCONFIRMED
    assert await publish() is O.SHUTTING_DOWN


@scenario
async def test_no_password_is_logged_or_shown(broker, client):
    records = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: records.append(handler.format(record))
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        publish = client()
        assert await publish() is O.CONFIRMED
        broker.on_login = lambda peer: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
        refused = await publish.start(credentials=Credentials("bob", "secret-word"))
        session = publish.publisher._pool.sessions()[0]
        shown = repr([GUEST, session, vars(session), refused, vars(publish.publisher)])
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert any("connected" in line for line in records)
    assert "secret-word" not in "\n".join(records) + shown


@scenario
async def test_a_login_is_verified_anew_without_a_hiccup(broker, client):
    publish = client(reverify_after=0.5)
    assert await publish(b"first") is O.CONFIRMED
    count = 1
    async with asyncio.timeout(30):
        while len(broker.peers) < 3 or not broker.peers[0].gone:
            assert await publish(b"%d" % count) is O.CONFIRMED
            count += 1
    assert len(broker.published) == len(set(broker.published)) == count
    assert broker.peers[0].methods[-2:] == ["Channel.Close", "Connection.Close"]
    assert list(publish.publisher.connection_statistics()) == ["test:guest"]


@scenario
async def test_what_is_in_flight_when_the_login_is_replaced_is_settled_on_its_connection(
    broker, client
):
    publish = client(reverify_after=0.5)
    assert await publish(b"opens") is O.CONFIRMED
    broker.on_publish = lambda *_: None
    held = publish.start(b"held", timeout=15)
    await publish.until(lambda: len(broker.peers) == 2)
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    await publish.until(lambda: publish.publisher._pool._draining)
    behind = publish.start(b"behind", timeout=15)
    assert await publish(b"elsewhere", exchange="other") is O.CONFIRMED
    assert broker.published[-1] == b"elsewhere"
    broker.peers[0].send(brokerside.ack(1, 2))
    assert (await held)[0] is O.CONFIRMED
    assert (await behind)[0] is O.CONFIRMED
    assert broker.published == [b"opens", b"held", b"elsewhere", b"behind"]
    await publish.until(lambda: broker.peers[0].gone)


@scenario
async def test_a_password_that_was_changed_stops_working_within_that_age(broker, client):
    publish = client(reverify_after=0.5)
    assert await publish() is O.CONFIRMED
    broker.on_login = lambda peer: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
    async with asyncio.timeout(30):
        while (outcome := await publish()) is O.CONFIRMED:
            pass
    assert outcome is O.UNAUTHORIZED
    await publish.until(lambda: broker.peers[0].gone)


@scenario
async def test_a_connection_lost_while_its_login_is_verified(broker, client):
    publish = client(reverify_after=0.5)
    assert await publish() is O.CONFIRMED
    broker.on_login = lambda peer: None  # the successor waits for its login
    await publish.until(lambda: len(broker.peers) == 2 and broker.peers[1].start_ok)
    broker.peers[0].cut()
    await publish.until(lambda: not publish.publisher._pool._sessions)
    broker.on_login = None
    broker.peers[1].send(brokerside.tune())
    await publish.until(lambda: publish.publisher._pool._sessions)
    assert not publish.publisher._pool._successors
    assert await publish(b"on the successor") is O.CONFIRMED
    assert broker.peers[1].methods.count("Basic.Publish") == 1


@scenario
async def test_a_connection_limit_at_that_moment_is_no_refusal(broker, client):
    publish = client(reverify_after=0.5)
    assert await publish() is O.CONFIRMED
    text = "NOT_ALLOWED - Connection refused for user 'guest': user connection limit (1) is reached"
    broker.on_login = lambda peer: peer.send(brokerside.close(530, text))
    await publish.until(lambda: len(broker.peers) >= 3)  # tried, and tried again
    assert await publish() is O.CONFIRMED
    assert not broker.peers[0].gone


@scenario
async def test_verifying_a_login_is_no_use_of_it(broker, client):
    publish = client(reverify_after=0.5, idle_timeout=2.5)
    assert await publish() is O.CONFIRMED
    await publish.until(lambda: len(broker.peers) > 1 and not publish.publisher._pool.sessions())
    assert all(peer.gone for peer in broker.peers)


@scenario
async def test_confirms_that_come_while_closing_are_nothing_to_stumble_over(broker, client, caplog):
    publish = client()
    broker.on_publish = lambda *_: None
    for _ in range(2):
        publish.start(user_id="bob", timeout=2)  # each on a channel of its own
    await publish.until(lambda: len(broker.published) == 2)
    handle = brokerside.channel_close_ok
    broker.on_close_channel = lambda peer, channel: peer.send(
        brokerside.ack(channel, 1) + handle(channel)
    )
    await publish.publisher.close()
    assert broker.peers[0].methods[-1] == "Connection.Close"
    assert "failed" not in caplog.text


@scenario
async def test_a_fault_with_one_waiting_message_does_not_keep_the_others_waiting(
    broker, client, monkeypatch
):
    publish = client()
    broker.on_login = lambda peer: None
    pending = [publish.start(b"%d" % i, exchange=str(i)) for i in range(3)]
    await publish.until(lambda: broker.peers and broker.peers[0].start_ok)
    [session] = publish.publisher._pool.sessions()
    submit = session.channels.submit

    def stumble(a_publish):
        if a_publish is pending[1].publish:
            raise RuntimeError("a fault of ours")
        submit(a_publish)

    monkeypatch.setattr(session.channels, "submit", stumble)
    broker.peers[0].send(brokerside.tune())
    assert [(await p)[0] for p in pending] == [O.CONFIRMED, O.INTERNAL_ERROR, O.CONFIRMED]
    assert session.load.messages == 0


def _token(**kwargs):
    return Credentials.of_token("secret-token", "alice", kwargs.pop("expires_at", None), **kwargs)


@scenario
async def test_a_token_is_the_password_and_the_name_is_for_people(broker, client):
    publish = client()
    assert await publish(credentials=_token()) is O.CONFIRMED
    assert broker.peers[0].start_ok.response == "\0\0secret-token"
    assert list(publish.publisher.connection_statistics()) == ["test:alice"]


@scenario
async def test_a_user_id_beside_a_token_takes_a_channel_of_its_own(broker, client):
    publish = client()
    assert await publish(credentials=_token()) is O.CONFIRMED
    assert await publish(credentials=_token(), user_id="alice") is O.CONFIRMED
    await publish.until(lambda: "Channel.Close" in broker.peers[0].methods)
    assert await publish(user_id="guest") is O.CONFIRMED  # with a password it is known
    assert "Channel.Close" not in broker.peers[1].methods


@scenario
async def test_a_connection_does_not_outlive_its_token(broker, client):
    publish = client()
    token = _token(expires_at=time.time() + 1)
    assert await publish(credentials=token) is O.CONFIRMED
    await publish.until(lambda: broker.peers[0].gone)
    assert broker.peers[0].methods[-1] == "Connection.Close"
    # The broker is asked, and not the token: its clock counts.
    assert await publish(credentials=token) is O.CONFIRMED
    assert len(broker.peers) == 2


@scenario
async def test_a_long_token_gets_the_room_that_our_description_would_take(broker, client):
    broker.product, broker.version = "RabbitMQ", "3.10.8"
    publish = client()
    assert await publish(credentials=Credentials.of_token("x" * 3900, "a", None)) is O.CONFIRMED
    assert set(broker.peers[0].start_ok.client_properties) == {"capabilities"}
    longer = Credentials.of_token("x" * 4000, "a", None)
    assert await publish(credentials=longer) is O.UNAUTHORIZED
