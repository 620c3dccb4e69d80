"""The whole broker layer against a scripted broker on a real socket."""

import asyncio
import functools
import inspect
import logging

import brokerside
import pytest
from fakebroker import FakeBroker

from statelessd.amqp import encode
from statelessd.broker.publisher import Publisher
from statelessd.config import Publish, RabbitMQ
from statelessd.message import Credentials, Message, Outcome

GUEST = Credentials("guest", "secret-word")
O = Outcome  # noqa: E741 - comparisons read better with it


def scenario(test):
    """Run an async test, given a broker and a function that makes publishers."""

    @functools.wraps(test)
    def run(**fixtures):
        async def main():
            async with asyncio.timeout(20), FakeBroker() as broker:
                clients = []

                def client(**limits):
                    settings = {k: v for k, v in limits.items() if k in RabbitMQ.__struct_fields__}
                    rest = {k: v for k, v in limits.items() if k not in settings}
                    where = {"host": "127.0.0.1", "port": broker.port}
                    clients.append(Client(broker, RabbitMQ(**where | settings), Publish(**rest)))
                    return clients[-1]

                try:
                    await test(broker, client, **fixtures)
                finally:
                    for made in clients:
                        await made.publisher.close()

        asyncio.run(main())

    signature = inspect.signature(test)
    wanted = [p for p in signature.parameters.values() if p.name not in ("broker", "client")]
    run.__signature__ = signature.replace(parameters=wanted)
    return run


class Client:
    def __init__(self, broker, rabbitmq, limits):
        self.loop = asyncio.get_running_loop()
        self.publisher = Publisher(rabbitmq, limits, loop=self.loop, backend="test:0")
        self.broker = broker

    def start(self, body=b"m", *, exchange="e", routing_key="k", timeout=5.0, mandatory=False,
              user_id=None, credentials=GUEST, virtual_host="test", header=None):  # fmt: skip
        """A publish under way: a future of its outcome, with the publish as an attribute."""
        future = Pending(self.loop)
        header = encode.properties({}) if header is None else header
        message = Message(exchange, routing_key, header, body, mandatory, user_id)
        future.publish = self.publisher.publish(
            virtual_host, credentials, message, self.loop.time() + timeout, future.settle
        )
        return future

    async def __call__(self, *args, **kwargs):
        return (await self.start(*args, **kwargs))[0]

    @property
    def statistics(self):
        return self.publisher.connection_statistics()["test:guest"]

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.005)


class Pending(asyncio.Future):
    publish = None

    def __init__(self, loop):
        super().__init__(loop=loop)

    def settle(self, outcome, detail):
        self.set_result((outcome, detail))  # a second call raises


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
async def test_the_password_is_part_of_the_key(broker, client):
    publish = client()
    assert await publish() is O.CONFIRMED
    broker.on_login = lambda peer: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
    assert await publish(b"bad", credentials=Credentials("guest", "wrong")) is O.UNAUTHORIZED
    assert await publish(b"good") is O.CONFIRMED
    assert broker.published == [b"m", b"good"]
    assert list(publish.publisher.connection_statistics()) == ["test:guest"]


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


@scenario
async def test_a_confirm_that_does_not_come_is_unknown_at_the_deadline(broker, client):
    publish = client()
    broker.on_publish = lambda *_: None
    assert await publish(timeout=0.2) is O.UNCONFIRMED
    broker.peers[0].send(brokerside.ack(1, 1))  # too late to be told, not to be counted
    await publish.until(lambda: publish.statistics["publishes"])
    assert (publish.publisher._tally.size, publish.publisher._tally.active) == (0, set())
    assert publish.publisher._pool.sessions()[0].load == 0


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
async def test_a_client_that_left_frees_its_place_and_is_not_sent(broker, client):
    publish = client(max_messages=2)
    broker.on_publish = lambda *_: None
    publish.start(b"probe")
    gone = publish.start(b"gone")
    assert await publish(b"too many") is O.OVERLOADED
    publish.publisher.cancel(gone.publish)
    after = publish.start(b"after")
    await publish.until(lambda: broker.published)
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    broker.peers[0].send(brokerside.ack(1, 1))
    assert (await after)[0] is O.CONFIRMED
    assert broker.published == [b"probe", b"after"]
    assert not gone.done()


