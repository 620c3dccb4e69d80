"""Measure PHP pages that publish one message: by us, or over AMQP."""

import contextlib
import functools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import load
from gateways import AmqpProxy, Gateway, free_port
from processes import on_cores
from results import AMQPROXY, OURS, PHP_DIRECT, Run
from stage import Stage

PROCESSES = 16
PAGES = Path(__file__).with_name("page_requests.php")  # one process: page after page


def php(stage: Stage) -> Iterator[Run]:
    """Pages of PHP that publish one message each: by curl, by php-amqplib and by php-amqp."""
    amqp = stage.broker.amqp_port
    with contextlib.ExitStack() as running:
        gateway = running.enter_context(stage.statelessd())
        ways: list[tuple[str, str, int, Gateway | None]] = [
            ("curl", OURS, amqp, gateway),
            *((name.replace("-", "_"), name, amqp, None) for name in PHP_DIRECT),
        ]
        if program := stage.options.amqproxy:
            proxy = running.enter_context(amqproxy(stage, program))
            ways.append(("php_amqp", AMQPROXY, proxy.port, proxy))
        for _ in stage.rounds:
            for way, name, port, whose in ways:
                pages = functools.partial(serve, stage, gateway.url, port, way)
                point = f"{PROCESSES} processes"
                yield stage.measure("php", point, PROCESSES, pages, whose, name=name)


def amqproxy(stage: Stage, program: str) -> contextlib.AbstractContextManager[Gateway]:
    """Start amqproxy in front of the broker, on the core of a gateway."""
    port, broker = free_port(), f"amqp://127.0.0.1:{stage.broker.amqp_port}"
    command = (program, "--listen=127.0.0.1", f"--port={port}", broker)
    # It prefers these variables to its arguments.
    variables = {"AMQP_URL": broker, "LISTEN_ADDRESS": "127.0.0.1", "LISTEN_PORT": f"{port}"}
    return stage.gateway(AMQPROXY, *command, port=port, kind=AmqpProxy, environment=variables)


def version(program: str) -> str:
    """Return the version of amqproxy. Raise ``RuntimeError`` if it prints none."""
    line = [program, "--version"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=10)
    except subprocess.SubprocessError as error:
        raise RuntimeError(f"not amqproxy: {error}") from error
    return done.stdout.strip()


def serve(stage: Stage, url: str, port: int, way: str, seconds: float) -> load.Load:
    """Serve pages on all cores, as a web server does. Raise ``RuntimeError`` if PHP fails.

    ``port``: where pages that speak AMQP connect to.
    """
    line = ["php", *map(str, (PAGES, way, seconds, port, url))]
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
