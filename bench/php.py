"""Measure PHP pages that publish one message: by us, or by a connection of their own."""

import functools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import load
from gateways import Gateway
from processes import on_cores
from results import OURS, PHP_DIRECT, Run
from stage import Stage

PROCESSES = 16
WAYS = {"curl": OURS, **dict(zip(("php_amqplib", "php_amqp"), PHP_DIRECT, strict=True))}
PAGES = Path(__file__).with_name("page_requests.php")  # one process: page after page


def php(stage: Stage) -> Iterator[Run]:
    """Pages of PHP that publish one message each: by curl, by php-amqplib and by php-amqp."""
    with stage.statelessd() as gateway:
        for _ in stage.rounds:
            for way, name in WAYS.items():
                yield stage.measure(
                    "php",
                    f"{PROCESSES} processes",
                    PROCESSES,
                    functools.partial(serve, stage, gateway, way),
                    gateway if name == OURS else None,
                    name=name,
                )


def serve(stage: Stage, gateway: Gateway, way: str, seconds: float) -> load.Load:
    """Serve pages on all cores, as a web server does. Raise ``RuntimeError`` if PHP fails."""
    port = stage.broker.amqp_port
    line = ["php", *map(str, (PAGES, way, seconds, port, gateway.url))]
    pipe = subprocess.PIPE
    with on_cores(stage.available):
        running = [
            subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True) for _ in range(PROCESSES)
        ]
    try:
        for process in running:  # PHP's start is not measured
            if process.stdout.readline() != "ready\n":  # type: ignore[union-attr]
                raise RuntimeError("php did not start")
        begun = time.perf_counter()
        for process in running:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        results = [json.loads(process.communicate()[0] or "null") for process in running]
        taken = time.perf_counter() - begun
    finally:
        for process in running:
            process.kill()
            process.wait()
    if None in results:
        raise RuntimeError("php printed no result")
    times = [each for result in results for each in result["milliseconds"]]
    return load.of_latencies(taken, times, sum(result["failed"] for result in results))
