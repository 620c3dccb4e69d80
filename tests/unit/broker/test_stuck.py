"""A queue, a channel or a connection that does not answer harms as few others as can be."""

import asyncio

import brokerside
from fakebroker import FakeBroker
from scenario import O, scenario

from statelessd.message import Credentials


def ack(peer, channel, tag):
    peer.send(brokerside.ack(channel, tag))


class StuckQueue:
    """Confirms every message but those with the body ``stuck…``, until ``release``."""

    def __init__(self, broker):
        self.unconfirmed = []
        broker.on_publish = self

    def __call__(self, peer, channel, tag, body):
        if body.startswith(b"stuck"):
            self.unconfirmed.append((peer, channel, tag))
        else:
            ack(peer, channel, tag)

    def release(self):
        for each in self.unconfirmed:
            ack(*each)
        self.unconfirmed = []


class HangingChannel:
    """Confirms nothing more on a channel that got a message ``hangs…``, until ``release``."""

    def __init__(self, broker):
        self.hanging = {}
        broker.on_publish = self

    def __call__(self, peer, channel, tag, body):
        if body.startswith(b"hangs"):
            self.hanging.setdefault((peer, channel), [])
        if (peer, channel) in self.hanging:
            self.hanging[peer, channel].append(tag)
        else:
            ack(peer, channel, tag)

    def release(self):
        for (peer, channel), tags in self.hanging.items():
            for tag in tags:
                ack(peer, channel, tag)
        self.hanging = {}


@scenario
async def test_no_more_than_200_messages_follow_an_unconfirmed_one_on_its_channel(broker, client):
    publish = client()
    queue = StuckQueue(broker)
    assert await publish(b"opens") is O.CONFIRMED
    stuck = publish.start(b"stuck", timeout=10)
    others = [publish.start(b"%d" % n, timeout=10) for n in range(500)]
    await publish.until(lambda: len(broker.published) >= 202)
    assert await publish(b"neighbour", exchange="other") is O.CONFIRMED
    assert len(broker.published) - 1 - 1 <= 201  # without the neighbour and what opens
    queue.release()
    assert {(await p)[0] for p in (stuck, *others)} == {O.CONFIRMED}
    assert broker.published.count(b"499") == 1


@scenario
async def test_other_routing_keys_go_on_beside_a_stuck_queue(broker, client):
    publish = client()
    queue = StuckQueue(broker)
    assert await publish(b"opens", exchange="") is O.CONFIRMED
    stuck = [
        publish.start(b"stuck%d" % n, exchange="", routing_key="bad", timeout=3) for n in range(40)
    ]
    good = []
    for n in range(60):  # three seconds of traffic
        good.append(publish.start(b"good%d" % n, exchange="", routing_key="good", timeout=2.5))
        await asyncio.sleep(0.05)
    late = publish.start(b"stuck late", exchange="", routing_key="bad", timeout=0.3)
    assert {(await p)[0] for p in good} == {O.CONFIRMED}
    assert (await late)[0] is O.BROKER_UNAVAILABLE  # it was not sent
    assert {(await p)[0] for p in stuck} == {O.UNCONFIRMED}
    assert len(broker.peers) == 1
    queue.release()
    assert await publish(b"again", exchange="", routing_key="bad", timeout=5) is O.CONFIRMED
    assert [b for b in broker.published if b.startswith(b"good")] == [
        b"good%d" % n for n in range(60)
    ]


@scenario
async def test_other_routing_keys_go_on_beside_a_channel_that_hangs(broker, client):
    publish = client()
    HangingChannel(broker)
    assert await publish(b"opens", exchange="") is O.CONFIRMED
    hangs = publish.start(b"hangs", exchange="", routing_key="bad", timeout=10)
    begun = asyncio.get_running_loop().time()
    # These were sent behind it and are unconfirmed too, though their queue is well.
    behind = [publish.start(b"good%d" % n, exchange="", routing_key="good") for n in range(5)]
    later = publish.start(b"later", exchange="", routing_key="good", timeout=10)
    [session] = publish.publisher._pool.sessions()
    await publish.until(lambda: "1 old channels" in repr(session.channels.routes()))
    latest = publish.start(b"latest", exchange="", routing_key="good", timeout=10)
    assert (await latest)[0] is O.CONFIRMED
    assert asyncio.get_running_loop().time() - begun < 3  # 2 on an idle machine
    assert {(await p)[0] for p in behind} == {O.UNCONFIRMED}
    assert (await later)[0] is O.UNCONFIRMED
    assert not hangs.done()
    assert len(broker.peers) == 1


@scenario
async def test_a_stuck_exchange_holds_a_quarter_of_its_logins_places(broker, client):
    publish = client(in_flight_per_connection=100)
    queue = StuckQueue(broker)
    assert await publish(b"opens") is O.CONFIRMED
    first = publish.start(b"stuck", timeout=20)
    [session] = publish.publisher._pool.sessions()
    await publish.until(lambda: "1 old channels" in repr(session.channels.routes()))
    rest = [publish.start(b"stuck too", timeout=20) for _ in range(40)]
    refused = [p for p in rest if p.done()]
    assert len(refused) == 40 - 24
    assert {(await p)[0] for p in refused} == {O.OVERLOADED}
    assert await publish(b"neighbour", exchange="other") is O.CONFIRMED
    queue.release()
    await publish.until(lambda: all(p.done() for p in (first, *rest)) or queue.release())


