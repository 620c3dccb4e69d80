"""What the dashboard costs: a backend's CPU for one open page, and publishes beside fifty.

``make bench-dashboard`` runs it. One page is a real Chromium's, against none, in turn: on
an idle backend, under load, and with 1,000 connections to tell of. Fifty pages are their
requests, each on a connection of its own, beside publishes at a constant rate.
It fails when a publish was not a 204.
"""

import argparse
import asyncio
import contextlib
import datetime as dt
import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import environment
import gateways
import processes
import steady
from measured_queue import PASSWORD, USER, VIRTUAL_HOST, MeasuredQueue
from start import RUN, Broker, end_in_order, start_broker, start_gateways

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from chromium import Chromium

DETAILS = 2.0  # seconds between a page's requests for /details.json, while its tables are seen
ROWS = 1000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/open_pages.py", description=__doc__)
    parser.add_argument("--rate", type=float, default=500, help="publishes a second")
    parser.add_argument("--seconds", type=float, default=12, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", type=int, default=50)
    return parser.parse_args()


def get(path: Callable[[], str]) -> Callable[[int], bytes]:
    """Makes requests for what ``path()`` says at that moment."""
    return lambda _: f"GET {path()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def figures() -> str:
    return f"/dashboard.json?since={int(time.time()) - 7}"


def details() -> str:
    return "/details.json"


async def open_pages(port: int, count: int, seconds: float) -> None:
    """What so many pages ask, none at the moment of another."""

    async def page(number: int) -> None:
        await asyncio.sleep(number / count)
        answers = await asyncio.gather(
            steady.ask_steadily(port, get(figures), 1, seconds - 1),
            steady.ask_steadily(port, get(details), 1 / DETAILS, seconds - 1),
        )
        if wrong := {each.status for each in itertools.chain(*answers)} - {200}:
            raise RuntimeError(f"a page was answered {wrong}")

    await asyncio.gather(*(page(number) for number in range(count)))


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """``work`` in a thread of its own; leaving the block waits for its end."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


class Measured:
    """A gateway of one backend, and what is asked of it."""

    def __init__(self, gateway: gateways.Gateway, options: argparse.Namespace) -> None:
        self._port = gateway.port
        # The parent takes no part; the backend is its only child.
        self._backend = gateway.pids[-1:]
        self._options = options
        self.bad = 0

    def publish(self, seconds: float, user: str = USER) -> list[steady.Answer]:
        request = steady.form_request(gateways.PATH, user, PASSWORD)
        work = steady.ask_steadily(self._port, request, self._options.rate, seconds)
        answers = asyncio.run(work)
        self.bad += sum(answer.status != 204 for answer in answers)
        return answers

    def cpu(self, *, busy: bool) -> float:
        """Per cent of a core that the backend used."""
        seconds = self._options.seconds
        before, begun = processes.cpu_seconds(self._backend), time.monotonic()
        if busy:
            self.publish(seconds)
        else:
            time.sleep(seconds)
        used = processes.cpu_seconds(self._backend) - before
        return 100 * used / (time.monotonic() - begun)

    def one_page(self, chromium: Chromium, name: str, *, busy: bool) -> dict[str, float]:
        """Medians of the CPU without and with a page that is open."""
        without, with_page = [], []
        for _ in range(self._options.rounds):
            without.append(self.cpu(busy=busy))
            with chromium.user() as page:
                page.size(1366, 768)
                page.open(f"http://127.0.0.1:{self._port}/")
                page.wait_for("document.body.dataset.state === 'live'")
                page.evaluate("document.querySelector('#connections').scrollIntoView()")
                with_page.append(self.cpu(busy=busy))
        medians = {"none": statistics.median(without), "open": statistics.median(with_page)}
        print(
            f"{name:18} {medians['none']:6.2f} % of a core, with a page {medians['open']:6.2f} %: "
            f"{medians['open'] - medians['none']:+.2f}",
            flush=True,
        )
        return medians

    def many_pages(self) -> dict[str, dict[str, float]]:
        """Medians of the publishes' latency with none and with many pages, in milliseconds."""
        runs: dict[str, list[list[steady.Answer]]] = {"none": [], "open": []}
        seconds, count = self._options.seconds, self._options.pages
        for _ in range(self._options.rounds):
            runs["none"].append(self.publish(seconds))
            with beside(lambda: asyncio.run(open_pages(self._port, count, seconds))):
                runs["open"].append(self.publish(seconds))
        return {
            name: {
                f"p{share:.0%}".rstrip("%"): statistics.median(
                    1000 * steady.percentile(run, share) for run in each
                )
                for share in (0.50, 0.99)
            }
            for name, each in runs.items()
        }

    def fill_with_rows(self) -> None:
        """A connection to the broker of each of many users."""
        for number in range(ROWS):
            request = steady.form_request(gateways.PATH, f"user-{number}", PASSWORD)
            [answer] = asyncio.run(steady.ask_steadily(self._port, request, 1, 0))
            self.bad += answer.status != 204
        time.sleep(5)  # until all of them have come to rest


def make_users(broker: Broker, directory: Path) -> None:
    names = [f"user-{number}" for number in range(ROWS)]
    definitions: dict[str, Any] = {
        "users": [{"name": name, "password": PASSWORD, "tags": ""} for name in names],
        "permissions": [
            {"user": name, "vhost": VIRTUAL_HOST, "configure": "", "write": ".*", "read": ""}
            for name in names
        ],
    }
    file = directory / "users.json"
    file.write_text(json.dumps(definitions))
    broker.ctl("import_definitions", str(file))


def main() -> int:
    options = arguments()
    end_in_order()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker, _ = start_broker(stack)
        make_users(Broker(RUN / "bench" / "broker"), directory)
        queue = MeasuredQueue(broker.port, broker.username, broker.password)
        stack.enter_context(queue)
        cores = environment.divide(sorted(os.sched_getaffinity(0)), pin=False)
        gateway = start_gateways(["statelessd"], broker, cores, stack)["statelessd"]
        chromium = stack.enter_context(Chromium(directory))
        measured = Measured(gateway, options)
        measured.publish(3)
        measured.one_page(chromium, "idle", busy=False)
        measured.one_page(chromium, f"{options.rate:g} publishes/s", busy=True)
        latencies = measured.many_pages()
        queue.purge()
        measured.fill_with_rows()
        measured.one_page(chromium, f"{ROWS:,} connections", busy=False)
    for name, found in latencies.items():
        pages = f"{options.pages} pages" if name == "open" else "no page"
        print(f"{pages:10} p50 {found['p50']:.2f} ms, p99 {found['p99']:.2f} ms", flush=True)
    machine = environment.machine()
    print(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine['cores']} cores ({machine['cpu']}), "
        f"medians of {options.rounds} rounds of {options.seconds:g} s"
    )
    if measured.bad:
        print(f"bench: {measured.bad} publishes were not a 204", file=sys.stderr)
    return 1 if measured.bad else 0


if __name__ == "__main__":
    sys.exit(main())
