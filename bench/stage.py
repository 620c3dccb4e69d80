"""What the scenarios of the whole range share: a broker, gateways, and a run that is counted."""

import argparse
import contextlib
import os
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import debian
import environment
import gateways
import load
import processes
import report
from broker import Broker, BrokerError
from measured_queue import MeasuredQueue
from start import RUN, end_in_order, start_broker

Run = report.Run
Publish = Callable[[float], load.Load]  # for so many seconds

DIRECTORY = RUN / "bench"
FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    subprocess.CalledProcessError,
    BrokerError,
    debian.MissingPackagesError,
)


class Stage:
    """A broker with the measured queue, for as long as ``stack`` lives.

    ``cores``: as ``environment.divide`` shares them out. The broker and the load
    run on the others; each gateway is given the gateway's, or those it is told.
    """

    def __init__(self, stack: contextlib.ExitStack, options: argparse.Namespace) -> None:
        debian.ensure(["rabbitmq-server", "wrk"])
        self.available = sorted(os.sched_getaffinity(0))
        self.cores = environment.divide(self.available, pin=not options.no_pin)
        self.seconds: float = options.seconds
        self.rounds: int = options.rounds
        self.stack = stack
        stack.callback(os.sched_setaffinity, 0, self.available)
        os.sched_setaffinity(0, self.cores.others)
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        self.broker, self.broker_pids = start_broker(stack)
        self._rabbitmq = Broker(DIRECTORY / "broker")  # the same, seen again
        self.queue = self.new_queue()
        print(self.cores, flush=True)

    def new_queue(self, **where: Any) -> MeasuredQueue:
        """In place of an earlier one of the same virtual host."""
        broker = self.broker
        return self.stack.enter_context(
            MeasuredQueue(broker.port, broker.username, broker.password, **where)
        )

    def rabbitmqctl(self, *arguments: str) -> str:
        return self._rabbitmq.ctl(*arguments)

    @contextlib.contextmanager
    def statelessd(
        self,
        name: str = "statelessd",
        *,
        cores: Collection[int] | None = None,
        tls: ssl.SSLContext | None = None,
        front: int = 0,
        **settings: dict[str, Any],
    ) -> Iterator[gateways.Gateway]:
        """A gateway that has answered 204. ``front``: the port where it is asked, if another's."""
        port = gateways.free_port()
        log = DIRECTORY / f"statelessd-{port}.log"
        gateway = gateways.Gateway(name, log, cores or self.cores.gateway, tls)
        gateway.port = front or port
        command = gateways.statelessd(
            Path(sys.executable), port, self.broker, DIRECTORY, **settings
        )
        try:
            gateway.start(command, self.broker)
            yield gateway
        finally:
            gateway.stop()
            log.unlink()
            (DIRECTORY / f"statelessd-{port}.yaml").unlink()

    def wrk(
        self, gateway: gateways.Gateway, connections: int, shape: load.Shape | None = None
    ) -> Publish:
        broker = self.broker
        return lambda seconds: load.run(
            gateway.url, connections, seconds, broker.username, broker.password, shape
        )

    def measure(
        self,
        scenario: str,
        point: str,
        gateway: gateways.Gateway,
        connections: int,
        publish: Publish,
        *,
        queues: Sequence[MeasuredQueue] = (),
        warm_up: float = 1,
        name: str = "",
    ) -> Run:
        """Warm up, empty the queues, publish, and count everything; prints a line.

        ``name``: who publishes, if not the gateway.
        """
        queues = queues or [self.queue]
        if warm_up:
            publish(warm_up)
        _emptied(queues)
        usage = Usage(gateway.pids, self.broker_pids)
        result = publish(self.seconds)
        gateway_cpu, broker_cpu = usage.since()
        resident = processes.resident_bytes(gateway.pids)
        found = _emptied(queues)
        counted = report.point(
            name or gateway.name, connections, result, gateway_cpu, broker_cpu, resident, found
        )
        run = as_run(scenario, point, counted) | {"p999_ms": result.p999_ms}
        tell(run)
        return run


