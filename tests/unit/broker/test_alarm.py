"""A broker that blocks publishers and lets them go on, again and again."""

import time

import brokerside
import pytest
from scenario import O, outcomes

from statelessd.message import Credentials

FLAP = brokerside.blocked("low on memory") + brokerside.unblocked()
FLAPS = 5000


@pytest.fixture
def lines(caplog):
    return lambda: [r.getMessage() for r in caplog.records if r.name.endswith(".alarm")]


async def test_a_block_that_flaps_costs_little(broker, publish, lines):
    for number in range(100):
        assert await publish(credentials=Credentials(f"u{number}", "x")) is O.CONFIRMED
    peer = broker.alive()[0]
    began = time.process_time()
    peer.send(FLAP * FLAPS + brokerside.blocked("the last word"))
    await publish.until(lambda: publish.state == "blocked")
    assert time.process_time() - began < 5.0  # before, each flap touched every session
    assert len(lines()) < 200
    outcome, detail = await publish.start()
    assert outcome is O.BROKER_BLOCKED
    assert "the last word" in detail
    peer.send(brokerside.unblocked())
    await publish.until(lambda: publish.state == "connected")
    assert await publish() is O.CONFIRMED


async def test_what_comes_to_wait_in_a_short_block_is_sent(broker, publish):
    await publish.opens()
    broker.on_select = lambda peer, channel: peer.send(
        brokerside.blocked() + brokerside.select_ok(channel) + brokerside.unblocked()
    )
    pending = [publish.start(b"%d" % number, exchange="other") for number in range(3)]
    assert await outcomes(*pending) == [O.CONFIRMED] * 3
