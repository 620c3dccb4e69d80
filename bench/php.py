"""What a PHP page gains that publishes one message: by statelessd, or by a connection of its own.

Sixteen PHP processes serve page requests, one after the other, each with
``page_requests.php``. ``bench/README.md``, "The whole range", says how.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import gateways
import load
import report
from stage import Run, Stage, Usage, as_run, command, debian, tell
from steady import nearest_rank

PROCESSES = 16
WAYS = {"curl": "statelessd", "php_amqplib": "php-amqplib", "php_amqp": "php-amqp"}
PAGES = Path(__file__).with_name("page_requests.php")
CHURN = "[{_, Made, _, _, _, _, _, _}] = ets:lookup(connection_churn_metrics, node()), Made."


class Pages:
    """The PHP processes of one run, on all cores: the sixteen of a web server."""

    def __init__(self, way: str, seconds: float, amqp_port: int, url: str, cores: Any) -> None:
        line = ["php", *map(str, (PAGES, way, seconds, amqp_port, url))]
        pipe = subprocess.PIPE
        ours = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            self._running = [
                subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True) for _ in range(PROCESSES)
            ]
        finally:
            os.sched_setaffinity(0, ours)

    def wait_until_ready(self) -> None:
        """PHP's start is not measured. Raises ``RuntimeError`` if one does not."""
        for process in self._running:
            if _pipe(process.stdout).readline() != "ready\n":
                raise RuntimeError("php did not start")

    def begin(self) -> None:
        for process in self._running:
            _pipe(process.stdin).write("\n")
            _pipe(process.stdin).flush()

    def results(self) -> list[dict[str, Any]]:
        """What each has printed, when all have ended. Raises ``RuntimeError`` if one failed."""
        found = []
        for process in self._running:
            output = process.communicate()[0]
            if process.returncode:
                raise RuntimeError(f"php ended with status {process.returncode}")
            found.append(json.loads(output))
        return found

    def kill(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


def _pipe(of: IO[str] | None) -> IO[str]:
    assert of is not None  # all are told to be pipes
    return of


def measure(options: argparse.Namespace) -> list[Run]:
    debian.ensure(["php-cli", "php-curl", "php-amqplib", "php-amqp"])
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, options)
        runs = []
        with stage.statelessd() as gateway:
            for _ in range(stage.rounds):
                runs += [_run(stage, gateway, way, name) for way, name in WAYS.items()]
        return runs


def _run(stage: Stage, gateway: gateways.Gateway, way: str, name: str) -> Run:
    _publish(stage, gateway, way, 1.0)
    stage.queue.settled_count()
    stage.queue.purge()
    made = _connections_made(stage)
    times, failed, taken, (gateway_cpu, broker_cpu) = _publish(stage, gateway, way, stage.seconds)
    found = stage.queue.settled_count()
    stage.queue.purge()
    made = _connections_made(stage) - made
    counted = report.point(
        name,
        PROCESSES,
        _as_load(times, failed, taken),
        gateway_cpu if way == "curl" else 0.0,
        broker_cpu,
        0,
        found,
    )
    run = as_run("php", f"{PROCESSES} processes", counted)
    run |= {"p999_ms": nearest_rank(times, 0.999), "connections_per_second": made / taken}
    tell(run)
    print(f"  {run['connections_per_second']:,.1f} connections/s on the broker", flush=True)
    return run


def _connections_made(stage: Stage) -> int:
    """Since the broker's start, as it counts them itself."""
    return int(stage.rabbitmqctl("eval", CHURN))


def _publish(
    stage: Stage, gateway: gateways.Gateway, way: str, seconds: float
) -> tuple[list[float], int, float, list[float]]:
    """The milliseconds of the publishes, how many failed, and in how many seconds;
    the CPU of the gateway and of the broker."""
    pages = Pages(way, seconds, stage.broker.port, gateway.url, stage.available)
    try:
        pages.wait_until_ready()
        usage = Usage(gateway.pids, stage.broker_pids)
        begun = time.perf_counter()
        pages.begin()
        results = pages.results()
        taken = time.perf_counter() - begun
        spent = usage.since()
    finally:
        pages.kill()
    times = sorted(each for result in results for each in result["milliseconds"])
    return times, sum(result["failed"] for result in results), taken, spent


def _as_load(times: Sequence[float], failed: int, seconds: float) -> load.Load:
    return load.Load(
        seconds=seconds,
        confirmed=len(times),
        non_204=failed,
        p50_ms=nearest_rank(times, 0.5),
        p99_ms=nearest_rank(times, 0.99),
        connect_errors=0,
        read_errors=0,
        write_errors=0,
        timeouts=0,
    )


if __name__ == "__main__":
    sys.exit(command("bench/php.py", __doc__ or "", measure))
