"""What else may happen to messages while a login has exchanges on quarantine."""

import asyncio
import collections
import random
import tracemalloc
import types

import brokerside
import pytest
from crashing import POISON, Crashing, distinct
from fakebroker import FakeBroker
from scenario import O, scenario

from statelessd.amqp import encode
from statelessd.broker import quarantine
from statelessd.broker.pending import Publish, Tally
from statelessd.broker.state import SessionState
from statelessd.message import Message


class Held(Crashing):
    """Confirms nothing by itself: ``confirm_all`` does, and lists who published what."""

    def __init__(self, broker):
        super().__init__(broker)
        self.unconfirmed = []
        self.peer_of = {}

    def __call__(self, peer, channel, tag, body):
        self.peer_of[body] = peer
        if body.startswith(b"poison"):
            super().__call__(peer, channel, tag, body)
        else:
            self.unconfirmed.append((peer, channel, tag))

    def confirm_all(self):
        unconfirmed, self.unconfirmed = self.unconfirmed, []
        for peer, channel, tag in unconfirmed:
            self.confirm(peer, channel, tag)


async def suspect(publish, *exchanges):
    """Crash the login's connection with a message of each exchange in flight."""
    broker = publish.broker
    usual = broker.on_publish
    Held(broker)
    near = [publish.start(b"near", exchange=exchange) for exchange in exchanges]
    await publish.until(lambda: broker.published.count(b"near") == len(near))
    assert await publish(b"poison", exchange="bad", header=POISON) is O.UNCONFIRMED
    assert {(await each)[0] for each in near} == {O.UNCONFIRMED}
    broker.published.clear()
    broker.on_publish = usual


async def becomes(outcome, attempt):
    """Repeat it until that is what comes out."""
    async with asyncio.timeout(30):
        while await attempt() is not outcome:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)


def arrived(broker, body):
    return lambda: body in broker.published


def alive(broker):
    return [peer for peer in broker.peers if not peer.gone]


@scenario
async def test_copies_that_wait_already_are_refused_with_it(broker, client):
    publish = client()
    crashing = Crashing(broker)
    copies = [publish.start(b"poison", exchange="bad", header=POISON) for _ in range(10)]
    outcomes = [(await each)[0] for each in copies]
    assert outcomes == [O.UNCONFIRMED] * 2 + [O.BAD_REQUEST] * 8
    assert crashing.crashes == 2


@pytest.mark.parametrize(
    ("names", "told"),
    [
        # RabbitMQ 4 crashes when it refuses such a topic.
        ({"exchange": "bad", "routing_key": "é" * 127}, O.BAD_REQUEST),
        ({"exchange": "", "routing_key": "amq.rabbitmq.reply-to.gone"}, O.BAD_REQUEST),
        # Harmless messages look the same.
        ({"exchange": "bad", "routing_key": "k"}, O.UNCONFIRMED),
    ],
)
@scenario
async def test_without_message_headers_the_names_have_to_tell(broker, client, names, told):
    publish = client()
    Crashing(broker)
    outcomes = [await publish(b"poison", **names) for _ in range(3)]
    assert outcomes == [O.UNCONFIRMED, O.UNCONFIRMED, told]


@scenario
async def test_it_is_tried_again_after_a_while(broker, client, monkeypatch):
    monkeypatch.setattr(quarantine, "WHILE", 0.5)
    publish = client()
    Crashing(broker)
    for outcome in (O.UNCONFIRMED, O.UNCONFIRMED, O.BAD_REQUEST):
        assert await publish(b"poison", exchange="bad", header=POISON) is outcome
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    await becomes(O.CONFIRMED, lambda: publish(b"poison", exchange="bad", header=POISON))
    await publish.until(lambda: len(alive(broker)) == 1)


@scenario
async def test_an_exchange_that_crashes_again_and_again_stays_longer(broker, client):
    publish = client()
    crashing = Crashing(broker)
    for n in range(3):
        for _ in range(15):
            assert await publish(b"good", exchange="bad") is O.CONFIRMED
        assert await publish(b"poison", exchange="bad", header=distinct(n)) is O.UNCONFIRMED
    for _ in range(15):
        assert await publish(b"good", exchange="bad") is O.CONFIRMED
    crashing.delay = 0.2
    near = publish.start(b"near", exchange="near")
    await publish.until(arrived(broker, b"near"))
    assert await publish(b"poison", exchange="bad", header=distinct(3)) is O.UNCONFIRMED
    assert (await near)[0] is O.CONFIRMED