@scenario
async def test_a_slow_broker_gets_no_more_channels_and_no_more_connections(broker, client):
    publish = client()
    loop = asyncio.get_running_loop()
    assert await publish(b"opens") is O.CONFIRMED
    broker.on_publish = lambda peer, channel, tag, body: loop.call_later(
        1.5, ack, peer, channel, tag
    )
    pending = []
    for n in range(60):
        pending.append(publish.start(b"%d" % n, routing_key=f"k{n % 7}", timeout=10))
        await asyncio.sleep(0.1)
    assert {(await p)[0] for p in pending} == {O.CONFIRMED}
    assert len(broker.peers) == 1
    assert broker.peers[0].methods.count("Channel.Open") <= 4
    for key in range(7):
        sent = [int(b) for b in broker.published if b.isdigit() and int(b) % 7 == key]
        assert sent == sorted(sent)


@scenario
async def test_nothing_is_handed_over_while_the_broker_does_not_answer(broker, client):
    publish = client(stalled_timeout=1.0)
    assert await publish(b"opens") is O.CONFIRMED
    assert await publish(b"opens", exchange="other") is O.CONFIRMED
    stuck = broker.peers[0]
    stuck.reading.clear()
    lost = publish.start(b"lost", timeout=10)
    [session] = publish.publisher._pool.sessions()
    await publish.until(lambda: not session.writable)
    kept = [
        publish.start(b"kept%d" % n, exchange=e, timeout=10) for n, e in enumerate(("e", "other"))
    ]
    assert [(await p)[0] for p in kept] == [O.CONFIRMED] * 2
    assert (await lost)[0] is O.UNCONFIRMED
    assert len(broker.peers) == 2


@scenario
async def test_a_login_whose_only_queue_is_stuck_keeps_its_connection(broker, client):
    publish = client(stalled_timeout=0.5)
    StuckQueue(broker)
    assert await publish(b"opens") is O.CONFIRMED
    for _ in range(8):
        assert await publish(b"stuck", timeout=0.5) in (O.UNCONFIRMED, O.BROKER_UNAVAILABLE)
    assert len(broker.peers) == 1
    assert await publish(b"neighbour", exchange="other") is O.CONFIRMED


@scenario
async def test_a_block_ends_also_when_the_word_of_its_end_is_lost(broker, client):
    broker.product, broker.version = "RabbitMQ", "4.0"
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    held, asked = [], []
    # RabbitMQ reads nothing more.
    broker.on_open_channel = lambda peer, channel: None
    broker.on_select = lambda peer, channel: asked.append(channel)
    broker.on_publish = lambda peer, channel, tag, body: (
        peer.send(brokerside.blocked("low on memory")),
        held.append((peer, channel, tag)),
    )
    unknown = publish.start(b"under the alarm", timeout=10)
    await publish.until(lambda: publish.publisher.broker_state().state.value == "blocked")
    assert await publish(b"refused") is O.BROKER_BLOCKED
    broker.on_publish = lambda peer, channel, tag, body: ack(peer, channel, tag)
    await publish.until(lambda: asked)
    broker.peers[0].send(brokerside.channel_open_ok(asked[-1]))
    broker.peers[0].send(brokerside.select_ok(asked[-1]))
    ack(*held[0])
    assert (await unknown)[0] is O.CONFIRMED
    await publish.until(lambda: publish.publisher.broker_state().state.value == "connected")
    assert await publish(b"after it") is O.CONFIRMED


TOPIC = "ACCESS_REFUSED - access to topic 'no' in exchange 'e' in vhost 'test' refused for user"


@scenario
async def test_refused_topics_harm_their_neighbours_once_and_no_more(broker, client):
    publish = client()
    dead = set()

    def refuse(peer, channel, tag, body):
        if (peer, channel) in dead:
            return
        if body == b"bad":
            dead.add((peer, channel))
            peer.send(brokerside.channel_close(channel, 403, TOPIC))
        else:
            asyncio.get_running_loop().call_later(0.005, acknowledge, peer, channel, tag)

    def acknowledge(peer, channel, tag):
        if (peer, channel) not in dead:
            ack(peer, channel, tag)

    broker.on_publish = refuse
    broker.on_open_channel = lambda peer, channel: (
        dead.discard((peer, channel)),
        peer.send(brokerside.channel_open_ok(channel)),
    )
    assert await publish(b"opens") is O.CONFIRMED
    good, bad = [], []
    for n in range(200):
        good.append(publish.start(b"good%03d" % n, routing_key=f"yes{n % 3}"))
        if n % 20 == 10:
            bad.append(publish.start(b"bad", routing_key="no"))
        await asyncio.sleep(0.005)
    assert {(await p)[0] for p in bad} == {O.FORBIDDEN}
    outcomes = [(await p)[0] for p in good]
    assert outcomes.count(O.CONFIRMED) >= len(outcomes) - 3  # those before the first culprit
    assert set(outcomes) <= {O.CONFIRMED, O.UNCONFIRMED}
    for key in range(3):
        sent = [
            int(b[4:]) for b in broker.published if b.startswith(b"good") and int(b[4:]) % 3 == key
        ]
        assert sorted(set(sent)) == list(dict.fromkeys(sent))


