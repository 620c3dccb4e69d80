"""A message that crashes the broker's connection harms its neighbours once, not again and again."""

import asyncio
import collections
import random
import tracemalloc
import types

import brokerside
import pytest
from behaviours import POISON, Crashing, Holding, distinct
from scenario import O, hosts, outcomes

from statelessd.amqp import encode
from statelessd.broker import quarantine
from statelessd.broker.pending import Publish, Tally
from statelessd.broker.state import SessionState
from statelessd.form import FORM
from statelessd.message import Message

BAD = {"exchange": "bad", "header": POISON}


async def suspect(publish, *exchanges):
    """Crash the login's connection with a message of each exchange in flight."""
    broker = publish.broker
    usual = broker.on_publish
    Holding(broker)
    near = [publish.start(b"near", exchange=exchange) for exchange in exchanges]
    await publish.published(b"near", len(near))
    assert await publish(b"poison", **BAD) is O.UNCONFIRMED
    assert set(await outcomes(*near)) == {O.UNCONFIRMED}
    broker.published.clear()
    broker.on_publish = usual


async def trial(publish):
    """Let one message of a suspected exchange be in flight; its future and who has it."""
    holding = Holding(publish.broker)
    await suspect(publish, "near")
    started = publish.start(b"trial", exchange="near")
    await publish.published(b"trial")
    return started, holding


async def test_the_same_poison_is_not_sent_again(broker, publish):
    crashing = Crashing(broker)
    told = [await publish.start(b"poison", **BAD) for _ in range(6)]
    # The first names nobody; the second is alone.
    assert [outcome for outcome, _ in told] == [O.UNCONFIRMED] * 2 + [O.BAD_REQUEST] * 4
    assert "541" in told[-1][1]
    assert crashing.crashes == 2
    assert await publish(b"fine", exchange="bad") is O.CONFIRMED
    other = encode.properties({"headers": {"h": 1}})
    assert await publish(b"fine", exchange="bad", header=other) is O.CONFIRMED


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
async def test_without_message_headers_the_names_have_to_tell(broker, publish, names, told):
    Crashing(broker)
    assert [await publish(b"poison", **names) for _ in range(3)] == [O.UNCONFIRMED] * 2 + [told]


async def test_it_is_tried_again_after_a_while(broker, publish, monkeypatch):
    monkeypatch.setattr(quarantine, "WHILE", 0.5)
    Crashing(broker)
    for outcome in (O.UNCONFIRMED, O.UNCONFIRMED, O.BAD_REQUEST):
        assert await publish(b"poison", **BAD) is outcome
    broker.confirms()
    await publish.becomes(O.CONFIRMED, b"poison", **BAD)
    await publish.until(lambda: len(broker.alive()) == 1)


async def test_an_exchange_that_was_only_near_by_returns_once_confirmed(broker, publish):
    Crashing(broker)
    await suspect(publish, "near")
    assert await publish(b"in quarantine", exchange="near") is O.CONFIRMED
    # Side by side again, on the login's first connection.
    holding = Holding(broker)
    many = [publish.start(b"n%d" % n, exchange="near") for n in range(60)]
    await publish.published(b"n0")
    holding.release()
    await publish.published(b"n59")
    holding.release()
    assert set(await outcomes(*many)) == {O.CONFIRMED}
    assert broker.published[1:] == [b"n%d" % n for n in range(60)]


async def test_an_exchange_that_crashes_again_and_again_stays_longer(broker, publish):
    crashing = Crashing(broker)
    for n in range(3):
        for _ in range(15):
            assert await publish(b"good", exchange="bad") is O.CONFIRMED
        assert await publish(b"poison", exchange="bad", header=distinct(n)) is O.UNCONFIRMED
    for _ in range(15):
        assert await publish(b"good", exchange="bad") is O.CONFIRMED
    crashing.delay = 0.2
    near = publish.start(b"near", exchange="near")
    await publish.published(b"near")
    assert await publish(b"poison", exchange="bad", header=distinct(3)) is O.UNCONFIRMED
    assert (await near)[0] is O.CONFIRMED


async def test_a_node_that_stops_makes_no_message_poisonous(broker, publish):
    Crashing(broker)
    assert await publish(b"poison", **BAD) is O.UNCONFIRMED
    broker.closes_connections(541, "INTERNAL_ERROR")
    assert await publish(b"poison", **BAD) is O.UNCONFIRMED
    for other in broker.alive():
        other.send(brokerside.close())
    await publish.until(lambda: not broker.alive())
    Crashing(broker)
    assert await publish(b"poison", **BAD) is O.UNCONFIRMED
    assert await publish(b"poison", **BAD) is O.BAD_REQUEST


