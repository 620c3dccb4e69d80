"""Nothing waits without a bound: messages, bytes, connections, channels, the socket's buffer."""

import brokerside
from scenario import O, outcomes

from statelessd.message import Credentials

OTHER = Credentials("other", "x")


async def test_a_client_that_left_frees_its_place_and_is_not_sent(broker, client):
    publish = client(max_messages=2)
    broker.is_silent()
    publish.start(b"probe")
    gone = publish.start(b"gone")
    assert await publish(b"too many") is O.OVERLOADED
    publish.publisher.cancel(gone.publish)
    after = publish.start(b"after")
    await publish.published(b"probe")
    broker.confirms()
    broker.peers[0].send(brokerside.ack(1, 1))
    assert (await after)[0] is O.CONFIRMED
    assert broker.published == [b"probe", b"after"]
    assert not gone.done()


async def test_bytes_are_bounded_together_with_bodies_that_still_arrive(client):
    publish = client(max_bytes=1024)
    assert publish.publisher.take(1000)
    assert not publish.publisher.take(100)
    assert await publish(b"x" * 100) is O.OVERLOADED
    publish.publisher.give_back(1000)
    assert await publish(b"x" * 100) is O.CONFIRMED


async def test_one_users_messages_are_bounded(broker, client):
    publish = client(in_flight_per_connection=2)
    broker.is_silent()
    *_, third = [publish.start() for _ in range(3)]
    assert third.result()[0] is O.OVERLOADED
    assert not publish.start(credentials=OTHER).done()


async def test_the_number_of_connections_is_bounded_and_idle_ones_make_room(broker, client):
    publish = client(max_connections=1)
    broker.is_silent()
    busy = publish.start(b"busy")
    await publish.published(b"busy")
    assert await publish(credentials=OTHER) is O.OVERLOADED
    broker.peers[0].send(brokerside.ack(1, 1))
    assert (await busy)[0] is O.CONFIRMED
    broker.confirms()
    assert await publish(credentials=OTHER) is O.CONFIRMED
    await publish.until(lambda: broker.peers[0].gone)


async def test_the_least_recently_used_idle_channel_makes_room(broker, client):
    publish = client(channels_per_connection=2)
    await publish.opens("a", "b", "c", "a")
    assert publish.statistics["channels"]["opened"] == 4
    assert len(broker.peers) == 1


async def test_a_user_of_200_exchanges_keeps_a_channel_for_each(publish):
    for _ in range(2):
        await publish.opens(*(f"exchange {number}" for number in range(200)))
    assert publish.statistics["channels"]["opened"] == 200


async def test_with_all_channels_busy_the_next_exchange_waits_for_one(broker, client):
    publish = client(channels_per_connection=1)
    broker.is_silent()
    busy = publish.start(b"busy", exchange="a")
    await publish.published(b"busy")
    for i in range(5):  # channels that nobody wants any more are not opened
        gone = publish.start(exchange=f"gone {i}", user_id="bob" if i % 2 else None)
        publish.publisher.cancel(gone.publish)
    queued = publish.start(b"queued", exchange="b")
    assert publish.shows("2 channels, 1 in flight, 1 waiting")
    broker.confirms()
    broker.peers[0].send(brokerside.ack(1, 1))
    assert await outcomes(busy, queued) == [O.CONFIRMED] * 2
    assert broker.peers[0].methods.count("Channel.Open") == 2
