"""One run: traffic, faults at random moments, and the verdict."""

import dataclasses
import random
import time
from functools import partial

from background import in_background
from menu import MENU, RESTARTS
from timeline import by_second, watch_memory
from traffic import Traffic
from verdict import Verdict, judge
from waiting import wait_until
from world import FaultyWorld

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

    @property
    def good(self):
        return self.verdict.true

    def __str__(self):
        return str(self.verdict)


def play(directory, seed, *, menu=MENU, length=0.0, clients=12, suite=None, say=print):
    """Play every fault once, in an order that the seed gives, and again for ``length`` seconds."""
    rng = random.Random(seed)
    run = Run(seed)
    with FaultyWorld(directory, suite) as world:
        begun = time.monotonic()
        with in_background(partial(watch_memory, world.gateway, begun, run.memory)):
            number = 0
            while not number or time.monotonic() - begun < length:
                number += 1
                with Traffic(seed, world.gateway.ports, begun, number) as traffic:
                    traffic.start(clients)
                    _round(world, traffic, rng, run, menu, length, say)
                verdict = judge(traffic.answers, world.found())
                say(
                    f"counted: {len(verdict.lost)} lost, {len(verdict.denied)} denied, "
                    f"{len(verdict.doubled)} doubled"
                )
                run.verdict += verdict
                run.seconds += by_second(traffic.answers)
        run.log = world.end_gateway()
    return run


def _round(world, traffic, rng, run, menu, length, say):
    """Play the faults, until each was played and the time is up."""

    def elapsed():
        return time.monotonic() - traffic.begun

    until = min(length, elapsed() + ROUND)
    played = 0
    while not played or elapsed() < until:
        for fault in rng.sample(menu, len(menu)):
            if played >= len(menu) and elapsed() >= until:
                break
            played += 1
            if length and fault in RESTARTS and rng.random() > RARE:
                continue
            time.sleep(rng.uniform(0.2, 1.5))
            begun = elapsed()
            of = f" of {length:.0f}" if length else ""
            state = f"{len(traffic.answers):8} answers, {world.gateway.resident() >> 20} MiB"
            say(f"{begun:7.1f} s{of}  {state}  {fault.__name__.replace('_', ' ')}")
            fault(world, traffic, rng)
            run.faults.append(Fault(fault.__name__, begun, elapsed()))
    world.heal()
    recovered = len(traffic.answers)
    wait_until(lambda: len(traffic.answers) >= recovered + 100, what="100 more answers")
