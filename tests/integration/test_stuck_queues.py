"""A queue that does not answer: the login's other exchanges and routing keys go on beside it.

The limits are wide, because the machine may be busy: without isolation all that the login
publishes stops for 30 s. ``make test-isolation`` plays the same for longer, with narrow limits.
"""

import contextlib
import math
import time
import uuid

import pytest
from proxy import Proxy
from stuck import (
    STUCK,
    Flow,
    Names,
    all_good,
    channels_opened,
    end,
    flows_again,
    is_true,
    more_confirmed,
    opened,
    play_beside,
    slowest,
    suspended,
    through,
    told_so,
)

# Seconds for a publish: so many that a busy machine alone does not reach them.
SETTINGS = {"Application": {"publish": {"timeout": 5}}}
GOES_ON = 4.0  # seconds after which the default exchange's other queues have to go on
P99 = 4.0  # seconds
MOST_CHANNELS = 12  # that are opened because of a queue


@pytest.fixture
def make_queue(amqp):
    """Makes queues of a kind, with names of their own."""
    channel = amqp()
    made = []

    def make(kind="classic"):
        name = f"stuck-{uuid.uuid4().hex[:12]}"
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
        made.append(name)
        return name

    yield make
    for name in made:
        channel.queue_delete(name)


@pytest.mark.parametrize("what", STUCK)
def test_a_stuck_queue_beside_healthy_ones(start_gateway, broker, amqp, queue, make_queue, what):
    names = Names(queue.name, make_queue(), make_queue(STUCK[what][0]))
    gateway = start_gateway(SETTINGS)
    play = play_beside(
        gateway, amqp(), names, what, lambda: suspended(broker, names.stuck), seconds=3
    )
    assert play.connections == 1
    assert play.channels < MOST_CHANNELS
    all_good(play.neighbour.answers)
    assert slowest(play.neighbour.answers) < P99
    all_good(play.later(GOES_ON))


def test_queues_that_get_stuck_one_after_the_other(start_gateway, broker, amqp, make_queue):
    """The first message to each hangs its channel: the healthy queue's are not behind it."""
    healthy, late = make_queue(), [make_queue("quorum") for _ in range(7)]
    gateway = start_gateway(SETTINGS)
    beside = Flow(gateway, f"/test//{healthy}", "beside", 50)
    waiting = [Flow(gateway, f"/test//{name}", name, 5) for name in late]
    with contextlib.ExitStack() as stack:
        stack.enter_context(beside)
        flows_again(gateway, f"/test//{healthy}")
        with suspended(broker, *late):
            for flow in waiting:
                stack.enter_context(flow)
                more_confirmed(gateway, 80)  # of the healthy queue
        end([beside, *waiting])
    assert opened(gateway) == 1
    all_good(beside.between(waiting[0].begun + GOES_ON, math.inf))
    is_true([beside, *waiting], amqp(), [healthy, *late])


def test_a_login_that_publishes_to_the_stuck_queue_alone(
    start_gateway, broker, amqp, make_queue
):  # fmt: skip
    stuck = make_queue()
    gateway = start_gateway({"Application": {"publish": {"timeout": 3}}})
    flows_again(gateway, f"/test//{stuck}")
    flow = Flow(gateway, f"/test//{stuck}", "waiting", 60)
    with suspended(broker, stuck), flow:
        told_so(gateway, 360)  # 3 s until the first, and 6 s
        flow.stop()
    flows_again(gateway, f"/test//{stuck}")
    assert opened(gateway) == 1
    assert channels_opened(gateway) < MOST_CHANNELS
    assert set(flow.statuses()) <= {204, 503, 504}
    is_true([flow], amqp(), [stuck])


@pytest.fixture
def proxied(broker, start_gateway):
    """A proxy, and a gateway that reaches the broker through it alone."""
    with Proxy(broker.host, broker.amqp_port) as proxy:
        yield proxy, start_gateway(_merged(SETTINGS, through(proxy)))
        proxy.lag(0)


def _merged(one, other):
    return {"Application": one["Application"] | other["Application"]}


def test_a_connection_that_swallows_everything(proxied, amqp, queue, make_queue):
    """It is replaced, after some 3 s; while it lives the login has no more than two."""
    proxy, gateway = proxied
    healthy = make_queue()
    flows = [
        Flow(gateway, f"/test/{queue.name}/k", "neighbour", 50),
        Flow(gateway, f"/test//{healthy}", "beside", 50),
    ]
    with flows[0], flows[1]:
        for path in (f"/test/{queue.name}/k", f"/test//{healthy}"):
            flows_again(gateway, path)
        proxy.swallow()
        begun = time.monotonic()
        for path in (f"/test/{queue.name}/k", f"/test//{healthy}"):
            flows_again(gateway, path)
        assert time.monotonic() - begun < 10  # and not 31
        more_confirmed(gateway, 300)
        end(flows)
    assert opened(gateway) == 2
    assert proxy.most <= 2
    for flow in flows:
        all_good(flow.between(begun + 10, begun + 100) or flow.answers[-1:])
        assert set(flow.statuses()) <= {204, 503, 504}
    is_true(flows, amqp(), [queue.name, healthy])


def test_a_slow_broker(proxied, amqp, queue, make_queue):
    """It gets no connection and no channel after the other for it."""
    proxy, gateway = proxied
    healthy = make_queue()
    flows = [
        Flow(gateway, f"/test/{queue.name}/k", "neighbour", 20),
        Flow(gateway, f"/test//{healthy}", "beside", 20),
    ]
    with flows[0], flows[1]:
        for path in (f"/test/{queue.name}/k", f"/test//{healthy}"):
            flows_again(gateway, path)
        channels = channels_opened(gateway)
        proxy.lag(1.5)
        more_confirmed(gateway, 400)
        end(flows)
    assert opened(gateway) == 1
    assert channels_opened(gateway) - channels <= 6
    for flow in flows:
        all_good(flow.answers)
    is_true(flows, amqp(), [queue.name, healthy])