@scenario
async def test_bytes_are_bounded_together_with_bodies_that_still_arrive(broker, client):
    publish = client(max_bytes=1024)
    assert publish.publisher.reserve(1000)
    assert not publish.publisher.reserve(100)
    assert await publish(b"x" * 100) is O.OVERLOADED
    publish.publisher.release(1000)
    assert await publish(b"x" * 100) is O.CONFIRMED


@scenario
async def test_one_users_messages_are_bounded(broker, client):
    publish = client(in_flight_per_connection=2)
    broker.on_publish = lambda *_: None
    pending = [publish.start(timeout=0.3) for _ in range(3)]
    assert pending[2].done()
    assert pending[2].result()[0] is O.OVERLOADED
    other = publish.start(credentials=Credentials("other", "x"), timeout=0.3)
    assert not other.done()


@scenario
async def test_the_number_of_connections_is_bounded_and_idle_ones_make_room(broker, client):
    publish = client(max_connections=1)
    broker.on_publish = lambda *_: None
    busy = publish.start(b"busy")
    await publish.until(lambda: broker.published)
    other = Credentials("other", "x")
    assert await publish(credentials=other) is O.OVERLOADED
    broker.peers[0].send(brokerside.ack(1, 1))
    assert (await busy)[0] is O.CONFIRMED
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    assert await publish(credentials=other) is O.CONFIRMED
    await publish.until(lambda: broker.peers[0].gone)


@scenario
async def test_the_least_recently_used_idle_channel_makes_room(broker, client):
    publish = client(channels_per_connection=2)
    for exchange in ("a", "b", "c", "a"):
        assert await publish(exchange=exchange) is O.CONFIRMED
    channels = publish.statistics["channels"]
    assert channels["opened"] == 4
    assert len(broker.peers) == 1


@scenario
async def test_with_all_channels_busy_the_next_exchange_waits_for_one(broker, client):
    publish = client(channels_per_connection=1)
    broker.on_publish = lambda *_: None
    busy = publish.start(b"busy", exchange="a")
    queued = publish.start(b"queued", exchange="b")
    await publish.until(lambda: broker.published)
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    broker.peers[0].send(brokerside.ack(1, 1))
    assert (await busy)[0] is O.CONFIRMED
    assert (await queued)[0] is O.CONFIRMED


@scenario
async def test_a_missing_exchange_is_told_to_all_who_wait_for_it_and_to_nobody_else(broker, client):
    publish = client()
    assert await publish(exchange="good") is O.CONFIRMED

    def missing(peer, channel, tag, body):
        if body == b"bad":
            peer.send(brokerside.channel_close(channel))
        else:
            peer.send(brokerside.ack(channel, tag))

    broker.on_publish = missing
    pending = [publish.start(b"bad", exchange="bad") for _ in range(3)]
    good = publish.start(b"good", exchange="good")
    assert {(await p)[0] for p in pending} == {O.EXCHANGE_NOT_FOUND}
    assert (await good)[0] is O.CONFIRMED
    assert broker.published.count(b"bad") == 1


@scenario
async def test_those_behind_a_culprit_are_sent_again_and_only_those(broker, client):
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    text = "ACCESS_REFUSED - access to topic 'no' in exchange 'e' in vhost 'test' refused for user"
    dead = set()

    def refuse(peer, channel, tag, body):
        if (peer, channel) in dead:
            return  # the broker ignores a channel after closing it
        if body == b"culprit":
            dead.add((peer, channel))
            peer.send(brokerside.channel_close(channel, 403, text))
        elif body != b"before":
            peer.send(brokerside.ack(channel, tag))

    broker.on_publish = refuse
    before = publish.start(b"before")
    culprit = publish.start(b"culprit", routing_key="no")
    behind = [publish.start(b"behind%d" % i) for i in range(3)]
    await before
    dead.clear()  # its number may be used again
    assert (await before)[0] is O.UNCONFIRMED
    assert (await culprit)[0] is O.FORBIDDEN
    assert [(await p)[0] for p in behind] == [O.CONFIRMED] * 3
    # Discarded, and sent once more in order: one copy is left of each.
    tail = [b"behind0", b"behind1", b"behind2"]
    assert broker.published == [b"opens", b"before", b"culprit", *tail, *tail]


