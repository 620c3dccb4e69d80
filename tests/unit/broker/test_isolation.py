"""What the broker closes a channel over is told to whom it concerns, and to nobody else."""

import brokerside
from behaviours import Refusing
from scenario import O, outcomes

from statelessd.amqp import encode
from statelessd.message import Credentials

MISSING = 404, "NOT_FOUND - no exchange 'x' in vhost '/'"


async def test_a_missing_exchange_is_told_to_all_who_wait_for_it_and_to_nobody_else(
    broker, publish
):
    Refusing(broker, *MISSING)
    await publish.opens("good")
    pending = [publish.start(b"bad", exchange="bad") for _ in range(3)]
    good = publish.start(b"good", exchange="good")
    assert set(await outcomes(*pending)) == {O.EXCHANGE_NOT_FOUND}
    assert (await good)[0] is O.CONFIRMED
    assert broker.published.count(b"bad") == 1


async def test_those_behind_a_culprit_are_sent_again_and_only_those(broker, publish):
    await publish.opens()
    Refusing(broker)
    before = publish.start(b"before")
    culprit = publish.start(b"bad", routing_key="no")
    behind = [publish.start(b"behind%d" % i) for i in range(3)]
    assert await outcomes(before, culprit) == [O.UNCONFIRMED, O.FORBIDDEN]
    assert await outcomes(*behind) == [O.CONFIRMED] * 3
    # Discarded, and sent once more in order: one copy is left of each.
    tail = [b"behind0", b"behind1", b"behind2"]
    assert broker.published == [b"opens", b"before", b"bad", *tail, *tail]


async def test_a_large_header_on_a_single_use_channel_harms_nobody(broker, publish, caplog):
    broker.frame_max = 4096
    await publish.opens()
    header = encode.properties({"headers": {"h": "x" * 5000}})
    large = publish.start(user_id="bob", header=header)
    assert await outcomes(large, publish.start(b"good")) == [O.BAD_REQUEST, O.CONFIRMED]
    await publish.until(lambda: publish.statistics["channels"] == {"opened": 2, "closed": 1})
    assert len(broker.peers) == 1
    await publish.is_idle()
    assert "failed" not in caplog.text


async def test_a_message_of_another_users_id_travels_alone(broker, publish):
    await publish.opens()
    Refusing(broker, 406, "PRECONDITION_FAILED - user_id property set to 'bob' but …")
    foreign, own = publish.start(b"bad", user_id="bob"), publish.start(b"o", user_id="guest")
    assert await outcomes(foreign, own) == [O.FORBIDDEN, O.CONFIRMED]
    assert publish.statistics["channels"] == {"opened": 2, "closed": 1}


async def test_a_channel_opened_before_the_end_of_another_is_looked_at_is_not_mistaken_for_it(
    broker, publish
):
    await publish.opens("a", "b")
    broker.is_silent()
    on_a, on_b = publish.start(exchange="a"), publish.start(exchange="b")
    await publish.published(b"m", 2)
    opened = []
    callback = on_b.publish.callback

    def settle_and_ask_for_another(outcome, detail):
        callback(outcome, detail)
        opened.append(publish.start(b"c", exchange="c"))

    on_b.publish.callback = settle_and_ask_for_another
    broker.confirms()
    # In one read: the ack, whose handling opens a channel, and before it is looked at the close.
    broker.peers[0].send(brokerside.ack(2, 2) + brokerside.channel_close(1))
    assert await outcomes(on_b, on_a) == [O.CONFIRMED, O.EXCHANGE_NOT_FOUND]
    assert (await opened[0])[0] is O.CONFIRMED
    await publish.is_idle()
    assert len(broker.peers) == 1


async def test_a_login_in_progress_delays_nobody_who_is_connected(broker, publish):
    await publish.opens()
    broker.on_login = lambda peer: None  # as a slow authentication backend
    slow = publish.start(b"slow", credentials=Credentials("slow", "x"))
    await publish.until(lambda: len(broker.peers) == 2 and broker.peers[1].start_ok)
    for i in range(20):
        assert await publish(b"%d" % i) is O.CONFIRMED
    assert not slow.done()
    broker.peers[1].send(brokerside.tune())
    assert (await slow)[0] is O.CONFIRMED
