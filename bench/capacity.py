"""The small end of the arithmetic of capacity: a backend at a part of what it could take."""

import argparse
import contextlib
import os

import contenders
import environment
import load
import report
import singles
from measured_queue import MeasuredQueue
from start import RUN, start_broker, start_gateways

SCENARIO = "capacity"
CONNECTIONS = 256
PAUSES_MS = (256, 51, 26)  # about 1,000, 5,000 and 10,000 requests a second


class Paced:
    """A gateway whose clients pause between an answer and their next request."""

    def __init__(self, contender: contenders.OverHttp, pause_ms: int) -> None:
        self.name = contender.name
        self._contender = contender
        self._pause_ms = pause_ms

    @property
    def pids(self) -> list[int]:
        return self._contender.pids

    def publish(self, connections: int, seconds: float, size: int) -> load.Load:
        return self._contender.publish(connections, seconds, size, self._pause_ms)


def measure(options: argparse.Namespace) -> list[report.Run]:
    available = sorted(os.sched_getaffinity(0))
    cores = environment.divide(available, pin=not options.no_pin)
    runs = []
    with contextlib.ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, available)
        os.sched_setaffinity(0, cores.others)
        broker, pids = start_broker(stack)
        queue = stack.enter_context(MeasuredQueue(broker.port, broker.username, broker.password))
        running = start_gateways(["statelessd"], broker, cores, stack)["statelessd"]
        contender = contenders.gateway(running, broker, RUN / "bench")
        bench = singles.Bench(pids, queue, options)
        for number in range(1, options.rounds + 1):
            for pause in PAUSES_MS:
                point = (f"{CONNECTIONS * 1000 / pause:,.0f}/s", CONNECTIONS, singles.SMALL)
                run = bench.measure(SCENARIO, point, Paced(contender, pause))
                runs.append(run)
                print(
                    f"round {number} of {options.rounds}: {run['requests_per_second']:,.0f}/s, "
                    f"gateway {run['gateway_us']:.1f} us, broker {run['broker_us']:.1f} us",
                    flush=True,
                )
    return runs
