"""What one stuck queue does to the connection that publishes to it, measured with plain AMQP.

``make bench-stuck-queue`` runs all of it; ``BENCH="span hang"`` some parts. The
figures stand in ``docs/decisions/0001-stuck-queues.md``. Nothing of the gateway
runs here but its encoder: these are facts about RabbitMQ.
"""

import argparse
import datetime as dt
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import environment
from broker import Broker
from plain_amqp import Connection
from start import end_in_order, new_broker
from stuck_connection import alarm, deleted, hang, leader, majority, questions, window
from stuck_setup import HEALTHY, STUCK, declare, publish, say, suspended

PATIENCE = 1.5  # seconds without a confirm on an idle broker, after which a channel counts as dead
MOST = 850  # messages behind the stuck ones, after which nothing will stop the reader


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
    phases = (0, 1, 100, 197, 198, 199, 200, 398)
    spans = measure_spans(
        broker,
        "classic",
        [
            *((n, 0, 1) for n in (40, 200, 201, 202, 400, 401)),
            *((401, before, 0) for before in phases),
            *((401, 0, before) for before in phases),
            *((n, 198, 198) for n in (201, 202, 203)),
        ],
    )
    say(f"  classic: the smallest is {min(spans, default=None)}")
    spans = measure_spans(
        broker,
        "quorum",
        [
            *((n, 0, 1) for n in (1, 31, 32, 33, 40, 200)),
            *((40, before, 1) for before in phases),
            *((33, before, 1) for before in range(164, 168)),
        ],
    )
    say(f"  quorum, known to the channel: the smallest is {min(spans, default=None)}")
    spans = measure_spans(broker, "quorum", [(1, before, 0) for before in phases])
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
            publish(connection, channel, HEALTHY, 198 - known)
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


PARTS: dict[str, Callable[[Broker], None]] = {
    each.__name__: each
    for each in (span, many, questions, hang, deleted, alarm, window, majority, leader)
}
CLUSTER = ("majority", "leader")  # parts that need three nodes


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/stuck_queue.py", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--suite", default="", help="the Debian release whose RabbitMQ it is")
    parser.add_argument("--name", default="", help="of the broker, so that several run at once")
    options = parser.parse_args()
    end_in_order()
    for nodes in (1, 3):
        parts = [part for part in options.parts if (part in CLUSTER) == (nodes == 3)]
        if parts:
            name = f"stuck-{options.suite}-{nodes}{options.name}"
            with new_broker(name, nodes=nodes, suite=options.suite) as broker:
                play(broker, parts)
    return 0


def play(broker: Broker, parts: list[str]) -> None:
    with Connection(broker.amqp_port) as connection:
        version = connection.version
    machine = environment.machine()
    say(f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, RabbitMQ {version}, {machine['cores']} cores "
        f"({machine['cpu']})")  # fmt: skip
    for name in parts:
        say(f"{name}: {PARTS[name].__doc__}")
        PARTS[name](broker)


if __name__ == "__main__":
    sys.exit(main())