@scenario
async def test_a_node_that_stops_makes_no_message_poisonous(broker, client):
    publish = client()
    Crashing(broker)
    assert await publish(b"poison", exchange="bad", header=POISON) is O.UNCONFIRMED
    broker.on_publish = lambda peer, *_: peer.send(brokerside.close(541, "INTERNAL_ERROR"))
    assert await publish(b"poison", exchange="bad", header=POISON) is O.UNCONFIRMED
    for other in alive(broker):
        other.send(brokerside.close())
    await publish.until(lambda: not alive(broker))
    Crashing(broker)
    assert await publish(b"poison", exchange="bad", header=POISON) is O.UNCONFIRMED
    assert await publish(b"poison", exchange="bad", header=POISON) is O.BAD_REQUEST


@scenario
async def test_returning_while_the_first_connection_is_made_anew_keeps_the_order(broker, client):
    publish = client()
    held = Held(broker)
    await suspect(publish, "near")
    first = [publish.start(b"%d" % n, exchange="near") for n in range(3)]
    await publish.until(arrived(broker, b"0"))
    opening = []
    broker.on_open = opening.append
    main = next(peer for peer in alive(broker) if peer is not held.peer_of[b"0"])
    main.cut()
    await publish.until(lambda: main.gone)
    await publish(b"any", exchange="other", timeout=0.2)  # it is noticed
    later = publish.start(b"3", exchange="near")
    await publish.until(lambda: opening)
    Crashing(broker)
    held.confirm_all()
    assert (await first[0])[0] is O.CONFIRMED
    broker.on_open(opening[0])
    broker.on_open = lambda peer: peer.send(brokerside.open_ok())
    opening[0].send(brokerside.open_ok())
    assert {(await each)[0] for each in (*first, later)} == {O.CONFIRMED}
    assert broker.published == [b"0", b"1", b"2", b"3"]


@scenario
async def test_a_message_without_a_confirm_is_overtaken_by_other_routing_keys_alone(broker, client):
    publish = client()
    held = Held(broker)
    await suspect(publish, "near")
    stuck = publish.start(b"stuck", exchange="near", routing_key="a")
    await publish.until(arrived(broker, b"stuck"))
    alike = publish.start(b"alike", exchange="near", routing_key="a")
    Crashing(broker)
    assert await publish(b"other", exchange="near", routing_key="b") is O.CONFIRMED
    assert b"alike" not in broker.published
    held.confirm_all()
    assert (await stuck)[0] is O.CONFIRMED
    assert (await alike)[0] is O.CONFIRMED


@scenario
async def test_a_refused_login_of_the_second_connection_is_tried_again(broker, client):
    publish = client(refused_for=0.1)
    Crashing(broker)
    await suspect(publish, "near")
    assert await publish(b"opens", exchange="other") is O.CONFIRMED

    def refuse(peer):
        broker.on_login = None
        peer.send(brokerside.close(403, "ACCESS_REFUSED - Login was refused"))

    broker.on_login = refuse
    assert await publish(b"m", exchange="near") is O.UNAUTHORIZED
    await becomes(O.CONFIRMED, lambda: publish(b"m", exchange="near", timeout=1))


@scenario
async def test_a_channel_that_does_not_open_on_the_second_connection(broker, client):
    publish = client()
    Crashing(broker)
    await suspect(publish, "near")
    opened = broker.on_open_channel

    def refuse(peer, channel):
        broker.on_open_channel = opened
        peer.send(brokerside.channel_close(channel, 506, "RESOURCE_ERROR", over=(20, 10)))

    broker.on_open_channel = refuse
    started = [publish.start(b"%d" % n, exchange="near", timeout=3) for n in range(3)]
    assert {(await each)[0] for each in started} == {O.CONFIRMED}
    assert broker.published == [b"0", b"1", b"2"]


@scenario
async def test_the_broker_is_away_during_the_probation(broker, client):
    publish = client()
    held = Held(broker)
    await suspect(publish, "near")
    trial = publish.start(b"trial", exchange="near")
    await publish.until(arrived(broker, b"trial"))
    short = publish.start(b"short", exchange="near", timeout=0.5)
    long = publish.start(b"long", exchange="near")
    await broker.stop()
    assert (await trial)[0] is O.UNCONFIRMED
    assert (await short)[0] is O.BROKER_UNAVAILABLE
    Crashing(broker)
    await broker.start_again()
    assert (await long)[0] is O.CONFIRMED
    assert held.crashes == 0
    assert broker.published == [b"trial", b"long"]


