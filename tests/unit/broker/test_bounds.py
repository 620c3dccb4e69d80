"""Nothing waits without a bound: messages, bytes, connections, channels, the socket's buffer."""

import asyncio

import brokerside
from scenario import O, scenario

from statelessd.message import Credentials


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
async def test_a_user_of_200_exchanges_keeps_a_channel_for_each(broker, client):
    publish = client()
    for _ in range(2):
        for number in range(200):
            assert await publish(exchange=f"exchange {number}") is O.CONFIRMED
    assert publish.statistics["channels"]["opened"] == 200


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
async def test_what_the_broker_does_not_read_is_not_kept_in_a_buffer(broker, client):
    publish = client()
    assert await publish() is O.CONFIRMED
    broker.peers[0].reading.clear()
    body = b"x" * 100_000
    pending = [publish.start(body, timeout=1.0) for _ in range(500)]
    [session] = publish.publisher._pool.sessions()
    await publish.until(lambda: not session.writable)
    assert session.connection._transport.get_write_buffer_size() < 1_000_000
    await asyncio.gather(*pending)
    broker.peers[0].cut()


@scenario
async def test_channels_that_nobody_wants_any_more_are_not_opened(broker, client):
    publish = client(channels_per_connection=1)
    broker.on_publish = lambda *_: None
    busy = publish.start(b"busy", exchange="a", timeout=10)
    await publish.until(lambda: broker.published)
    for i in range(5):
        gone = publish.start(exchange=f"gone {i}", user_id="bob" if i % 2 else None)
        publish.publisher.cancel(gone.publish)
    wanted = publish.start(b"wanted", exchange="b", timeout=10)
    [session] = publish.publisher._pool.sessions()
    assert len(session.channels.channels()) == 2
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    broker.peers[0].send(brokerside.ack(1, 1))
    assert [(await p)[0] for p in (busy, wanted)] == [O.CONFIRMED] * 2
    assert broker.peers[0].methods.count("Channel.Open") == 2
    assert not session.channels.starved
