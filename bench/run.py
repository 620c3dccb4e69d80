"""The first benchmark: one statelessd backend and a FastAPI + aio-pika gateway, in turn, under wrk.

``make bench`` runs it; ``bench/README.md`` says how to read what it prints.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import debian
import environment
import gateways
import load
import processes
import report
from broker import BrokerError
from measured_queue import MeasuredQueue
from start import NAMES, RUN, start_broker, start_gateways

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    subprocess.CalledProcessError,
    BrokerError,
    debian.MissingPackagesError,
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=positive, default=8, help="length of one run (default: %(default)s)")
    add("--warm-up", type=positive, default=2, help="seconds before it (default: %(default)s)")
    add(
        "--connections",
        type=positives,
        default=[1, 32, 256],
        metavar="N,N,...",
        help="keep-alive connections of each point (default: 1,32,256)",
    )
    add(
        "--rounds",
        type=positive,
        default=3,
        help="runs of each point; the table has their medians (default: %(default)s)",
    )
    add("--only", choices=sorted(NAMES), help="one gateway alone")
    add(
        "--queue-type",
        choices=["classic", "quorum"],
        default="classic",
        help="of the queue that takes the messages (default: %(default)s)",
    )
    add(
        "--nodes",
        type=int,
        choices=[1, 2, 3],
        default=1,
        help="of RabbitMQ; the queue's leader is on the one that is published to "
        "(default: %(default)s)",
    )
    add("--no-pin", action="store_true", help="leave the choice of cores to the kernel")
    add("--json", type=Path, metavar="FILE", help="default: bench/results/<date>.json")
    return parser.parse_args()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def positives(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def end_in_order(number: int, frame: object) -> NoReturn:
    """Leave by an exception, so that everything that was started is ended on the way out."""
    # Once is enough: what ends the processes must not be interrupted itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


class Bench:
    """What a run has in common: the broker, its queue, and how long each point takes."""

    def __init__(
        self,
        broker: gateways.Broker,
        broker_pids: list[int],
        queue: MeasuredQueue,
        warm_up: int,
        seconds: int,
    ) -> None:
        self._broker = broker
        self._broker_pids = broker_pids
        self._queue = queue
        self._warm_up = warm_up
        self._seconds = seconds

    def measure(self, gateway: gateways.Gateway, connections: int) -> report.Point:
        """Warm up, empty the queue, then publish for the time of a point and count everything."""
        self._publish(gateway, connections, self._warm_up)
        self._queue.settled_count()
        self._queue.purge()
        pids, broker = gateway.pids, self._broker_pids
        before = processes.cpu_seconds(pids), processes.cpu_seconds(broker)
        result = self._publish(gateway, connections, self._seconds)
        after = processes.cpu_seconds(pids), processes.cpu_seconds(broker)
        resident = processes.resident_bytes(pids)
        found = self._queue.settled_count()
        self._queue.purge()
        return report.point(
            gateway.name,
            connections,
            result,
            gateway_cpu=after[0] - before[0],
            broker_cpu=after[1] - before[1],
            resident=resident,
            found=found,
        )

    def _publish(self, gateway: gateways.Gateway, connections: int, seconds: int) -> load.Load:
        broker = self._broker
        return load.run(gateway.url, connections, seconds, broker.username, broker.password)


def take_turns(
    bench: Bench, running: Sequence[gateways.Gateway], connections: Sequence[int], rounds: int
) -> Iterator[report.Point]:
    """Measure every point ``rounds`` times, the gateways in turn, a line of progress for each."""
    for number in range(1, rounds + 1):
        for count in connections:
            for gateway in running:
                print(f"round {number} of {rounds}, {count:>3} connections", end="", flush=True)
                run = bench.measure(gateway, count)
                print(
                    f", {run.gateway}: {run.requests_per_second:,.0f} requests/s, "
                    f"{run.gateway_cpu_us:.1f} us of its CPU for each",
                    flush=True,
                )
                yield run


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, measure everything, end everything; the document of ``--json``."""
    debian.ensure(["rabbitmq-server", "wrk"])
    available = sorted(os.sched_getaffinity(0))
    cores = environment.divide(available, pin=not options.no_pin)
    names = [options.only] if options.only else list(NAMES)
    document = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": environment.machine(),
        "cores": str(cores),
        "seconds": options.seconds,
        "warm_up": options.warm_up,
        "rounds": options.rounds,
        "queue_type": options.queue_type,
        "nodes": options.nodes,
    }
    # The broker and wrk inherit this; each gateway is given its own.
    os.sched_setaffinity(0, cores.others)
    with contextlib.ExitStack() as stack:
        broker, pids = start_broker(stack, options.nodes)
        queue = stack.enter_context(
            MeasuredQueue(broker.port, broker.username, broker.password, options.queue_type)
        )
        running = start_gateways(names, broker, cores, stack)
        document["versions"] = versions(names, queue)
        document["first_204_seconds"] = {
            name: round(gateway.seconds_to_first_204, 3) for name, gateway in running.items()
        }
        print(f"{cores}\n", flush=True)
        bench = Bench(broker, pids, queue, options.warm_up, options.seconds)
        turns = take_turns(bench, list(running.values()), options.connections, options.rounds)
        points = list(turns)
    document["runs"] = [asdict(point) for point in points]
    document["medians"] = report.medians(points)
    return document


def versions(names: Sequence[str], queue: MeasuredQueue) -> dict[str, Any]:
    found: dict[str, Any] = {
        "RabbitMQ": queue.server["version"],
        "Erlang": queue.server["platform"],
        "wrk": load.version(),
    }
    if "statelessd" in names:
        found["statelessd"] = environment.our_versions()
    if "peer" in names:
        found["peer"] = environment.peer_versions(environment.peer_python(RUN / "bench-venv"))
    return found


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGINT, end_in_order)
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        document = measure_all(options)
    except FAILURES as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    points = document["medians"]
    print("", report.table(points), "", sep="\n")
    for line in report.comparison(points, *NAMES.values()):
        print(line)
    file = options.json or RESULTS / f"{document['date'].replace(':', '')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    document["medians"] = [asdict(point) for point in points]
    file.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {file}")
    faults = report.faults(points)
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