@scenario
async def test_an_idle_second_connection_is_made_anew_for_the_next_message(broker, client):
    publish = client(idle_timeout=3.0)
    crashing = Crashing(broker)
    for outcome in (O.UNCONFIRMED, O.UNCONFIRMED, O.BAD_REQUEST):
        assert await publish(b"poison", exchange="bad", header=POISON) is outcome
    assert await publish(b"m", exchange="bad") is O.CONFIRMED
    await publish.until(lambda: not alive(broker))
    assert await publish(b"m", exchange="bad") is O.CONFIRMED
    assert await publish(b"poison", exchange="bad", header=POISON) is O.BAD_REQUEST
    assert crashing.crashes == 2


@scenario
async def test_the_smallest_bound_leaves_room_for_a_message_on_probation(broker, client):
    publish = client(in_flight_per_connection=2)
    Crashing(broker)
    await suspect(publish, "near")
    assert await publish(b"m", exchange="near") is O.CONFIRMED


@scenario
async def test_an_exchange_that_returned_during_a_swap_has_returned(broker, client):
    publish = client(reverify_after=1.0)
    held = Held(broker)
    await suspect(publish, "near")
    trial = publish.start(b"trial", exchange="near")
    await publish.until(arrived(broker, b"trial"))
    old = next(peer for peer in alive(broker) if peer is not held.peer_of[b"trial"])
    await publish.until(
        lambda: len(broker.peers) == 4 and "Connection.Open" in broker.peers[3].methods
    )
    held.confirm_all()
    assert (await trial)[0] is O.CONFIRMED
    await publish.until(lambda: old.gone)
    later = publish.start(b"later", exchange="near")
    await publish.until(arrived(broker, b"later"))
    assert held.peer_of[b"later"] is not held.peer_of[b"trial"]
    held.confirm_all()
    assert (await later)[0] is O.CONFIRMED


@scenario
async def test_a_stuck_message_on_probation_makes_nobody_look_for_another_node(broker, client):
    async with FakeBroker() as other:
        publish = client(hosts=tuple(f"127.0.0.1:{b.port}" for b in (broker, other)))
        Held(broker)
        Held(other)
        first = publish.start(b"near", exchange="near")
        await publish.until(lambda: broker.published or other.published)
        node, idle = (broker, other) if broker.published else (other, broker)
        assert await publish(b"poison", exchange="bad", header=POISON) is O.UNCONFIRMED
        assert (await first)[0] is O.UNCONFIRMED
        waiting = [publish.start(b"%d" % n, exchange="near", timeout=4) for n in range(5)]
        outcomes = [(await each)[0] for each in waiting]
        assert outcomes[0] is O.UNCONFIRMED
        assert set(outcomes[1:]) <= {O.UNCONFIRMED, O.BROKER_UNAVAILABLE}
        assert len(node.peers) + len(idle.peers) == 3


@scenario
async def test_an_alarm_during_the_probation(broker, client):
    publish = client()
    held = Held(broker)
    await suspect(publish, "near")
    trial = publish.start(b"trial", exchange="near")
    await publish.until(arrived(broker, b"trial"))
    waiting = publish.start(b"waiting", exchange="near")
    peer = held.peer_of[b"trial"]
    peer.reading.clear()
    peer.send(brokerside.blocked())
    assert (await waiting)[0] is O.BROKER_BLOCKED
    Crashing(broker)
    peer.reading.set()
    peer.send(brokerside.unblocked())
    held.confirm_all()
    assert (await trial)[0] is O.CONFIRMED
    assert await publish(b"after", exchange="near") is O.CONFIRMED


@scenario
async def test_a_close_during_the_probation_answers_all(broker, client):
    publish = client()
    Held(broker)
    await suspect(publish, "near")
    trial = publish.start(b"trial", exchange="near")
    await publish.until(arrived(broker, b"trial"))
    waiting = [publish.start(b"m", exchange="near") for _ in range(10)]
    await publish.publisher.close()
    assert (await trial)[0] is O.UNCONFIRMED
    assert {(await each)[0] for each in waiting} == {O.SHUTTING_DOWN}
    assert b"m" not in broker.published
    await publish.until(lambda: not alive(broker))