async def test_messages_in_quarantine_keep_their_deadlines_and_their_order(broker, publish):
    Crashing(broker)
    for _ in range(2):
        assert await publish(b"poison", **BAD) is O.UNCONFIRMED
    await publish.opens("bad")
    broker.is_silent()
    assert await publish(b"stuck", exchange="bad", timeout=0.3) is O.UNCONFIRMED
    Crashing(broker)
    many = [publish.start(b"m%d" % n, exchange="bad") for n in range(10)]
    assert set(await outcomes(*many)) == {O.CONFIRMED}
    assert broker.published[-10:] == [b"m%d" % n for n in range(10)]


async def test_a_message_without_a_confirm_is_overtaken_by_other_routing_keys_alone(
    broker, publish
):
    stuck, holding = await trial(publish)
    alike = publish.start(b"alike", exchange="near")
    Crashing(broker)
    assert await publish(b"other", exchange="near", routing_key="b") is O.CONFIRMED
    assert b"alike" not in broker.published
    holding.release()
    assert await outcomes(stuck, alike) == [O.CONFIRMED] * 2


async def test_a_refused_login_of_the_second_connection_is_tried_again(broker, client):
    publish = client(refused_for=0.1)
    Crashing(broker)
    await suspect(publish, "near")
    await publish.opens("other")
    broker.refuses_logins()
    assert await publish(b"m", exchange="near") is O.UNAUTHORIZED
    broker.on_login = None
    await publish.becomes(O.CONFIRMED, b"m", exchange="near", timeout=1)


async def test_a_channel_that_does_not_open_on_the_second_connection(broker, publish):
    Crashing(broker)
    await suspect(publish, "near")
    opened = broker.on_open_channel

    def refuse(peer, channel):
        broker.on_open_channel = opened
        peer.send(brokerside.channel_close(channel, 506, "RESOURCE_ERROR", over=(20, 10)))

    broker.on_open_channel = refuse
    started = [publish.start(b"%d" % n, exchange="near") for n in range(3)]
    assert set(await outcomes(*started)) == {O.CONFIRMED}
    assert broker.published == [b"0", b"1", b"2"]


async def test_the_broker_is_away_during_the_quarantine(broker, publish):
    on_trial, _ = await trial(publish)
    short = publish.start(b"short", exchange="near", timeout=0.5)
    long = publish.start(b"long", exchange="near")
    await broker.stop()
    assert await outcomes(on_trial, short) == [O.UNCONFIRMED, O.BROKER_UNAVAILABLE]
    broker.confirms()
    await broker.start_again()
    assert (await long)[0] is O.CONFIRMED
    assert broker.published == [b"trial", b"long"]


async def test_an_idle_second_connection_is_made_anew_for_the_next_message(broker, client):
    publish = client(idle_timeout=3.0)
    crashing = Crashing(broker)
    for outcome in (O.UNCONFIRMED, O.UNCONFIRMED, O.BAD_REQUEST):
        assert await publish(b"poison", **BAD) is outcome
    assert await publish(b"m", exchange="bad") is O.CONFIRMED
    await publish.until(lambda: not broker.alive())
    assert await publish(b"m", exchange="bad") is O.CONFIRMED
    assert await publish(b"poison", **BAD) is O.BAD_REQUEST
    assert crashing.crashes == 2


async def test_the_smallest_bound_leaves_room_for_a_message_in_quarantine(broker, client):
    publish = client(in_flight_per_connection=2)
    Crashing(broker)
    await suspect(publish, "near")
    assert await publish(b"m", exchange="near") is O.CONFIRMED


async def test_a_stuck_message_in_quarantine_leads_to_no_other_node(broker, other, client):
    publish = client(hosts=hosts(broker, other))
    for each in (broker, other):
        Holding(each)
    first = publish.start(b"near", exchange="near")
    await publish.until(lambda: broker.published or other.published)
    assert await publish(b"poison", **BAD) is O.UNCONFIRMED
    assert (await first)[0] is O.UNCONFIRMED
    waiting = [publish.start(b"%d" % n, exchange="near", timeout=4) for n in range(5)]
    told = await outcomes(*waiting)
    assert told[0] is O.UNCONFIRMED
    assert set(told[1:]) <= {O.UNCONFIRMED, O.BROKER_UNAVAILABLE}
    assert len(broker.peers) + len(other.peers) == 3


async def test_an_alarm_during_the_quarantine(broker, publish):
    on_trial, holding = await trial(publish)
    waiting = publish.start(b"waiting", exchange="near")
    peer = holding.peer_of[b"trial"]
    peer.reading.clear()
    peer.send(brokerside.blocked())
    assert (await waiting)[0] is O.BROKER_BLOCKED
    broker.confirms()
    peer.reading.set()
    peer.send(brokerside.unblocked())
    holding.release()
    assert (await on_trial)[0] is O.CONFIRMED
    assert await publish(b"after", exchange="near") is O.CONFIRMED


@pytest.mark.skipif(FORM == "compiled", reason="a compiled class takes no double of a session")
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
            for peer in broker.alive():
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
    await publish.until(lambda: not broker.alive())