@scenario
async def test_a_login_on_a_parted_node_goes_to_another_one(broker, client):
    """The node answers and confirms nothing, as one does that is parted from its cluster."""
    async with FakeBroker() as other:
        hosts = tuple(f"127.0.0.1:{b.port}" for b in (broker, other))
        publish = client(hosts=hosts)
        assert await publish(b"opens") is O.CONFIRMED
        here, there = (broker, other) if broker.peers else (other, broker)
        here.on_publish = lambda *_: None
        begun = asyncio.get_running_loop().time()
        lost = publish.start(b"lost", timeout=10)
        kept = publish.start(b"kept", timeout=10, exchange="fresh")
        await publish.until(lambda: there.peers)
        assert await publish(b"next", timeout=10) is O.CONFIRMED
        assert asyncio.get_running_loop().time() - begun < 4  # 2.5 on an idle machine
        assert (await lost)[0] is O.UNCONFIRMED
        assert (await kept)[0] is O.UNCONFIRMED
        assert b"next" in there.published


@scenario
async def test_a_queue_that_is_stuck_everywhere_costs_one_look_at_another_node(broker, client):
    async with FakeBroker() as other:
        for each in (broker, other):
            StuckQueue(each)
        publish = client(hosts=tuple(f"127.0.0.1:{b.port}" for b in (broker, other)))
        assert await publish(b"opens") is O.CONFIRMED
        for _ in range(12):
            await publish(b"stuck", timeout=0.5)
        assert len(broker.peers) + len(other.peers) == 2
        assert await publish(b"neighbour", exchange="other") is O.CONFIRMED


@scenario
async def test_messages_too_large_for_the_broker_travel_apart(broker, client):
    publish = client()
    text = "PRECONDITION_FAILED - message size 5000 is larger than configured max size 4000"

    def refuse(peer, channel, tag, body):
        if len(body) == 5000:
            peer.send(brokerside.channel_close(channel, 406, text))
        else:
            asyncio.get_running_loop().call_later(0.02, ack, peer, channel, tag)

    broker.on_publish = refuse
    assert await publish(b"opens") is O.CONFIRMED
    assert await publish(b"x" * 5000) is O.TOO_LARGE
    assert await publish(b"opens") is O.CONFIRMED
    good = [publish.start(b"good") for _ in range(3)]
    large = publish.start(b"x" * 5000)
    assert [(await p)[0] for p in (*good, large)] == [O.CONFIRMED] * 3 + [O.TOO_LARGE]


@scenario
async def test_one_logins_stuck_queue_is_nothing_to_another_login(broker, client):
    publish = client()
    StuckQueue(broker)
    other = Credentials("other", "word")
    assert await publish(b"opens") is O.CONFIRMED
    stuck = publish.start(b"stuck", timeout=2)
    assert await publish(b"fine", credentials=other) is O.CONFIRMED
    assert (await stuck)[0] is O.UNCONFIRMED


@scenario
async def test_a_network_that_is_slow_for_a_large_body_is_not_taken_for_one_that_is_gone(
    broker, client
):
    publish = client(stalled_timeout=2.5)
    assert await publish(b"opens") is O.CONFIRMED
    broker.pace = 0.03
    body = b"x" * 20_000_000  # 153 frames
    assert await publish(body, timeout=19) is O.CONFIRMED
    assert len(broker.peers) == 1


@scenario
async def test_a_routing_key_is_not_dead_because_a_channel_never_settles_it(broker, client):
    """RabbitMQ forgets the messages to a quorum queue that is deleted by force."""
    publish = client()
    queue = StuckQueue(broker)
    assert await publish(b"opens", exchange="") is O.CONFIRMED
    forgotten = publish.start(b"stuck", exchange="", routing_key="bad", timeout=0.2)
    assert await publish(b"good", exchange="", routing_key="good") is O.CONFIRMED
    assert (await forgotten)[0] is O.UNCONFIRMED
    queue.unconfirmed = []  # for ever
    [session] = publish.publisher._pool.sessions()
    await publish.until(lambda: "1 old channels" in repr(session.channels.routes()))
    assert await publish(b"waits", exchange="", routing_key="bad", timeout=1) is (
        O.BROKER_UNAVAILABLE
    )
    async with asyncio.timeout(40):  # 10 on an idle machine
        while await publish(b"next", exchange="", routing_key="bad", timeout=1) is not O.CONFIRMED:
            pass
    assert len(broker.peers) == 1
