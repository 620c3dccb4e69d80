"""A message that crashes the broker's connection harms its neighbours once, not again and again."""

import asyncio

from crashing import POISON, Crashing, distinct
from scenario import O, scenario

from statelessd.amqp import encode


@scenario
async def test_poison_harms_messages_of_other_exchanges_once(broker, client):
    publish = client()
    crashing = Crashing(broker)
    assert await publish(b"opens", exchange="other") is O.CONFIRMED
    good, poison = [], []
    for n in range(300):
        good.append(publish.start(b"good%d" % n, exchange="other"))
        if n % 10 == 5:
            poison.append(publish.start(b"poison%d" % n, exchange="bad", header=distinct(n)))
        await asyncio.sleep(0.01)
    outcomes = [(await p)[0] for p in good]
    assert set(outcomes) <= {O.CONFIRMED, O.UNCONFIRMED}
    assert outcomes.count(O.UNCONFIRMED) <= 3
    assert {(await p)[0] for p in poison} <= {O.UNCONFIRMED, O.BROKER_UNAVAILABLE}
    assert crashing.crashes > 2
    assert len([p for p in broker.peers if not p.gone]) <= 2


@scenario
async def test_the_same_poison_is_not_sent_again(broker, client):
    publish = client()
    crashing = Crashing(broker)
    told = [await publish.start(b"poison", exchange="bad", header=POISON) for _ in range(6)]
    outcomes = [outcome for outcome, _ in told]
    # The first names nobody; the second is alone.
    assert outcomes == [O.UNCONFIRMED] * 2 + [O.BAD_REQUEST] * 4
    assert "541" in told[-1][1]
    assert crashing.crashes == 2
    assert await publish(b"fine", exchange="bad") is O.CONFIRMED
    other = encode.properties({"headers": {"h": 1}})
    assert await publish(b"fine", exchange="bad", header=other) is O.CONFIRMED


@scenario
async def test_an_exchange_that_was_only_near_by_returns_once_confirmed(broker, client):
    publish = client()
    Crashing(broker, delay=0.05)
    assert await publish(b"opens", exchange="near") is O.CONFIRMED
    near = publish.start(b"near", exchange="near")
    poison = publish.start(b"poison", exchange="bad", header=POISON)
    assert (await near)[0] is O.UNCONFIRMED
    assert (await poison)[0] is O.UNCONFIRMED
    assert await publish(b"on quarantine", exchange="near") is O.CONFIRMED
    # Side by side again, on the login's first connection.
    begun = asyncio.get_running_loop().time()
    many = [publish.start(b"n%d" % n, exchange="near") for n in range(60)]
    assert {(await p)[0] for p in many} == {O.CONFIRMED}
    assert asyncio.get_running_loop().time() - begun < 60 * 0.05
    assert [b for b in broker.published if b.startswith(b"n") and b != b"near"] == [
        b"n%d" % n for n in range(60)
    ]


@scenario
async def test_messages_on_probation_keep_their_deadlines_and_their_order(broker, client):
    publish = client()
    Crashing(broker)
    assert (await publish.start(b"poison", exchange="bad", header=POISON))[0] is O.UNCONFIRMED
    assert (await publish.start(b"poison", exchange="bad", header=POISON))[0] is O.UNCONFIRMED
    broker.on_publish = lambda *_: None
    stuck = publish.start(b"stuck", exchange="bad", timeout=0.3)
    assert (await stuck)[0] is O.UNCONFIRMED
    Crashing(broker)
    many = [publish.start(b"m%d" % n, exchange="bad", timeout=10) for n in range(10)]
    assert {(await p)[0] for p in many} == {O.CONFIRMED}
    assert [b for b in broker.published if b.startswith(b"m")] == [b"m%d" % n for n in range(10)]
