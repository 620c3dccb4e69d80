"""Queues that answer nobody, and what becomes of the messages of whoever publishes beside them.

``make test-isolation`` sets NARROW: then each play is longer, and its limits are narrow.
"""

import contextlib
import itertools
import json
import os
import time
import uuid

from queues import count_ids
from stream import UNTIL_STOPPED, Stream, steady
from verdict import CONFIRMED, NOT_PUBLISHED, UNKNOWN, Answer, judge
from waiting import wait_until

NARROW = "NARROW" in os.environ
WORKER = """
[begin
    {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"test">>, queue, Name)),
    sys:{verb}(amqqueue:get_pid(Q))
end || Name <- [{queues}]].
"""
# How a queue gets stuck: its kind, the messages that it has confirmed before to the same channel,
# and how many a second come for it then.
STUCK = {
    "a classic queue": ("classic", 1, 100),
    "a quorum queue, new to the channel": ("quorum", 0, 40),
    "a quorum queue, known to the channel": ("quorum", 1, 40),
    "a quorum queue after 198 messages": ("quorum", 198, 40),
}
OUTCOMES = {204: CONFIRMED, 504: UNKNOWN, 0: UNKNOWN}  # of every other status: not published


@contextlib.contextmanager
def suspended(broker, *queues):
    """Let the queues' processes, or those of quorum queues' leaders, answer nobody meanwhile."""

    def tell(verb):
        names = ", ".join(f'<<"{queue}">>' for queue in queues)
        broker.evaluate(WORKER.format(queues=names, verb=verb))

    tell("suspend")
    try:
        yield
    finally:
        tell("resume")


class Flow(Stream):
    """Mandatory messages to one routing key, each with an id that no other flow has.

    ``fields``: more of the form; # is the message's number.
    """

    def __init__(self, gateway, path, name, rate, fields="", **more):
        self.name, self.path = name, path
        self.begun = 0.0
        self.rate = rate
        more = {"seconds": UNTIL_STOPPED, **more}
        form = f"mandatory=true&body={name}-#{fields}"
        super().__init__(gateway, path, form=form, rate=rate, **more)

    def __enter__(self):
        self.begun = time.monotonic()
        return super().__enter__()

    def due(self, answer):
        """Return when its request was due, by the monotonic clock."""
        return self.begun + answer.number / self.rate

    def between(self, begin, end):
        """Return the answers to what was due in that time."""
        return [answer for answer in self.answers if begin <= self.due(answer) < end]

    def told(self):
        """Return the answers as the verdict has them."""
        return [
            Answer(f"{self.name}-{each.number}", OUTCOMES.get(each.status, NOT_PUBLISHED))
            for each in self.answers
        ]


def end(flows):
    """Stop all of them, and wait for their last answers."""
    for flow in flows:
        flow.stop()
    for flow in flows:
        flow.__exit__(None)


def is_true(flows, *queues):
    """Assert that nothing is lost, denied or doubled. The queues are empty afterwards."""
    names = [queue.name for queue in queues]
    found = count_ids(queues[0].channel, names)
    verdict = judge([each for flow in flows for each in flow.told()], found)
    assert verdict.true, str(verdict)


def all_good(answers):
    """Assert that there are some, and that each is a 204."""
    assert answers
    assert {answer.status for answer in answers} == {204}, [a for a in answers if a.status != 204]


def is_within(what, figure, limit):
    """Print the figure beside its limit; raise AssertionError above the limit."""
    line = f"  {what}: {figure:.3g} (limit {limit:g})"
    print(line)  # noqa: T201 - what make test-isolation measures
    assert figure <= limit, line


def opened(gateway, login="test:guest", what="connections"):
    """Return how many connections, or channels, have been opened for the login."""
    return gateway.stats()["connections"][login][what]["opened"]


def flows_again(gateway, *paths, seconds=60):
    """Wait until a message to each path is confirmed."""
    for path in paths:
        wait_until(
            lambda path=path: gateway.publish(path, data={"body": uuid.uuid4().hex}).ok,
            seconds,
            what=f"a 204 from {path}",
        )


def told_so(gateway, count, seconds=300):
    """Wait until so many messages have reached their deadlines, in all."""
    wait_until(
        lambda: gateway.answered(503) + gateway.answered(504) >= count,
        seconds,
        what=f"{count} answers that are not a 204",
    )


def more_confirmed(gateway, count, seconds=60):
    """Wait until so many more messages are confirmed."""
    wanted = gateway.answered(204) + count
    wait_until(lambda: gateway.answered(204) >= wanted, seconds, what=f"{count} answers with 204")


def are_in_order(gateway, exchange, queue, *, items, batch, swaps):
    """Send numbers by batches, at least so many, until the connection was replaced so often.

    Each has to be confirmed, and to be in the queue once and in order.
    """
    sent = 0
    while sent < items or opened(gateway) <= swaps:
        lines = [
            json.dumps({"routing_key": f"k{n % 7}", "body": str(n), "mandatory": True})
            for n in range(sent, sent + batch)
        ]
        answer = gateway.publish(
            f"/test/{exchange}",
            data="\n".join(lines),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.json()["published"] == len(lines), answer.text[:1000]
        sent += len(lines)
    found = [int(body) for body in queue.bodies()]
    inversions = sum(a > b for a, b in itertools.pairwise(found))
    assert (inversions, found == list(range(sent))) == (0, True), (sent, len(found))


def play_beside(gateway, neighbour, healthy, stuck, what, get_stuck):
    """Let the queue ``stuck`` be so under traffic, until messages for it have timed out for long.

    The other traffic is of the same login: to ``neighbour``, a queue with an exchange of its
    name, and to ``healthy``, by the default exchange as to ``stuck``. It has to go on.
    ``get_stuck()`` is a context manager: the queue is stuck within it.
    """
    _, before, rate = STUCK[what]
    paths = f"/test/{neighbour.name}/k", f"/test//{healthy.name}", f"/test//{stuck.name}"
    flows = []
    if before:
        flows = [Flow(gateway, paths[2], "earlier", 100, seconds=(before - 0.5) / 100)]
        with flows[0]:
            pass
        all_good(flows[0].answers)
    others = Flow(gateway, paths[0], "neighbour", 50), Flow(gateway, paths[1], "beside", 50)
    waiting = Flow(gateway, paths[2], "waiting", rate)
    with contextlib.ExitStack() as stack:
        for flow in others:
            stack.enter_context(flow)
        flows_again(gateway, *paths[:2])
        channels = opened(gateway, what="channels")
        with get_stuck():
            stack.enter_context(waiting)  # which ends after the queue goes on again
            told_so(gateway, rate * (20 if NARROW else 3))
            waiting.stop()
            resumed = time.monotonic()
        flows_again(gateway, paths[2], seconds=120)
        end([*others, waiting])
    goes_on = 2.0 if NARROW else 4.0  # seconds after which the default exchange has to go on
    later = others[1].between(waiting.begun + goes_on, resumed)
    all_good(others[0].answers)
    all_good(later)
    is_within(
        "p99 of the neighbouring exchange, s",
        steady.percentile(others[0].answers, 0.99),
        goes_on / 2,
    )
    is_within("p99 beside it later, s", steady.percentile(later, 0.99), goes_on)
    is_within("connections opened", opened(gateway), 1)
    is_within("channels opened meanwhile", opened(gateway, what="channels") - channels, 12)
    assert set(waiting.statuses()) <= {204, 503, 504}
    is_true([*flows, *others, waiting], neighbour, healthy, stuck)
