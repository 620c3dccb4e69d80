"""A queue that does not answer: the login's other exchanges and routing keys go on beside it.

The limits are wide, because the machine may be busy: without isolation all that the login
publishes stops for 30 s. ``make test-stuck`` plays the same for longer, with narrow limits.
"""

import time
import uuid

import pytest
from queues import Queue
from stuck import (
    Flow,
    all_good,
    channels_opened,
    end,
    flows_again,
    is_true,
    opened,
    slowest,
    suspended,
    told_so,
)

# Seconds for a publish: so many that a busy machine alone does not reach them.
SETTINGS = {"Application": {"publish": {"timeout": 5}}}
GOES_ON = 4.0  # seconds after which the default exchange's other queues have to go on
P99 = 4.0  # seconds


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


# What got stuck, and how many messages had been confirmed by it before on the same channel.
STUCK = {
    "a classic queue": ("classic", 1, 100),
    "a quorum queue, new to the channel": ("quorum", 0, 40),
    "a quorum queue, known to the channel": ("quorum", 1, 40),
    "a quorum queue after 198 messages": ("quorum", 198, 40),
}


@pytest.mark.parametrize("what", STUCK)
def test_a_stuck_queue_beside_healthy_ones(start_gateway, broker, amqp, queue, make_queue, what):
    kind, before, rate = STUCK[what]
    stuck, healthy = make_queue(kind), make_queue()
    gateway = start_gateway(SETTINGS)
    earlier = Flow(gateway, f"/test//{stuck}", "earlier", 100, seconds=(before - 0.5) / 100)
    if before:
        with earlier:
            pass
        all_good(earlier.answers)
    neighbour = Flow(gateway, f"/test/{queue.name}/k", "neighbour", 50)
    beside = Flow(gateway, f"/test//{healthy}", "beside", 50)
    waiting = Flow(gateway, f"/test//{stuck}", "waiting", rate)
    with neighbour, beside:
        flows_again(gateway, f"/test/{queue.name}/k")
        flows_again(gateway, f"/test//{healthy}")
        channels = channels_opened(gateway)
        with suspended(broker, stuck), waiting:
            told_so(gateway, rate)
            waiting.stop()
        resumed = time.monotonic()
        flows_again(gateway, f"/test//{stuck}")
        end([neighbour, beside])
    assert opened(gateway) == 1
    assert channels_opened(gateway) - channels < 12
    all_good(neighbour.answers)
    assert slowest(neighbour.answers) < P99
    all_good(beside.between(waiting.begun + GOES_ON, resumed + 60))
    assert set(waiting.statuses()) <= {204, 503, 504}
    told = is_true([earlier, neighbour, beside, waiting], amqp(), [queue.name, healthy, stuck])
    assert told