@scenario
async def test_a_lone_message_on_a_warm_channel_gets_its_own_refusal(broker, client):
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    broker.on_publish = lambda peer, channel, *_: peer.send(brokerside.channel_close(channel))
    assert await publish(b"deleted meanwhile") is O.EXCHANGE_NOT_FOUND


@scenario
async def test_a_large_header_on_a_single_use_channel_harms_nobody(broker, client, caplog):
    broker.frame_max = 4096
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    header = encode.properties({"headers": {"h": "x" * 5000}})
    large = publish.start(user_id="bob", header=header)
    good = publish.start(b"good")
    assert (await large)[0] is O.BAD_REQUEST
    assert (await good)[0] is O.CONFIRMED
    await publish.until(lambda: publish.statistics["channels"] == {"opened": 2, "closed": 1})
    assert len(broker.peers) == 1
    assert publish.publisher._pool.sessions()[0].load == 0
    assert "failed" not in caplog.text


@scenario
async def test_acks_before_a_fault_in_the_same_read_are_told(broker, client):
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    broker.on_publish = lambda *_: None
    first, second = publish.start(b"1"), publish.start(b"2")
    await publish.until(lambda: len(broker.published) == 3)
    broker.peers[0].send(brokerside.ack(1, 2) + brokerside.ack(1, 99))
    assert [(await p)[0] for p in (first, second)] == [O.CONFIRMED, O.UNCONFIRMED]
    assert publish.publisher._pool.sessions()[0].load == 0


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


@scenario
async def test_a_host_name_that_cannot_be(broker, client):
    outcome, detail = await client(host="a..b").start(timeout=0.3)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "not valid" in detail


@scenario
async def test_a_fault_of_ours_leaves_no_place_taken(broker, client, monkeypatch):
    publish = client()
    assert await publish() is O.CONFIRMED
    [session] = publish.publisher._pool.sessions()
    monkeypatch.setattr(session, "_channels", None)
    assert await publish() is O.INTERNAL_ERROR
    monkeypatch.undo()
    assert (session.load, publish.publisher._tally.size) == (0, 0)


@scenario
async def test_a_message_of_another_users_id_travels_alone(broker, client):
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    text = "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'"
    broker.on_publish = lambda peer, channel, tag, body: (
        peer.send(brokerside.channel_close(channel, 406, text))
        if channel == 2
        else peer.send(brokerside.ack(channel, tag))
    )
    foreign, own = publish.start(b"f", user_id="bob"), publish.start(b"o", user_id="guest")
    assert (await foreign)[0] is O.FORBIDDEN
    assert (await own)[0] is O.CONFIRMED
    stats = publish.statistics
    assert stats["channels"] == {"opened": 2, "closed": 1}


@scenario
async def test_a_single_use_channel_is_closed_after_its_message(broker, client):
    publish = client()
    assert await publish(user_id="impersonator-tagged") is O.CONFIRMED
    await publish.until(lambda: "Channel.Close" in broker.peers[0].methods)


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
    await publish.until(lambda: publish.publisher._blockade.active)
    outcome, detail = await publish.start(b"refused", credentials=other)
    assert outcome is O.BROKER_BLOCKED
    assert "low on memory" in detail
    assert (await handed_over)[0] is O.UNCONFIRMED
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    broker.peers[0].send(brokerside.ack(1, 2) + brokerside.unblocked())
    await publish.until(lambda: not publish.publisher._blockade.active)
    assert await publish(b"again", credentials=other) is O.CONFIRMED
    assert b"refused" not in broker.published


@scenario
async def test_a_broker_that_accepts_and_says_nothing_is_given_up(broker, client):
    broker.accept = False
    publish = client(login_timeout=0.2)
    outcome, _ = await publish.start(timeout=0.7)
    assert outcome is O.BROKER_UNAVAILABLE
    assert len(broker.peers) >= 2  # tried again on another connection


