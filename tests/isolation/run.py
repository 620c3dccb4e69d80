"""Queues, topics and connections that are in the way of a login's other messages, for longer and
with narrow limits: ``make test-isolation``.

Prints what was measured beside each limit. Exits with 1 when one was passed. The machine
has to be idle, as for a benchmark.
"""

import argparse
import contextlib
import functools
import itertools
import os
import signal
import sys
import tempfile
import time
import traceback
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [
    str(path)
    for path in (ROOT / "scripts", HERE.parent / "support", HERE.parent / "faults", ROOT / "bench")
]

import pika  # noqa: E402 - the path comes first
import stuck  # noqa: E402
from found import bodies  # noqa: E402
from gateway import GatewayProcess  # noqa: E402
from proxy import Proxy  # noqa: E402
from queues import parameters_of  # noqa: E402
from stream import Stream  # noqa: E402
from stuck import Flow, Names, slowest  # noqa: E402
from users import add_users  # noqa: E402

import debian  # noqa: E402
import processes  # noqa: E402
from broker import Broker  # noqa: E402

SECONDS = 20  # for which topics are refused
ITEMS = 60_000


class World:
    """A broker for one or several parts, and what they make in it."""

    def __init__(self, directory, suite, nodes, seconds):
        self.directory = directory
        self.seconds = seconds  # of messages that are told that their queue is stuck
        self.broker = Broker(directory / f"broker{nodes}", nodes=nodes, suite=suite)
        self.good = True

    @contextlib.contextmanager
    def channel(self):
        with pika.BlockingConnection(parameters_of(self.broker, "test")) as connection:
            yield connection.channel()

    @contextlib.contextmanager
    def gateway(self, rabbitmq=None, publish=None):
        settings = {"Application": {"rabbitmq": rabbitmq or {}, "publish": publish or {}}}
        gateway = GatewayProcess(self.directory, self.broker, settings).start()
        try:
            yield gateway
        except BaseException:
            print(gateway.text)
            raise
        finally:
            if gateway.stop():
                self.is_within("the gateway's exit status", 1, 0)

    def names(self, kind="classic"):
        """Make an exchange with a queue, a healthy queue, and one of that kind."""
        names = Names(*(f"{what}-{uuid.uuid4().hex[:8]}" for what in ("n", "healthy", "stuck")))
        with self.channel() as channel:
            channel.exchange_declare(names.neighbour, "topic", durable=True)
            for name, is_kind in zip(
                (names.neighbour, names.healthy, names.stuck),
                ("classic", "classic", kind),
                strict=True,
            ):
                channel.queue_declare(name, durable=True, arguments={"x-queue-type": is_kind})
            channel.queue_bind(names.neighbour, names.neighbour, "#")
        return names

    def is_within(self, what, figure, limit):
        """Say so, and remember it when it is not."""
        within = figure <= limit
        self.good = self.good and within
        print(f"  {what}: {figure:.3g} (limit {limit:g}){'' if within else '  BAD'}", flush=True)

    def judge_beside(self, play):
        """Hold the traffic beside a stuck queue to the limits."""
        told = play.neighbour.statuses()
        print(f"  neighbour {dict(told)}, beside {dict(play.beside.statuses())}, "
              f"waiting {dict(play.waiting.statuses())}")  # fmt: skip
        self.is_within("p99 of the neighbouring exchange, s", slowest(play.neighbour.answers), 1.0)
        self.is_within("other answers than 204 of it", told.total() - told[204], 0)
        late = play.later(2.0)
        self.is_within("other answers than 204 beside it, after 2 s", _bad(late), 0)
        self.is_within("p99 beside it, after 2 s, s", slowest(late), 2.0)
        self.is_within("connections opened", play.connections, 1)
        self.is_within("channels opened meanwhile", play.channels, 12)


def _bad(answers):
    return sum(answer.status != 204 for answer in answers)


def beside(world):
    """A suspended queue beside healthy ones, and a neighbouring exchange."""
    for what, (kind, _, _) in stuck.STUCK.items():
        print(f"{what}:", flush=True)
        names = world.names(kind)
        with world.gateway() as gateway, world.channel() as channel:
            get_stuck = functools.partial(stuck.suspended, world.broker, names.stuck)
            play = stuck.play_beside(
                gateway, channel, names, what, get_stuck, seconds=world.seconds
            )
            world.judge_beside(play)


