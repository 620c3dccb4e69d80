"""A queue, a channel or a connection that does not answer harms as few others as can be."""

from time import monotonic

import brokerside
from behaviours import Hanging, Holding, ack
from scenario import O, hosts, outcomes

BAD = {"exchange": "", "routing_key": "bad"}
GOOD = {"exchange": "", "routing_key": "good"}
STUCK = "1 old channels"  # as the publisher shows it


async def test_no_more_than_200_messages_follow_an_unconfirmed_one_on_its_channel(broker, publish):
    queue = Holding(broker, b"stuck")
    await publish.opens()
    stuck = publish.start(b"stuck")
    others = [publish.start(b"%d" % n) for n in range(500)]
    await publish.until(lambda: len(broker.published) >= 202)
    assert await publish(b"neighbour", exchange="other") is O.CONFIRMED
    assert len(broker.published) - 1 - 1 <= 201  # without the neighbour and what opens
    queue.release()
    assert set(await outcomes(stuck, *others)) == {O.CONFIRMED}
    assert broker.published.count(b"499") == 1


async def test_a_broker_that_pauses_confirms_all_that_it_had(broker, publish):
    queue = Holding(broker, b"before")
    await publish.opens()
    before, after = await _before_and_after(publish)
    await publish.until(_in(0.4))
    queue.release()
    assert set(await outcomes(*before, *after)) == {O.CONFIRMED}


async def test_a_broker_that_answers_nothing_for_a_while_confirms_all_that_it_had(broker, client):
    publish = client(stalled_timeout=5.0)
    queue, asked = Holding(broker, b"before"), []
    await publish.opens()
    answers = broker.on_open_channel, broker.on_select
    broker.on_open_channel = lambda peer, channel: None
    broker.on_select = lambda peer, channel: asked.append((peer, channel))
    before, after = await _before_and_after(publish)
    await publish.until(_in(1.3))
    broker.on_open_channel, broker.on_select = answers
    for question in asked:
        broker.on_open_channel(*question)
        broker.on_select(*question)
    await publish.until(_in(0.4))
    queue.release()
    assert set(await outcomes(*before, *after)) == {O.CONFIRMED}


async def _before_and_after(publish):
    """Return 150 messages that are in flight on a channel that is stuck, and 150 that wait."""
    before = [publish.start(b"before") for _ in range(150)]
    await publish.until(lambda: publish.shows(STUCK))
    return before, [publish.start(b"after") for _ in range(150)]


def _in(seconds):
    ends_at = monotonic() + seconds
    return lambda: monotonic() > ends_at


async def test_a_queue_that_is_stuck_after_a_rest_is_noticed(broker, publish):
    await publish.opens("e", "other")
    await publish.until(_in(1.5))
    queue = Holding(broker, b"stuck")
    stuck = publish.start(b"stuck")
    await publish.until(lambda: publish.shows(STUCK))
    assert await publish(b"neighbour", exchange="other") is O.CONFIRMED
    await publish.until(_in(1.5))
    queue.release()
    assert await outcomes(stuck) == [O.CONFIRMED]
    assert len(broker.peers) == 1


async def test_a_stuck_exchange_holds_a_quarter_of_its_logins_places(broker, client):
    publish = client(in_flight_per_connection=100)
    queue = Holding(broker, b"stuck")
    await publish.opens()
    first = publish.start(b"stuck")
    await publish.until(lambda: publish.shows(STUCK))
    rest = [publish.start(b"stuck too") for _ in range(40)]
    refused = [each for each in rest if each.done()]
    assert len(refused) == 40 - 24
    assert set(await outcomes(*refused)) == {O.OVERLOADED}
    assert await publish(b"neighbour", exchange="other") is O.CONFIRMED
    await publish.until(lambda: queue.release() or all(p.done() for p in (first, *rest)))


async def test_nothing_is_handed_over_while_the_broker_does_not_answer(broker, client):
    publish = client(stalled_timeout=2.0)
    await publish.opens("e", "other")
    broker.peers[0].reading.clear()
    lost = publish.start(b"lost")
    await publish.until(lambda: publish.shows("not writable"))
    kept = [publish.start(b"kept", exchange=exchange) for exchange in ("e", "other")]
    assert await outcomes(lost, *kept) == [O.UNCONFIRMED, O.CONFIRMED, O.CONFIRMED]
    assert len(broker.peers) == 2


async def test_a_block_ends_also_when_the_word_of_its_end_is_lost(broker, publish):
    broker.product, broker.version = "RabbitMQ", "4.0"
    await publish.opens()
    held, asked = [], []
    # RabbitMQ reads nothing more.
    broker.on_open_channel = lambda peer, channel: None
    broker.on_select = lambda peer, channel: asked.append(channel)
    broker.on_publish = lambda peer, channel, tag, body: (
        peer.send(brokerside.blocked("low on memory")),
        held.append((peer, channel, tag)),
    )
    unknown = publish.start(b"under the alarm")
    await publish.until(lambda: publish.state == "blocked")
    assert await publish(b"refused") is O.BROKER_BLOCKED
    broker.confirms()
    await publish.until(lambda: asked)
    broker.peers[0].send(brokerside.channel_open_ok(asked[-1]) + brokerside.select_ok(asked[-1]))
    ack(*held[0])
    assert (await unknown)[0] is O.CONFIRMED
    await publish.until(lambda: publish.state == "connected")
    assert await publish(b"after it") is O.CONFIRMED