@scenario
async def test_a_broker_that_stops_confirming_is_dropped(broker, client):
    publish = client(stalled_timeout=1.0)
    assert await publish() is O.CONFIRMED
    broker.on_publish = lambda *_: None
    outcome, detail = await publish.start(b"stalled", timeout=10)
    assert outcome is O.UNCONFIRMED
    assert "confirmed nothing" in detail


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
async def test_a_broker_that_stops_reading_is_not_fed_without_bound(broker, client):
    publish = client()
    assert await publish() is O.CONFIRMED
    broker.peers[0].reading.clear()
    await asyncio.sleep(0)
    body = b"x" * 1_000_000
    pending = [publish.start(body, timeout=1.0) for _ in range(60)]
    outcomes = [(await p)[0] for p in pending]
    assert set(outcomes) == {O.UNCONFIRMED, O.BROKER_UNAVAILABLE}
    assert outcomes.count(O.UNCONFIRMED) < 30  # what the sockets' buffers took, and little more
    broker.peers[0].cut()


@scenario
async def test_a_header_beyond_the_negotiated_frame_is_refused_before_it_is_sent(broker, client):
    broker.frame_max = 4096
    publish = client()
    header = encode.properties({"headers": {"h": "x" * 5000}})
    assert await publish(header=header) is O.BAD_REQUEST
    assert await publish(b"y" * 50_000) is O.CONFIRMED
    assert broker.published == [b"y" * 50_000]


@scenario
async def test_credentials_that_do_not_fit_a_login_are_unauthorized(broker, client):
    publish = client()
    assert await publish(credentials=Credentials("guest", "x" * 5000)) is O.UNAUTHORIZED


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


def test_pytest_is_told_about_failures():
    with pytest.raises(AssertionError):
        scenario(lambda broker, client: _fails())()


async def _fails():
    raise AssertionError("as every scenario would")


@scenario
async def test_a_login_is_verified_anew_without_a_hiccup(broker, client):
    publish = client(reverify_after=0.5)
    assert await publish(b"first") is O.CONFIRMED
    count = 1
    async with asyncio.timeout(10):
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
    await publish.until(lambda: publish.publisher._pool._leaving)
    assert await publish(b"next") is O.CONFIRMED
    assert not held.done()
    broker.peers[0].send(brokerside.ack(1, 2))
    assert (await held)[0] is O.CONFIRMED
    await publish.until(lambda: broker.peers[0].gone)


@scenario
async def test_a_password_that_was_changed_stops_working_within_that_age(broker, client):
    publish = client(reverify_after=0.5)
    assert await publish() is O.CONFIRMED
    broker.on_login = lambda peer: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
    async with asyncio.timeout(10):
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
async def test_a_channel_opened_before_the_end_of_another_is_looked_at_is_not_mistaken_for_it(
    broker, client
):
    publish = client()
    assert await publish(b"a", exchange="a") is O.CONFIRMED
    assert await publish(b"b", exchange="b") is O.CONFIRMED
    broker.on_publish = lambda *_: None
    on_a, on_b = publish.start(exchange="a"), publish.start(exchange="b")
    await publish.until(lambda: len(broker.published) == 4)
    opened = []
    callback = on_b.publish.callback

    def settle_and_ask_for_another(outcome, detail):
        callback(outcome, detail)
        opened.append(publish.start(b"c", exchange="c"))

    on_b.publish.callback = settle_and_ask_for_another
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    # In one read: the ack, whose handling opens a channel, and before it is looked at the close.
    broker.peers[0].send(brokerside.ack(2, 2) + brokerside.channel_close(1))
    assert (await on_b)[0] is O.CONFIRMED
    assert (await on_a)[0] is O.EXCHANGE_NOT_FOUND
    assert (await opened[0])[0] is O.CONFIRMED
    assert publish.publisher._pool.sessions()[0].load == 0
    assert len(broker.peers) == 1


@scenario
async def test_verifying_a_login_is_no_use_of_it(broker, client):
    publish = client(reverify_after=0.5, idle_timeout=2.5)
    assert await publish() is O.CONFIRMED
    await publish.until(lambda: len(broker.peers) > 1 and not publish.publisher._pool.sessions())
    assert all(peer.gone for peer in broker.peers)