def test_thousands_of_large_poisonous_messages_take_little_memory():
    async def main():
        loop = asyncio.get_running_loop()
        session = types.SimpleNamespace(state=SessionState.OPEN, connection=object())
        kept = quarantine.Quarantine(lambda: session, lambda _: session, 500, loop)

        def publish(number):
            header = encode.properties({"headers": {"h": "s" * 50_000, "id": number}})
            message = Message("bad", "k", header, b"", False, None)
            return Publish("v", message, 0.0, lambda *_: None, Tally())

        for number in range(3000):
            kept.crashed([publish(number)])
        outcomes = []
        again = publish(2999)
        again.callback = lambda outcome, _: outcomes.append(outcome)
        kept.submit(again)
        assert outcomes == [O.BAD_REQUEST]
        return kept

    tracemalloc.start()
    try:
        kept = asyncio.run(main())
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 5_000_000
    del kept


class Anything:
    """A broker that confirms, nacks, refuses, crashes and hangs up at random."""

    def __init__(self, broker, chance):
        self.broker = broker
        self.chance = chance
        self.refused = set()  # (peer, channel): what comes on it is ignored
        broker.on_publish = self
        broker.on_open_channel = self.open

    def open(self, peer, channel):
        self.refused.discard((peer, channel))
        peer.send(brokerside.channel_open_ok(channel))

    def __call__(self, peer, channel, tag, body):
        if peer.crashed or (peer, channel) in self.refused:
            self.broker.published.pop()
        elif body.startswith(b"poison"):
            peer.crashed = True
            peer.send(brokerside.close(541, "INTERNAL_ERROR"))
        elif body.startswith(b"refused"):
            self.refused.add((peer, channel))
            peer.send(brokerside.channel_close(channel))
        else:
            late = self.chance.choice([0, 0, 0.002, 0.01, 0.05])
            asyncio.get_running_loop().call_later(late, self.settle, peer, channel, tag, body)

    def settle(self, peer, channel, tag, body):
        if not peer.crashed and (peer, channel) not in self.refused:
            answer = brokerside.nack if body.startswith(b"nacked") else brokerside.ack
            peer.send(answer(channel, tag))


SENT = {O.CONFIRMED, O.NACKED, O.UNCONFIRMED, O.EXCHANGE_NOT_FOUND}


@pytest.mark.parametrize("seed", range(3))
@scenario
async def test_whatever_happens_every_answer_is_true(broker, client, seed):
    chance = random.Random(seed)
    Anything(broker, chance)
    publish = client(in_flight_per_connection=400, idle_timeout=1.0, reverify_after=1.0)
    started = {}
    for number in range(500):
        kind = chance.choices([b"good", b"poison", b"refused", b"nacked"], weights=[92, 4, 1, 2])[0]
        poisonous = kind == b"poison"
        body = b"%b-%d" % (kind, number)
        started[body] = publish.start(
            body,
            exchange="e4" if poisonous and chance.random() < 0.8 else f"e{chance.randrange(5)}",
            header=distinct(chance.randrange(8)) if poisonous else None,
            user_id="other" if chance.random() < 0.05 else None,
            timeout=chance.choice([0.3, 1, 5]),
        )
        if chance.random() < 0.05:
            given_up = chance.choice(list(started))
            if not started[given_up].done():
                publish.publisher.cancel(started.pop(given_up).publish)
        if chance.random() < 0.006:
            for peer in alive(broker):
                peer.cut()
        if chance.random() < 0.7:
            await asyncio.sleep(chance.choice([0, 0.003, 0.02]))
    told = {body: (await each)[0] for body, each in started.items()}
    counted = collections.Counter(broker.published)
    assert not [body for body, count in counted.items() if count > 1]
    assert not [b for b, outcome in told.items() if outcome is O.CONFIRMED and not counted[b]]
    assert not [b for b, outcome in told.items() if outcome not in SENT and counted[b]]
    places = {body: place for place, body in enumerate(broker.published)}
    for exchange in {each.publish.message.exchange for each in started.values()}:
        sent = [
            places[body]
            for body, each in started.items()
            if body in places
            and each.publish.message.exchange == exchange
            and each.publish.message.user_id is None
        ]
        assert sent == sorted(sent)
    # What still counts for a session keeps it from being idle.
    await publish.until(lambda: not alive(broker))
