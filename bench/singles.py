"""Single publishes by every contender in turn: the table of ``make bench``.

Each point is measured in every round, one contender after the other, so that what
disturbs the machine disturbs all of them.
"""

import argparse
import contextlib
import os
import re
import resource
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import contenders
import debian
import environment
import gateways
import load
import processes
import report
import stage
from contenders import Contender
from measured_queue import MeasuredQueue
from start import NAMES, PEERS, RUN, peer_python, start_broker, start_gateways

SCENARIO = "singles"
OF_THE_RANGE = ("nginx", "php-cli", "php-curl", "php-amqplib", "php-amqp")  # Debian's
SMALL = 100  # bytes of the message
LARGE = 65536
LARGE_AT = 32  # connections
LARGE_POINT = "32, 64 KiB"
ALL = (*NAMES, "management", "pipelined")
BETWEEN = 1.4  # seconds from one run to the next: until the queue has come to rest, mostly


def points(options: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Name, connections and bytes of each."""
    small = [(f"{count}", count, SMALL) for count in options.connections]
    return [*small, (LARGE_POINT, LARGE_AT, LARGE)] if options.large else small


def expected_seconds(options: argparse.Namespace) -> float:
    each = options.warm_up + options.seconds + BETWEEN
    return each * options.rounds * len(points(options)) * len(options.only)


class Bench:
    """What the runs have in common: the broker, its queue, and how long each takes."""

    def __init__(
        self, broker_pids: list[int], queue: MeasuredQueue, options: argparse.Namespace
    ) -> None:
        self._broker_pids = broker_pids
        self._queue = queue
        self._options = options

    def measure(
        self, scenario: str, point: tuple[str, int, int], contender: Contender
    ) -> report.Run:
        """Warm up, empty the queue, then publish for the time of a run and count everything."""
        name, connections, size = point
        contender.publish(connections, self._options.warm_up, size)
        self._queue.settled_count()
        self._queue.purge()
        pids, broker = contender.pids, self._broker_pids
        before = processes.cpu_seconds(pids), processes.cpu_seconds(broker), _load_cpu_seconds()
        counted = contender.publish(connections, self._options.seconds, size)
        after = processes.cpu_seconds(pids), processes.cpu_seconds(broker), _load_cpu_seconds()
        resident = processes.resident_bytes(pids)
        found = self._queue.settled_count()
        self._queue.purge()
        gateway_cpu, broker_cpu, load_cpu = (b - a for a, b in zip(before, after, strict=True))
        figures = report.point(
            contender.name, connections, counted, gateway_cpu, broker_cpu, resident, found
        )
        run = stage.as_run(scenario, name, figures) | {
            "body_bytes": size,
            "load_us": load_cpu / max(counted.requests, 1) * 1e6,
        }
        return run if pids else run | {"gateway_us": None, "resident_mib": None}


def _load_cpu_seconds() -> float:
    """Of the programs that publish: they are the only children that ended meanwhile."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def take_turns(
    bench: Bench, contending: Sequence[Contender], options: argparse.Namespace
) -> list[report.Run]:
    """Measure every point in every round, with a line of progress for each run."""
    runs: list[report.Run] = []
    begun = time.monotonic()
    expected = expected_seconds(options)
    for number in range(1, options.rounds + 1):
        for point in points(options):
            for contender in contending:
                run = bench.measure(SCENARIO, point, contender)
                runs.append(run)
                cpu = "" if run["gateway_us"] is None else f"gateway {run['gateway_us']:.1f} us, "
                print(
                    f"{time.monotonic() - begun:4.0f} s of about {expected:.0f}, "
                    f"round {number} of {options.rounds}, connections: {point[0]}; "
                    f"{contender.name}: {run['requests_per_second']:,.0f}/s, {cpu}"
                    f"broker {run['broker_us']:.1f} us",
                    flush=True,
                )
    return runs


COUNTERS = {
    "request": "statelessd_http_received_bytes_total",
    "answer": "statelessd_http_sent_bytes_total",
    "to_broker": "statelessd_broker_sent_bytes_total",
    "from_broker": "statelessd_broker_received_bytes_total",
}
PUBLISHED = 'statelessd_publishes_total{outcome="confirmed"}'


def bytes_of_a_message(gateway: gateways.Gateway, contender: Contender) -> dict[str, float]:
    """What one small publish is on either side of the gateway, by its own counters."""

    def counted() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/metrics") as answer:
            text = answer.read().decode()
        return {
            name: sum(map(float, re.findall(rf"^{re.escape(name)} (\S+)", text, re.MULTILINE)))
            for name in (*COUNTERS.values(), PUBLISHED)
        }

    # What asking costs is counted as well: it is the difference of the first two.
    first, before = counted(), counted()
    contender.publish(32, 1, SMALL)
    after = counted()
    found = {name: after[name] - 2 * before[name] + first[name] for name in after}
    return {key: round(found[name] / found[PUBLISHED], 1) for key, name in COUNTERS.items()}


def prepare(options: argparse.Namespace) -> None:
    """Install what is missing, and say so. Raises as ``debian.ensure`` and ``peer_python``."""
    debian.ensure(["rabbitmq-server", "wrk", *(OF_THE_RANGE if options.full else ())])
    for name in PEERS:
        if name in options.only:
            peer_python(name)


def play(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, measure everything, end everything; a part of the results' document."""
    available = sorted(os.sched_getaffinity(0))
    cores = environment.divide(available, pin=not options.no_pin)
    directory = RUN / "bench"
    with contextlib.ExitStack() as stack:
        # The broker and the load inherit this; each gateway is given its own.
        stack.callback(os.sched_setaffinity, 0, available)
        os.sched_setaffinity(0, cores.others)
        port = gateways.free_port() if "management" in options.only else 0
        broker, pids = start_broker(stack, options.nodes, management_port=port)
        queue = stack.enter_context(
            MeasuredQueue(broker.port, broker.username, broker.password, options.queue_type)
        )
        names = [name for name in NAMES if name in options.only]
        running = start_gateways(names, broker, cores, stack)
        contending: list[Contender] = [
            contenders.gateway(each, broker, directory) for each in running.values()
        ]
        if "management" in options.only:
            contending.append(contenders.management(port, broker, directory))
        if "pipelined" in options.only:
            contending.append(contenders.Pipelined(broker.port))
        print(f"{cores}\n", flush=True)
        document = {
            "cores": str(cores),
            "versions": _versions(names, queue),
            "seconds_to_first_answer": {
                name: round(gateway.seconds_to_first_204, 3) for name, gateway in running.items()
            },
        }
        if "statelessd" in running:
            document["bytes"] = bytes_of_a_message(running["statelessd"], contending[0])
        bench = Bench(pids, queue, options)
        document["runs"] = take_turns(bench, contending, options)
    return document


def _versions(names: Sequence[str], queue: MeasuredQueue) -> dict[str, Any]:
    found: dict[str, Any] = {
        "RabbitMQ": queue.server["version"],
        "Erlang": queue.server["platform"],
        "wrk": load.version(),
        "statelessd": environment.our_versions(),
    }
    return found | {
        name: environment.peer_versions(peer) for name, peer in PEERS.items() if name in names
    }
