"""What the broker closes a channel over is told to whom it concerns, and to nobody else."""

import brokerside
from scenario import O, scenario

from statelessd.amqp import encode
from statelessd.message import Credentials


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
    assert publish.publisher._pool.sessions()[0].load.messages == 0
    assert "failed" not in caplog.text


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
    assert publish.publisher._pool.sessions()[0].load.messages == 0
    assert len(broker.peers) == 1


@scenario
async def test_a_login_in_progress_delays_nobody_who_is_connected(broker, client):
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    broker.on_login = lambda peer: None  # as a slow authentication backend
    slow = publish.start(b"slow", credentials=Credentials("slow", "x"), timeout=10)
    await publish.until(lambda: len(broker.peers) == 2 and broker.peers[1].start_ok)
    for i in range(20):
        assert await publish(b"%d" % i, timeout=1) is O.CONFIRMED
    assert not slow.done()
    broker.peers[1].send(brokerside.tune())
    assert (await slow)[0] is O.CONFIRMED


@scenario
async def test_failing_logins_of_some_leave_the_others_alone(broker, client):
    publish = client()
    assert await publish(b"opens") is O.CONFIRMED
    broker.on_login = lambda peer: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
    for i in range(50):
        wrong = Credentials("guest", f"wrong {i}")
        assert await publish(b"bad", credentials=wrong) is O.UNAUTHORIZED
        assert await publish(b"good") is O.CONFIRMED
    assert broker.published == [b"opens", *[b"good"] * 50]
