"""The whole broker layer against a scripted broker on a real socket."""

import brokerside
import pytest
from scenario import O, outcomes


async def test_a_confirmed_message(broker, publish):
    assert await publish(b"one") is O.CONFIRMED
    assert await publish(b"two") is O.CONFIRMED
    assert broker.published == [b"one", b"two"]
    assert len(broker.peers) == 1
    properties = broker.peers[0].start_ok.client_properties
    assert properties["product"] == "statelessd"
    assert properties["connection_name"] == "statelessd test:0"


async def test_a_fresh_channel_sends_one_message_alone(broker, publish):
    broker.is_silent()
    pending = [publish.start(b"%d" % i) for i in range(3)]
    await publish.published(b"0")
    assert publish.shows("<Session 'guest' on 'test': open, 1 channels, 1 in flight, 2 waiting>")
    assert broker.published == [b"0"]
    broker.confirms()
    broker.peers[0].send(brokerside.ack(1, 1))
    assert [await p for p in pending] == [(O.CONFIRMED, "")] * 3
    assert broker.published == [b"0", b"1", b"2"]


async def test_a_confirm_that_does_not_come_is_unknown_at_the_deadline(broker, publish):
    await publish.opens()
    broker.is_silent()
    assert await publish(timeout=0.2) is O.UNCONFIRMED
    assert publish.shows("1 in flight, 0 waiting>")
    broker.peers[0].send(brokerside.ack(1, 2))  # too late to be told, not to be counted
    await publish.until(lambda: publish.statistics["publishes"] == 2)
    await publish.is_idle()


async def test_nothing_is_sent_after_its_answer(broker, publish):
    broker.is_silent()
    publish.start(b"probe")
    assert await publish(b"late", timeout=0.2) is O.BROKER_UNAVAILABLE
    broker.confirms()
    broker.peers[0].send(brokerside.ack(1, 1))
    assert await publish(b"next") is O.CONFIRMED
    assert broker.published == [b"probe", b"next"]


KEYS = "before", "no UTF-8: \ud800", "behind"


@pytest.mark.parametrize("connected", [True, False])
async def test_a_fault_of_ours_with_one_message_harms_no_other(broker, publish, connected):
    if connected:
        await publish.opens()
    # The gateway checks names before it publishes, so this one is a fault of ours.
    pending = [publish.start(key.encode(errors="replace"), routing_key=key) for key in KEYS]
    assert await outcomes(*pending) == [O.CONFIRMED, O.INTERNAL_ERROR, O.CONFIRMED]
    await publish.is_idle()
