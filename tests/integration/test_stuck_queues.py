"""A queue that does not answer: the login's other exchanges and routing keys go on beside it.

The limits are wide, because the machine may be busy: without isolation all that the login
publishes stops for 30 s. ``make test-isolation`` plays the same for longer, with narrow limits.
"""

import contextlib
import math
import time

import pytest
from proxy import Proxy
from stuck import (
    NARROW,
    STUCK,
    Flow,
    all_good,
    end,
    flows_again,
    is_true,
    is_within,
    more_confirmed,
    opened,
    play_beside,
    suspended,
    told_so,
)

# Seconds for a publish: so many that a busy machine alone does not reach them.
PUBLISH = {"timeout": 4 if NARROW else 5}
GOES_ON = 4.0  # seconds after which the default exchange's other queues have to go on
MOST_CHANNELS = 12  # that are opened because of a queue


@pytest.mark.parametrize("what", STUCK)
def test_a_stuck_queue_beside_healthy_ones(start_gateway, broker, queue, make_queue, what):
    healthy, stuck = make_queue(), make_queue(STUCK[what][0])
    gateway = start_gateway({"Application": {"publish": PUBLISH}})
    play_beside(gateway, queue, healthy, stuck, what, lambda: suspended(broker, stuck.name))


def test_queues_that_get_stuck_one_after_the_other(start_gateway, broker, make_queue):
    """The first message to each hangs its channel: the healthy queue's are not behind it."""
    healthy, late = make_queue(), [make_queue("quorum") for _ in range(7)]
    gateway = start_gateway({"Application": {"publish": PUBLISH}})
    beside = Flow(gateway, f"/test//{healthy.name}", "beside", 50)
    waiting = [Flow(gateway, f"/test//{each.name}", each.name, 5) for each in late]
    with contextlib.ExitStack() as stack:
        stack.enter_context(beside)
        flows_again(gateway, beside.path)
        with suspended(broker, *(each.name for each in late)):
            for flow in waiting:
                stack.enter_context(flow)
                more_confirmed(gateway, 80)  # of the healthy queue
        end([beside, *waiting])
    assert opened(gateway) == 1
    all_good(beside.between(waiting[0].begun + GOES_ON, math.inf))
    is_true([beside, *waiting], healthy, *late)


def test_a_login_that_publishes_to_the_stuck_queue_alone(start_gateway, broker, make_queue):
    stuck = make_queue()
    gateway = start_gateway({"Application": {"publish": {"timeout": 3}}})
    flow = Flow(gateway, f"/test//{stuck.name}", "waiting", 60)
    flows_again(gateway, flow.path)
    with suspended(broker, stuck.name), flow:
        told_so(gateway, 360)  # 3 s until the first, and 6 s
        flow.stop()
    flows_again(gateway, flow.path)
    assert opened(gateway) == 1
    assert opened(gateway, what="channels") < MOST_CHANNELS
    assert set(flow.statuses()) <= {204, 503, 504}
    is_true([flow], stuck)


@pytest.fixture
def proxy(broker):
    with Proxy(broker.host, broker.amqp_port) as proxy:
        yield proxy


@pytest.fixture
def flows(proxy, start_gateway, queue, make_queue):
    """Two flows of one login, to two exchanges, by a gateway behind the proxy."""
    healthy = make_queue()
    rabbitmq = {"host": proxy.host, "port": proxy.port}
    gateway = start_gateway({"Application": {"publish": PUBLISH, "rabbitmq": rabbitmq}})
    flows = [
        Flow(gateway, f"/test/{queue.name}/k", "neighbour", 50),
        Flow(gateway, f"/test//{healthy.name}", "beside", 50),
    ]
    with flows[0], flows[1]:
        flows_again(gateway, *(flow.path for flow in flows))
        yield gateway, flows
        proxy.lag(0)
        end(flows)
    is_true(flows, queue, healthy)


def test_a_connection_that_swallows_everything(proxy, flows):
    """It is replaced, after some 3 s; while it lives the login has no more than two."""
    gateway, flows = flows
    proxy.swallow()
    swallowed = time.monotonic()
    flows_again(gateway, *(flow.path for flow in flows))
    more_confirmed(gateway, 300)
    end(flows)
    assert opened(gateway) == 2
    assert proxy.most <= 2
    for flow in flows:
        assert set(flow.statuses()) <= {204, 503, 504}
        bad = [flow.due(answer) - swallowed for answer in flow.answers if answer.status != 204]
        # Without a replacement it would be 31 s.
        is_within("seconds until the last answer that is not a 204", max(bad, default=0),
                  4 if NARROW else 15)  # fmt: skip


def test_a_slow_broker(proxy, flows):
    """It gets no connection and no channel after the other for it."""
    gateway, flows = flows
    channels = opened(gateway, what="channels")
    proxy.lag(1.5)
    more_confirmed(gateway, 600)
    end(flows)
    assert opened(gateway) == 1
    assert opened(gateway, what="channels") - channels <= 6
    for flow in flows:
        all_good(flow.answers)
