"""One run: traffic, faults at random moments, and the verdict."""

import dataclasses
import random
import time

from menu import MENU, RESTARTS
from timeline import MemoryWatch, by_second
from traffic import Traffic
from verdict import Verdict, judge
from world import World

ROUND = 300.0  # seconds after which the queues of a long run are counted
RARE = 0.1  # of a long run's restarts are played: else its memory would have no time to grow


@dataclasses.dataclass
class Fault:
    """When one was at work, in seconds since the run's begin."""

    name: str
    begun: float
    ended: float


@dataclasses.dataclass
class Run:
    """What happened. ``memory``: seconds since the begin, bytes of the largest backend."""

    seed: int
    verdict: Verdict = dataclasses.field(default_factory=Verdict.nothing)
    faults: list = dataclasses.field(default_factory=list)
    seconds: list = dataclasses.field(default_factory=list)
    memory: list = dataclasses.field(default_factory=list)
    log: str = ""  # the gateway's


def play(directory, seed, *, length=0.0, clients=12, suite=None, say=print):
    """Every fault once, in an order that the seed gives, and again for ``length`` seconds."""
    rng = random.Random(seed)
    run = Run(seed)
    with World(directory, suite) as world:
        begun = time.monotonic()
        watch = MemoryWatch(world, begun)
        watch.start()
        try:
            number = 0
            while not number or time.monotonic() - begun < length:
                number += 1
                traffic = Traffic(seed, world.gateway.ports, begun, number)
                _round(world, traffic, rng, run, length, clients, say)
                world.settle()
                verdict = judge(traffic.answers, world.found())
                say(
                    f"counted: {len(verdict.lost)} lost, {len(verdict.denied)} denied, "
                    f"{len(verdict.doubled)} doubled"
                )
                run.verdict += verdict
                run.seconds += by_second(traffic.answers)
        finally:
            watch.stop()
        run.memory = watch.samples
        status = world.gateway.stop()
        assert status == 0, f"the gateway ended with status {status}:\n{world.gateway.text}"
        run.log = world.gateway.text
    return run


def _round(world, traffic, rng, run, length, clients, say):
    until = min(length, time.monotonic() - traffic.begun + ROUND)
    try:
        traffic.start(clients)
        played = 0
        while not played or _elapsed(traffic) < until:
            for fault in rng.sample(MENU, len(MENU)):
                if played >= len(MENU) and _elapsed(traffic) >= until:
                    break
                played += 1
                if length and fault in RESTARTS and rng.random() > RARE:
                    continue
                time.sleep(rng.uniform(0.2, 1.5))
                begun = _elapsed(traffic)
                of = f" of {length:.0f}" if length else ""
                state = f"{len(traffic.answers):8} answers, {world.memory() >> 20} MiB"
                say(f"{begun:7.1f} s{of}  {state}  {fault.__name__.replace('_', ' ')}")
                fault(world, traffic, rng)
                run.faults.append(Fault(fault.__name__, begun, _elapsed(traffic)))
        world.heal()
        recovered = len(traffic.answers)
        while len(traffic.answers) < recovered + 100:
            time.sleep(0.05)
    finally:
        traffic.stop()


def _elapsed(traffic):
    return time.monotonic() - traffic.begun