def majority(world):
    """The same with a quorum queue of three nodes, two of which stop."""
    for what in ("a quorum queue, new to the channel", "a quorum queue, known to the channel"):
        print(f"{what}, two of three nodes stop:", flush=True)
        names = world.names("quorum")
        with world.gateway() as gateway, world.channel() as channel:
            get_stuck = functools.partial(_stopped, world.broker)
            play = stuck.play_beside(
                gateway, channel, names, what, get_stuck, seconds=world.seconds
            )
            world.judge_beside(play)


@contextlib.contextmanager
def _stopped(broker):
    pids = [processes.named("beam.smp", processes.tree_of(node.pid)) for node in broker.nodes[1:]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def hole(world):
    """The connection swallows everything; new ones pass."""
    names = world.names()
    with Proxy(world.broker.host, world.broker.amqp_port) as proxy:
        rabbitmq = {"host": proxy.host, "port": proxy.port}
        with world.gateway(rabbitmq) as gateway, world.channel() as channel:
            flows = [
                Flow(gateway, f"/test/{names.neighbour}/k", "neighbour", 50),
                Flow(gateway, f"/test//{names.healthy}", "beside", 50),
            ]
            with flows[0], flows[1]:
                for flow in flows:
                    stuck.flows_again(gateway, flow.path)
                proxy.swallow()
                swallowed = time.monotonic()
                for flow in flows:
                    stuck.flows_again(gateway, flow.path)
                stuck.more_confirmed(gateway, 500)
                stuck.end(flows)
            for flow in flows:
                print(f"  {flow.name} {dict(flow.statuses())}")
                bad = [
                    flow.due(answer) - swallowed for answer in flow.answers if answer.status != 204
                ]
                world.is_within(
                    "seconds until the last other answer than 204", max(bad, default=0), 4.0
                )
            world.is_within("connections at once", proxy.most, 2)
            stuck.is_true(flows, channel, (names.neighbour, names.healthy))


def refused(world):
    """Five refused topics a second beside 300 good ones a second."""
    names = world.names()
    add_users(world.broker, {"carol": "pw"}, topics={names.neighbour: "^yes"})
    login = {"user": "carol", "password": "pw", "seconds": SECONDS}
    with world.gateway() as gateway:
        path = f"/test/{names.neighbour}"
        with (
            Stream(gateway, f"{path}/no", rate=5, **login) as bad,
            Stream(gateway, f"{path}/yes", rate=300, **login) as good,
        ):
            pass
    print(f"  refused {dict(bad.statuses())}, good {dict(good.statuses())}")
    share = 100 * _bad(good.answers) / len(good.answers)
    world.is_within("of the good ones not confirmed, %", share, 0.1)


def order(world):
    """Batches over three nodes, while connections are replaced each second."""
    hosts = [f"{node.host}:{node.amqp_port}" for node in world.broker.nodes]
    for kind in ("classic", "quorum"):
        names = world.names(kind)
        with (
            world.gateway({"hosts": hosts, "reverify_after": 1}, {"timeout": 30}) as gateway,
            world.channel() as channel,
        ):
            channel.queue_bind(names.stuck, names.neighbour, "#")
            sent = stuck.send_in_order(gateway, f"/test/{names.neighbour}", ITEMS, ITEMS, 3)
            found = [int(body) for body in bodies(channel, names.stuck)]
            inversions = sum(a > b for a, b in itertools.pairwise(found))
            print(f"  {kind}: {sent} items, {stuck.opened(gateway)} connections")
            world.is_within("inversions", inversions, 0)
            world.is_within("items missing", sent - len(set(found)), 0)
            world.is_within("items found twice", len(found) - len(set(found)), 0)


PARTS = {1: (beside, hole, refused), 3: (order, majority)}
NAMES = [part.__name__ for parts in PARTS.values() for part in parts]


def play(directory, suite, wanted, seconds):
    """Run the parts; whether all limits were kept."""
    good = True
    for nodes, parts in PARTS.items():
        chosen = [part for part in parts if part.__name__ in wanted]
        if not chosen:
            continue
        world = World(directory, suite, nodes, seconds)
        with world.broker:
            for part in chosen:
                print(f"{part.__name__}: {part.__doc__}", flush=True)
                try:
                    part(world)
                except AssertionError:
                    traceback.print_exc()
                    world.good = False
        good = good and world.good
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=NAMES, help=", ".join(NAMES))
    parser.add_argument(
        "--seconds", type=int, default=20, help="for which a queue is stuck, at least"
    )
    parser.add_argument("--suite", help="the Debian release whose RabbitMQ it is: trixie, testing")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(NAMES):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    debian.ensure(["rabbitmq-server"])
    with tempfile.TemporaryDirectory(prefix="statelessd-stuck-") as directory:
        good = play(Path(directory), options.suite, options.parts, options.seconds)
    print("good" if good else "BAD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
