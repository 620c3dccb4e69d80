"""One run: traffic through two backends while the nodes go and come, and the verdict."""

import contextlib
import dataclasses
import random
import time

from gateway import At
from leader import LeaderWatch
from silence import confirmed_at, longest, spans_led, without_leader
from tasks import Task
from traffic import Traffic
from verdict import Verdict, judge
from waiting import wait_until
from world import World

QUEUE = "steady"  # bound to the exchange of that name
CALM = 3.0  # seconds of traffic before, between and after the faults
PARTED = 8.0  # seconds of a partition
GOAL = 3.0  # seconds without a 204 while the queue has a leader


@dataclasses.dataclass
class Fault:
    """``silent``: the longest time without a 204, of each backend; ``of_these``: with a leader."""

    name: str
    begun: float
    ended: float
    leaderless: float = 0.0
    silent: tuple = ()
    of_these: tuple = ()

    def __str__(self):
        def each(values):
            return " and ".join(f"{value:.2f}" for value in values)

        return (
            f"  {self.name}: no leader for {self.leaderless:.2f} s; without a 204, by backend: "
            f"{each(self.silent)} s, of that with a leader: {each(self.of_these)} s"
        )


@dataclasses.dataclass
class Run:
    """What happened."""

    seed: int
    verdict: Verdict
    faults: list
    silent: float  # seconds: the longest time without a 204 from either backend
    log: str  # the gateway's

    @property
    def good(self):
        return self.verdict.true and all(max(fault.of_these) < GOAL for fault in self.faults)

    def __str__(self):
        slowest = max(max(fault.of_these) for fault in self.faults)
        return "\n".join(
            [
                str(self.verdict),
                "by fault:",
                *map(str, self.faults),
                f"longest time without a 204:           {self.silent:.2f} s",
                f"the same of one backend, with a leader: {slowest:.2f} s (goal: {GOAL:g} s)",
            ]
        )


class ClusterWorld(World):
    """Three nodes with a quorum queue, and what can befall a node."""

    queues = (QUEUE,)

    def __init__(self, directory, suite=None):
        conf = "cluster_partition_handling = pause_minority"
        super().__init__(directory, suite, nodes=3, extra_conf=conf)

    def declare(self, channel):
        arguments = {"x-queue-type": "quorum", "x-quorum-initial-group-size": 3}
        channel.queue_declare(QUEUE, durable=True, arguments=arguments)
        channel.exchange_declare(QUEUE, "topic", durable=True)
        channel.queue_bind(QUEUE, QUEUE, "#")

    def reach(self, _stack):
        nodes = self.broker.nodes
        hosts = [f"{node.host}:{node.amqp_port}" for node in nodes]
        settings = {"rabbitmq": {"hosts": hosts, "reverify_after": 10}}
        return At(nodes[0].host, nodes[0].amqp_port), {"Application": settings}

    def node_of(self, name):
        return next(node for node in self.broker.nodes if node.name == name)

    def isolate(self, node):
        """Part it from the others: as they know each other by wrong cookies, none can connect."""
        names = self._others(node)
        node.evaluate(
            f"[begin erlang:set_cookie(N, wrong), erlang:disconnect_node(N) end || {names}]."
        )

    def rejoin(self, node):
        """Undo that."""
        node.evaluate(f"[erlang:set_cookie(N, erlang:get_cookie()) || {self._others(node)}].")

    def is_isolated(self, node):
        """Return whether neither side sees the other."""
        sees = {each.name: each.evaluate("nodes().") for each in self.broker.nodes}
        others = [name for name in sees if name != node.name]
        return not any(name in sees[node.name] or node.name in sees[name] for name in others)

    def _others(self, node):
        names = [f"'{each.name}'" for each in self.broker.nodes if each is not node]
        return f"N <- [{', '.join(names)}]"


def task(message_id, rng):
    """Return a message by the default exchange or one of its own, of several sizes."""
    path = rng.choice([f"/test//{QUEUE}", f"/test/{QUEUE}/{rng.randrange(9)}"])
    return Task(message_id, path, "guest", size=rng.choice([0, 100, 100, 10_000]))


def kill(world, node, _watch):
    node.kill()
    node.start()


def stop(world, node, _watch):
    node.stop()
    node.start()


def part(world, node, watch):
    """Part ``node`` from the others, which go on; it pauses itself, as a minority."""
    world.isolate(node)
    assert world.is_isolated(node), "it is no partition"
    wait_until(lambda: watch.now.leader not in (None, node.name), 60, what="another leader")
    time.sleep(PARTED)
    assert world.is_isolated(node), "it was no partition to its end"
    world.rejoin(node)


def play(directory, seed, *, clients=12, suite=None, say=print):
    """Kill two nodes and stop one, in turn; then part the leader from the rest."""
    rng = random.Random(seed)
    with ClusterWorld(directory, suite) as world:
        begun = time.monotonic()
        say(f"three nodes run; {clients} clients")
        with (
            LeaderWatch(world.broker, "test", QUEUE, begun) as watch,
            contextlib.ExitStack() as stack,
        ):
            watch.wait_until_whole()
            started = time.monotonic() - begun
            backends = [
                stack.enter_context(Traffic(seed, [port], begun, number))
                for number, port in enumerate(world.gateway.ports)
            ]
            for traffic in backends:
                traffic.steady(task, clients // len(backends), 0.01)
            faults = _faults(world, watch, rng, begun, say)
            stack.close()
            stopped = time.monotonic() - begun
        log = world.end_gateway()
        answers = [answer for traffic in backends for answer in traffic.answers]
        verdict = judge(answers, world.found())
        times = [confirmed_at(traffic.answers) for traffic in backends]
        led = spans_led(watch.changes, stopped)
        for fault in faults:
            span = fault.begun, fault.ended
            fault.leaderless = without_leader(*span, led)
            fault.silent = tuple(longest(each, *span) for each in times)
            fault.of_these = tuple(longest(each, *span, led) for each in times)
        silent = longest(confirmed_at(answers), started + 1, stopped)
        return Run(seed, verdict, faults, silent, log)


def _faults(world, watch, rng, begun, say):
    time.sleep(CALM)
    deeds = [kill, kill, stop]
    rng.shuffle(deeds)
    order = rng.sample(world.broker.nodes, 3)
    faults = []
    for deed, node in [*zip(deeds, order, strict=True), (part, None)]:
        node = node or world.node_of(watch.now.leader)  # noqa: PLW2901 - decided only now
        leads = " (the leader)" if node.name == watch.now.leader else ""
        name = f"{deed.__name__} node {world.broker.nodes.index(node) + 1}{leads}"
        at = time.monotonic() - begun
        say(f"{at:7.1f} s  {name}")
        deed(world, node, watch)
        watch.wait_until_whole()
        time.sleep(CALM)
        faults.append(Fault(name, at, time.monotonic() - begun))
    return faults