class Usage:
    """CPU seconds of a gateway and of the broker since this was made."""

    def __init__(self, gateway: Iterable[int], broker: Iterable[int]) -> None:
        self._pids = list(gateway), list(broker)
        self._begun = self._now()

    def _now(self) -> list[float]:
        return [processes.cpu_seconds(pids) for pids in self._pids]

    def since(self) -> list[float]:
        return [now - then for now, then in zip(self._now(), self._begun, strict=True)]


def _emptied(queues: Iterable[MeasuredQueue]) -> int:
    """The messages found in the queues, which are empty afterwards."""
    found = 0
    for queue in queues:
        found += queue.settled_count(quiet=0.6)
        queue.purge()
    return found


def as_run(scenario: str, point: str, counted: report.Point) -> Run:
    """One run as it goes into the results: ``faults`` tells why it means nothing, if so."""
    figures = asdict(counted)
    return {
        "scenario": scenario,
        "point": point,
        "gateway_us": figures.pop("gateway_cpu_us"),
        "broker_us": figures.pop("broker_cpu_us"),
        **figures,
        "faults": [f"{scenario}, {point}: {fault}" for fault in report.faults([counted])],
    }


def tell(run: Run) -> None:
    """The line of progress."""
    print(
        f"{run['scenario']}, {run['point']}, {run['gateway']}: "
        f"{run['requests_per_second']:,.0f}/s, gateway {run['gateway_us']:.1f} us, "
        f"broker {run['broker_us']:.1f} us, p50 {run['p50_ms']:.2f} ms, "
        f"p99 {run['p99_ms']:.2f} ms" + "".join(f"; {fault}" for fault in run["faults"]),
        flush=True,
    )


FIGURES = {
    "requests/s": ("requests_per_second", "{:,.0f}"),
    "gateway us": ("gateway_us", "{:.1f}"),
    "broker us": ("broker_us", "{:.1f}"),
    "p50 ms": ("p50_ms", "{:.2f}"),
    "p99 ms": ("p99_ms", "{:.2f}"),
    "p99.9 ms": ("p999_ms", "{:.2f}"),
}


def table(runs: Sequence[Run]) -> str:
    """The medians of each point, in order of appearance."""
    rows = [(*report.NAMES, *FIGURES)]
    for names, group in report.groups(runs).items():
        figures = [
            form.format(statistics.median(run.get(key, 0.0) for run in group))
            for key, form in FIGURES.values()
        ]
        rows.append((*names, *figures))
    return report.table(rows, left=3)


def positive(text: str) -> int:
    """Of an option: wrk, for one, knows whole seconds only."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


Scenarios = dict[str, Callable[[Stage], Iterator[Run]]]


def play(scenarios: Scenarios, options: argparse.Namespace) -> list[Run]:
    """``options.scenarios``, where there is such a thing: which of them; else all."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, options)
        names = getattr(options, "scenarios", None) or scenarios
        return [run for name in names for run in scenarios[name](stage)]


def command(
    program: str,
    description: str,
    measure: Callable[[argparse.Namespace], list[Run]],
    scenarios: Sequence[str] = (),
) -> int:
    """Run a module of scenarios by itself; exit status 1 when a run has faults."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    if scenarios:
        parser.add_argument("scenarios", nargs="*", choices=[*scenarios, []], default=[])
    add = parser.add_argument
    add("--seconds", type=positive, default=8, help="of a run (default: %(default)s)")
    add("--rounds", type=positive, default=3, help="of each point (default: %(default)s)")
    add("--no-pin", action="store_true", help="leave the choice of cores to the kernel")
    options = parser.parse_args()
    end_in_order()
    begun = time.monotonic()
    try:
        runs = measure(options)
    except FAILURES as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print("", table(runs), f"({time.monotonic() - begun:.0f} s)", sep="\n")
    faults = report.faults_of(runs)
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return 1 if faults else 0