async def test_a_healthy_routing_key_goes_on_however_many_stuck_ones_wait_before_it(broker, client):
    """They hung the channel that it shared with them, and are tried before it."""
    publish = client(stalled_timeout=60)
    Hanging(broker, b"stuck")
    await publish.opens("")
    for number in range(7):
        publish.start(b"stuck", exchange="", routing_key=f"stuck-{number}")
    publish.start(b"behind them", **GOOD)
    await publish.until(lambda: publish.shows(STUCK))
    for number in range(7):
        publish.start(b"stuck", exchange="", routing_key=f"stuck-{number}", timeout=60)
    assert await publish(b"good", timeout=60, **GOOD) is O.CONFIRMED
    assert len(broker.peers) == 1


async def test_the_routing_key_that_a_channel_may_hang_at_is_tried_last(broker, publish):
    Hanging(broker, b"stuck")
    await publish.opens("")
    publish.start(b"stuck", **BAD)
    publish.start(b"behind it", **GOOD)
    await publish.until(lambda: publish.shows(STUCK))
    publish.start(b"stuck too", **BAD)
    assert await publish(b"good", **GOOD) is O.CONFIRMED
    assert b"stuck too" not in broker.published


async def test_a_login_leaves_a_node_that_is_cut_off_from_its_cluster(broker, other, client):
    """Such a node answers, and confirms nothing."""
    publish = client(hosts=hosts(broker, other))
    await publish.opens()
    here, there = (broker, other) if broker.peers else (other, broker)
    here.is_silent()
    lost = publish.start(b"lost")
    kept = publish.start(b"kept", exchange="fresh")
    await publish.until(lambda: there.peers)
    assert await publish(b"next") is O.CONFIRMED
    assert await outcomes(lost, kept) == [O.UNCONFIRMED] * 2
    assert b"next" in there.published


async def test_a_queue_that_is_stuck_everywhere_costs_one_look_elsewhere(broker, other, client):
    publish = client(hosts=hosts(broker, other))
    for each in (broker, other):
        Holding(each, b"stuck")
    await publish.opens()
    for _ in range(12):
        await publish(b"stuck", timeout=0.5)
    assert len(broker.peers) + len(other.peers) == 2
    assert await publish(b"neighbour", exchange="other") is O.CONFIRMED


async def test_a_network_that_is_slow_for_a_large_body_is_not_taken_for_one_that_is_gone(
    broker, client
):
    publish = client(stalled_timeout=2.5)
    await publish.opens()
    broker.pace = 0.03
    assert await publish(b"x" * 20_000_000, timeout=60) is O.CONFIRMED  # 153 frames
    assert len(broker.peers) == 1


async def test_a_routing_key_is_not_dead_because_a_channel_never_settles_it(broker, publish):
    """RabbitMQ forgets the messages to a quorum queue that is deleted by force."""
    queue = Holding(broker, b"stuck")
    await publish.opens("")
    forgotten = publish.start(b"stuck", timeout=0.2, **BAD)
    assert await publish(b"good", **GOOD) is O.CONFIRMED
    assert (await forgotten)[0] is O.UNCONFIRMED
    queue.unconfirmed = []  # for ever
    await publish.until(lambda: publish.shows(STUCK))
    assert await publish(b"waits", timeout=1, **BAD) is O.BROKER_UNAVAILABLE
    await publish.becomes(O.CONFIRMED, b"next", timeout=1, **BAD)  # after 10 s
    assert len(broker.peers) == 1


async def test_a_channel_that_opens_too_late_is_not_used_and_not_closed_twice(
    broker, publish, caplog
):
    await publish.opens()
    asked = []
    broker.on_open_channel = lambda peer, channel: None
    broker.on_select = lambda peer, channel: asked.append(channel)
    broker.is_silent()
    slow = publish.start(b"slow")
    await publish.until(lambda: asked)  # a second channel, because the first one is silent
    broker.confirms()
    # In one read: the confirm, after which the second channel is not needed, and its Select-Ok.
    opened = brokerside.channel_open_ok(asked[0]) + brokerside.select_ok(asked[0])
    broker.peers[0].send(brokerside.ack(1, 2) + opened)
    assert (await slow)[0] is O.CONFIRMED
    assert await publish(b"next") is O.CONFIRMED
    await publish.until(lambda: "Channel.Close" in broker.peers[0].methods)
    assert publish.statistics["channels"] == {"opened": 1, "closed": 0}
    assert len(broker.peers) == 1
    assert "failed" not in caplog.text
