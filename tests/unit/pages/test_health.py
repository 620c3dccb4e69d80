"""``/healthz`` and ``/readyz``."""

import json

import pytest
from edge import edge_test

from statelessd.broker.figures import BrokerState, BrokerStatus


def get(path):
    return b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path


@edge_test()
async def test_it_lives(edge):
    answer = await edge.ask(get(b"/healthz"))
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "alive"})
    assert answer.headers["cache-control"] == "no-store"


@edge_test()
async def test_it_is_ready_whatever_the_brokers_state_and_tells_it(edge):
    edge.publisher.broker = BrokerState(BrokerStatus.BLOCKED, "low on memory")
    answer = await edge.ask(get(b"/readyz"))
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "status": "ready",
        "broker": {"state": "blocked", "reason": "low on memory"},
    }
    stats = json.loads((await edge.ask(get(b"/stats"))).body)
    assert stats["broker"] == {"state": "blocked", "reason": "low on memory"}


@edge_test()
async def test_it_is_not_ready_while_it_drains_though_it_lives(edge):
    edge.gateway.draining = True
    answer = await edge.ask(get(b"/readyz"))
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["connection"] == "close"
    assert json.loads(answer.body)["status"] == "draining"
    assert (await edge.ask(get(b"/healthz"))).status == 200


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (BrokerStatus.UNUSED, 200),
        (BrokerStatus.REACHABLE, 200),
        (BrokerStatus.CONNECTED, 200),
        (BrokerStatus.BLOCKED, 503),
        (BrokerStatus.UNREACHABLE, 503),
        (BrokerStatus.REFUSED, 503),
    ],
)
@edge_test(ready_needs_broker=True)
async def test_it_needs_a_broker_that_takes_publishes_where_the_setting_says_so(
    edge, state, status
):
    edge.publisher.broker = BrokerState(state, "why")
    answer = await edge.ask(get(b"/readyz"))
    assert answer.status == status
    assert answer.headers.get("retry-after") == (None if status == 200 else "1")
    assert json.loads(answer.body) == {
        "status": "ready" if status == 200 else "not-ready",
        "broker": {"state": state.value, "reason": "why"},
    }
    assert (await edge.ask(get(b"/healthz"))).status == 200
