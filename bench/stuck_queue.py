"""What one stuck queue does to the connection that publishes to it, measured with plain AMQP.

``make bench-stuck-queue`` runs all of it; ``BENCH="span hang"`` some parts. The
figures stand in ``docs/decisions/0001-stuck-queues.md``. Nothing of the gateway
runs here but its encoder: these are facts about RabbitMQ.
"""

import argparse
import contextlib
import datetime as dt
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import environment
from broker import Broker
from pamqp import commands
from plain_amqp import Channel, Connection
from start import RUN, end_in_order

HEALTHY, STUCK = "healthy", "stuck"
PATIENCE = 2.0  # seconds without a confirm on an idle broker, after which a channel counts as dead
MOST = 1000  # messages behind the stuck ones, after which nothing will stop the reader
WORKER = """
{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)),
sys:{verb}(amqqueue:get_pid(Q)).
"""


def say(text: str) -> None:
    print(text, flush=True)


def declare(port: int, queue: str, kind: str) -> None:
    with Connection(port) as connection:
        channel = connection.new_channel()
        connection.call(channel, commands.Queue.Delete(queue=queue))
        connection.call(
            channel,
            commands.Queue.Declare(queue=queue, durable=True, arguments={"x-queue-type": kind}),
        )


@contextlib.contextmanager
def suspended(broker: Broker, queue: str) -> Iterator[None]:
    """The queue's process, or its leader's, answers nobody meanwhile."""
    broker.ctl("eval", WORKER.format(queue=queue, verb="suspend"))
    try:
        yield
    finally:
        broker.ctl("eval", WORKER.format(queue=queue, verb="resume"))


def publish(connection: Connection, channel: Channel, queue: str, count: int, **more: Any) -> None:
    for _ in range(count):
        connection.publish(channel, "", queue, **more)


class Trial:
    """One connection with a channel that gets stuck and one beside it that is watched."""

    def __init__(self, port: int, *, healthy: int, stuck: int, frame_max: int = 0) -> None:
        self.connection = Connection(port, frame_max=frame_max)
        self.channel = self.connection.new_channel()
        self.watched = self.connection.new_channel()
        self.before = healthy + stuck
        publish(self.connection, self.channel, STUCK, stuck)
        publish(self.connection, self.channel, HEALTHY, healthy)
        if not self.connection.wait(lambda: not self.channel.unconfirmed, 20):
            raise RuntimeError("the messages before were not confirmed")

    def lives(self) -> bool:
        """Whether the watched channel gets a confirm."""
        tag = self.connection.publish(self.watched, "", HEALTHY)
        return self.connection.confirmed(self.watched, tag, PATIENCE)

    def span_that_stops(self, count: int, **more: Any) -> int | None:
        """Send so many to the stuck queue and then healthy ones, one by one: how many were
        behind the oldest unconfirmed one when the watched channel got no more confirms."""
        for sent in range(1, MOST):
            queue = STUCK if sent <= count else HEALTHY
            self.connection.publish(self.channel, "", queue, **more)
            if not self.lives():
                return self.channel.behind_the_oldest
            if self.channel.behind_the_oldest > MOST:
                break
        return None


def measure_spans(broker: Broker, kind: str, cases: list[tuple[int, int, int]]) -> list[int]:
    """Each case: stuck messages, and before them messages confirmed to each of both queues."""
    port = broker.amqp_port
    declare(port, HEALTHY, "classic")
    declare(port, STUCK, kind)
    trials = [Trial(port, healthy=healthy, stuck=stuck) for _, healthy, stuck in cases]
    spans = []
    with suspended(broker, STUCK):
        for trial, (count, healthy, stuck) in zip(trials, cases, strict=True):
            span = trial.span_that_stops(count)
            shown = f"never up to {MOST}" if span is None else f"with {span} behind the oldest"
            say(f"  {kind}: {count} stuck; before: {healthy} healthy, {stuck} to it: {shown}")
            spans += [] if span is None else [span]
            trial.connection.abort()
    return spans


def span(broker: Broker) -> None:
    """When does RabbitMQ stop reading the whole connection?"""
    phases = (0, 1, 100, 150, 190, 195, 196, 197, 198, 199, 200, 398)
    spans = measure_spans(
        broker,
        "classic",
        [
            *((n, 0, 1) for n in (40, 199, 200, 201, 202, 300, 399, 400, 401)),
            *((401, before, 0) for before in phases),
            *((401, 0, before) for before in phases),
            *((n, 198, 198) for n in (201, 202, 203, 204, 210)),
        ],
    )
    say(f"  classic: the smallest is {min(spans, default=None)}")
    spans = measure_spans(
        broker,
        "quorum",
        [
            *((n, 0, 1) for n in (1, 31, 32, 33, 34, 40, 100, 200)),
            *((40, before, 1) for before in phases),
            *((33, before, 1) for before in range(155, 175)),
        ],
    )
    say(f"  quorum, known to the channel: the smallest is {min(spans, default=None)}")
    spans = measure_spans(broker, "quorum", [(1, before, 0) for before in (*phases, *range(2, 6))])
    say(f"  quorum, new to the channel: the smallest is {min(spans, default=None)}")
    spans = measure_spans(broker, "stream", [(n, 0, 1) for n in (255, 256, 257, 300)])
    say(f"  stream: the smallest is {min(spans, default=None)}")


def many(broker: Broker) -> None:
    """Does the sum over the channels of one connection count, or the size of a message?"""
    port = broker.amqp_port
    declare(port, HEALTHY, "classic")
    for what, kind, known, stuck, body in (
        ("hanging", "quorum", 0, 1, b""),
        ("blocked", "quorum", 1, 40, b""),
        ("stuck", "classic", 1, 201, b""),
        ("hanging, bodies of 10 frames", "quorum", 0, 1, bytes(80_000)),
        ("blocked, bodies of 10 frames", "quorum", 1, 40, bytes(80_000)),
    ):
        declare(port, STUCK, kind)
        connection = Connection(port, frame_max=8192)
        watched = connection.new_channel()
        channels = [connection.new_channel() for _ in range(8)]
        for channel in channels:
            publish(connection, channel, STUCK, known)
            publish(connection, channel, HEALTHY, 199 - known)
        connection.wait(lambda channels=channels: not any(c.unconfirmed for c in channels), 60)
        with suspended(broker, STUCK):
            for channel in channels:
                publish(connection, channel, STUCK, stuck, body=body)
                publish(connection, channel, HEALTHY, 201 - stuck, body=body)
            spans = {channel.behind_the_oldest for channel in channels}
            tag = connection.publish(watched, "", HEALTHY)
            lives = connection.confirmed(watched, tag, 5)
            say(f"  {len(channels)} channels {what}, each {spans} behind its oldest: lives {lives}")
            publish(connection, channels[0], HEALTHY, 1, body=body)
            tag = connection.publish(watched, "", HEALTHY)
            lives = connection.confirmed(watched, tag, PATIENCE)
            say(f"    one of them {channels[0].behind_the_oldest} behind: lives {lives}")
        connection.abort()


PARTS: dict[str, Callable[[Broker], None]] = {"span": span, "many": many}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/stuck_queue.py", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    options = parser.parse_args()
    end_in_order()
    with Broker(RUN / "bench" / "stuck") as broker:
        with Connection(broker.amqp_port) as connection:
            version = connection.version
        machine = environment.machine()
        say(f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, RabbitMQ {version}, {machine['cores']} cores")
        for name in options.parts:
            say(f"{name}: {PARTS[name].__doc__}")
            PARTS[name](broker)
    return 0


if __name__ == "__main__":
    sys.exit(main())
