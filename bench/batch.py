"""Batches against a plain pipelined AMQP publisher with confirms, in turn; then one long stream.

``make bench-batch`` runs it, and ``make bench`` after the table of single publishes.
"""

import argparse
import base64
import contextlib
import datetime as dt
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import environment
import gateways
import load
import processes
import report
import stage
from measured_queue import EXCHANGE, VIRTUAL_HOST, MeasuredQueue
from pipelined import MESSAGE, ROUTING_KEY
from start import end_in_order, start_broker, start_gateways

PATH = f"/{VIRTUAL_HOST}/{EXCHANGE}"
ITEM = json.dumps({"routing_key": ROUTING_KEY, "body": MESSAGE.decode()}).encode()
BATCH = 10_000  # messages of one, for the whole range
LINES = 1000  # of a stream, in one chunk


def as_lines(count: int) -> bytes:
    return (ITEM + b"\n") * count


def as_array(count: int) -> bytes:
    return b"[" + b",".join([ITEM] * count) + b"]"


class Client:
    """Posts batches to one gateway as one user."""

    def __init__(self, port: int, broker: gateways.Broker) -> None:
        self._port = port
        login = base64.b64encode(f"{broker.username}:{broker.password}".encode()).decode()
        self._login = f"Basic {login}"

    def publish(self, content_type: str, body: bytes | Iterable[bytes], count: int) -> float:
        """The seconds for a batch of which every item is confirmed.

        Raises ``RuntimeError`` when one is not.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        headers = {"Authorization": self._login, "Content-Type": content_type}
        begun = time.perf_counter()
        connection.request("POST", PATH, body, headers)
        response = connection.getresponse()
        document = json.loads(response.read())
        seconds = time.perf_counter() - begun
        connection.close()
        if document.get("published") != count:
            raise RuntimeError(f"{count} messages became {str(document)[:500]}")
        return seconds


def pipelined(port: int, count: int, cores: Collection[int] | None) -> float:
    """The seconds of the publisher that batches are measured against, in a process of its own."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or ours)
    try:
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("pipelined.py"), str(port), str(count)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        os.sched_setaffinity(0, ours)
    return float(done.stdout)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/batch.py", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="messages of a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stream", type=int, default=1_000_000, help="messages of the stream")
    return parser.parse_args()


def ways_of(
    count: int, client: Client, broker: gateways.Broker, cores: Collection[int] | None
) -> dict[str, Callable[[], float]]:
    """What is compared: each publishes ``count`` messages and tells the seconds."""
    return {
        "pipelined AMQP": lambda: pipelined(broker.port, count, cores),
        "NDJSON": lambda: client.publish("application/x-ndjson", as_lines(count), count),
        "JSON": lambda: client.publish("application/json", as_array(count), count),
    }


def measure(options: argparse.Namespace) -> list[stage.Run]:
    """The same for the whole range: figures are for each message, times those of a batch."""
    runs = []
    with contextlib.ExitStack() as stack:
        here = stage.Stage(stack, options)
        gateway = stack.enter_context(here.statelessd())
        client = Client(gateway.port, here.broker)
        ways = ways_of(BATCH, client, here.broker, here.cores.gateway)
        for number in range(here.rounds + 1):
            for name, publish in ways.items():
                here.queue.purge()
                usage = stage.Usage(gateway.pids, here.broker_pids)
                seconds = publish()
                gateway_cpu, broker_cpu = usage.since()
                counted = report.point(
                    name,
                    1,
                    load.Load(seconds, BATCH, 0, seconds * 1000, seconds * 1000, 0, 0, 0, 0),
                    gateway_cpu if name != "pipelined AMQP" else 0.0,
                    broker_cpu,
                    processes.resident_bytes(gateway.pids),
                    here.queue.settled_count(),
                )
                if number:  # the first round warms up
                    runs.append(stage.as_run("batches", f"{BATCH} messages", counted))
                    stage.tell(runs[-1])
        here.queue.purge()
    return runs


def compare(
    options: argparse.Namespace,
    client: Client,
    broker: gateways.Broker,
    queue: MeasuredQueue,
    cores: Collection[int] | None,
) -> dict[str, float]:
    """Messages a second of each way: the median of the rounds."""
    count = options.count
    ways = ways_of(count, client, broker, cores)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, publish in ways.items():
            queue.purge()
            rate = count / publish()
            found = queue.settled_count()
            if found != count:
                raise RuntimeError(f"{name}: {count} were confirmed, and {found} are in the queue")
            if number:  # the first round warms up
                rates[name].append(rate)
                print(f"round {number}, {name}: {rate:,.0f} messages/s", flush=True)
    return {name: statistics.median(each) for name, each in rates.items()}


def stream(
    count: int, client: Client, gateway: gateways.Gateway, queue: MeasuredQueue
) -> tuple[float, int, int]:
    """Messages a second of one long stream, and resident bytes before and after it."""
    before = processes.resident_bytes(gateway.pids)
    chunk = as_lines(LINES)
    seconds = client.publish("application/x-ndjson", (chunk for _ in range(count // LINES)), count)
    after = processes.resident_bytes(gateway.pids)
    found = queue.settled_count()
    if found != count:
        raise RuntimeError(f"{count} were confirmed, and {found} are in the queue")
    queue.purge()
    return count / seconds, before, after


def main() -> int:
    options = arguments()
    end_in_order()
    machine = environment.machine()
    cores = environment.divide(sorted(os.sched_getaffinity(0)), pin=True)
    os.sched_setaffinity(0, cores.others)
    with contextlib.ExitStack() as stack:
        broker, _ = start_broker(stack)
        queue = stack.enter_context(MeasuredQueue(broker.port, broker.username, broker.password))
        gateway = start_gateways(["statelessd"], broker, cores, stack)["statelessd"]
        client = Client(gateway.port, broker)
        rates = compare(options, client, broker, queue, cores.gateway)
        queue.purge()
        rate, before, after = stream(options.stream, client, gateway, queue)
    print(f"\n{dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine['cores']} cores ({machine['cpu']}); "
          f"{cores}; medians of {options.rounds} rounds of {options.count:,} messages")  # fmt: skip
    base = rates["pipelined AMQP"]
    for name, median in rates.items():
        print(f"{name:16} {median:>8,.0f} messages/s   {median / base:>4.0%}")
    mib = 2**20
    print(
        f"a stream of {options.stream:,}: {rate:,.0f} messages/s, the gateway's memory "
        f"{before / mib:.1f} MiB before and {after / mib:.1f} MiB after"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
