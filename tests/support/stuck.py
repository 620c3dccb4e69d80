"""Queues that answer nobody, and what becomes of the messages of whoever publishes beside them."""

import contextlib
import dataclasses
import json
import time
import uuid

from found import count_ids
from stream import UNTIL_STOPPED, Stream, steady
from verdict import CONFIRMED, NOT_PUBLISHED, UNKNOWN, Answer, judge
from waiting import wait_until

VHOST = "test"
WORKER = """
{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{virtual_host}">>, queue, <<"{queue}">>)),
sys:{verb}(amqqueue:get_pid(Q)).
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
def suspended(broker, queue):
    """The queue's process, or that of a quorum queue's leader, answers nobody meanwhile."""

    def tell(verb):
        broker.ctl("eval", WORKER.format(virtual_host=VHOST, queue=queue, verb=verb))

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
        """When its request was due, by the monotonic clock."""
        return self.begun + answer.number / self.rate

    def between(self, begin, end):
        """The answers to what was due in that time."""
        return [answer for answer in self.answers if begin <= self.due(answer) < end]

    def told(self):
        """The answers as the verdict has them."""
        return [
            Answer(f"{self.name}-{each.number}", OUTCOMES.get(each.status, NOT_PUBLISHED))
            for each in self.answers
        ]


def through(proxy):
    """Settings of a gateway that reaches the broker through a proxy."""
    return {"Application": {"rabbitmq": {"host": proxy.host, "port": proxy.port}}}


def end(flows):
    """Stop all of them, and wait for their last answers."""
    for flow in flows:
        flow.stop()
    for flow in flows:
        flow.__exit__(None)


def is_true(flows, channel, queues):
    """Every answer is: nothing lost, denied or doubled. The queues are empty afterwards."""
    verdict = judge([each for flow in flows for each in flow.told()], count_ids(channel, queues))
    assert verdict.true, str(verdict)
    return verdict


def all_good(answers):
    """All of them were a 204; and there are some."""
    assert answers
    assert {answer.status for answer in answers} == {204}, [a for a in answers if a.status != 204]


def slowest(answers, share=0.99):
    """Seconds within which that share of the answers came."""
    return steady.percentile(answers, share)


def opened(gateway, login=f"{VHOST}:guest"):
    """How many connections to the broker have been opened for the login."""
    return gateway.stats()["connections"][login]["connections"]["opened"]


def channels_opened(gateway, login=f"{VHOST}:guest"):
    return gateway.stats()["connections"][login]["channels"]["opened"]


def flows_again(gateway, path, seconds=30):
    """Wait until a message is confirmed."""
    wait_until(
        lambda: gateway.publish(path, data={"body": uuid.uuid4().hex}).status_code == 204,
        seconds,
        what=f"a 204 from {path}",
    )


def told_so(gateway, count, seconds=300):
    """Wait until so many messages have reached their deadlines, in all."""

    def failed():
        requests = gateway.stats()["requests"]
        return sum(requests.get(f"response.{status}", 0) for status in (503, 504))

    wait_until(lambda: failed() >= count, seconds, what=f"{count} answers that are not a 204")


def more_confirmed(gateway, count, seconds=60):
    """Wait until so many more messages are confirmed."""

    def confirmed():
        return gateway.stats()["requests"].get("response.204", 0)

    before = confirmed()
    wait_until(lambda: confirmed() >= before + count, seconds, what=f"{count} answers with 204")


def send_in_order(gateway, path, items, batch, swaps):
    """Send numbers by batches, at least so many, until the connection was replaced so often.

    Return how many; each was confirmed.
    """
    sent = 0
    while sent < items or opened(gateway) <= swaps:
        lines = [
            json.dumps({"routing_key": f"k{n % 7}", "body": str(n), "mandatory": True})
            for n in range(sent, sent + batch)
        ]
        answer = gateway.publish(
            path, data="\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.json()["published"] == len(lines), answer.text[:1000]
        sent += len(lines)
    return sent


@dataclasses.dataclass(frozen=True)
class Names:
    """An exchange and its queue, and two queues that the default exchange serves."""

    neighbour: str
    healthy: str
    stuck: str


@dataclasses.dataclass
class Beside:
    """One login's traffic around a queue that got stuck for a while.

    ``neighbour`` goes to another exchange, ``beside`` to another queue of the same
    exchange, ``waiting`` to the stuck queue.
    """

    neighbour: Flow
    beside: Flow
    waiting: Flow
    resumed: float = 0.0
    connections: int = 0
    channels: int = 0  # that were opened meanwhile

    def later(self, seconds):
        """What was due for the queues beside so many seconds after the first stuck message."""
        return self.beside.between(self.waiting.begun + seconds, self.resumed)


def play_beside(gateway, channel, names, what, get_stuck, *, seconds):
    """Let a queue be stuck under traffic, until ``seconds`` of messages for it were told so.

    ``get_stuck()`` is a context manager: the queue is stuck within it.
    """
    _, before, rate = STUCK[what]
    paths = f"/test/{names.neighbour}/k", f"/test//{names.healthy}", f"/test//{names.stuck}"
    earlier = []
    if before:
        earlier = [Flow(gateway, paths[2], "earlier", 100, seconds=(before - 0.5) / 100)]
        with earlier[0]:
            pass
        all_good(earlier[0].answers)
    play = Beside(
        Flow(gateway, paths[0], "neighbour", 50),
        Flow(gateway, paths[1], "beside", 50),
        Flow(gateway, paths[2], "waiting", rate),
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(play.neighbour)
        stack.enter_context(play.beside)
        flows_again(gateway, paths[0])
        flows_again(gateway, paths[1])
        channels = channels_opened(gateway)
        with get_stuck():
            stack.enter_context(play.waiting)  # which ends after the queue goes on again
            told_so(gateway, rate * seconds)
            play.waiting.stop()
            play.resumed = time.monotonic()
        flows_again(gateway, paths[2], 120)
        end([play.neighbour, play.beside, play.waiting])
    play.connections, play.channels = opened(gateway), channels_opened(gateway) - channels
    flows = [*earlier, play.neighbour, play.beside, play.waiting]
    assert set(play.waiting.statuses()) <= {204, 503, 504}
    is_true(flows, channel, dataclasses.astuple(names))
    return play
