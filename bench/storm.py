"""A storm of publishes to a missing exchange, beside good publishes of the same user.

``make bench-storm`` runs it: the good ones alone and with the storm, in turn, at
constant rates. It fails when a good publish was not a 204 found once.
"""

import argparse
import asyncio
import collections
import contextlib
import datetime as dt
import os
import statistics
import sys
import threading
from typing import Any

import pika

import environment
import gateways
import steady
from measured_queue import PASSWORD, QUEUE, USER, VIRTUAL_HOST, MeasuredQueue
from start import end_in_order, start_broker, start_gateways


def publish_steadily(port: int, path: str, rate: float, seconds: float) -> list[steady.Answer]:
    request = steady.form_request(path, USER, PASSWORD)
    return asyncio.run(steady.ask_steadily(port, request, rate, seconds))


def found(broker: gateways.Broker) -> collections.Counter[bytes]:
    """How often each body is in the queue, which is empty afterwards."""
    bodies: collections.Counter[bytes] = collections.Counter()
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    with contextlib.closing(connection):
        channel = connection.channel()
        for method, _, body in channel.consume(QUEUE, auto_ack=True, inactivity_timeout=1.0):
            if method is None:
                break
            bodies[body] += 1
    return bodies


def play(port: int, options: argparse.Namespace, *, storm: bool) -> dict[str, Any]:
    """One run; the storm's clients have a thread of their own."""
    stormy: list[steady.Answer] = []
    thread = threading.Thread(
        target=lambda: stormy.extend(
            publish_steadily(port, f"/{VIRTUAL_HOST}/missing/k", options.rate, options.seconds)
        )
    )
    if storm:
        thread.start()
    good = publish_steadily(port, gateways.PATH, options.rate, options.seconds)
    if storm:
        thread.join()
    return {"good": good, "storm": stormy}


def row(name: str, run: dict[str, Any], counted: collections.Counter[bytes]) -> dict[str, Any]:
    confirmed = {a.number for a in run["good"] if a.status == 204}
    return {
        "run": name,
        "good": len(run["good"]),
        "not 204": len(run["good"]) - len(confirmed),
        "not found once": sum(counted[b"%d" % number] != 1 for number in confirmed),
        "p50 ms": 1000 * steady.percentile(run["good"], 0.50),
        "p99 ms": 1000 * steady.percentile(run["good"], 0.99),
        "storm": len(run["storm"]),
        "storm 404": sum(a.status == 404 for a in run["storm"]),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/storm.py", description=__doc__)
    parser.add_argument("--rate", type=float, default=1000, help="publishes a second, of each")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    end_in_order()
    rows = []
    with contextlib.ExitStack() as stack:
        broker, _ = start_broker(stack)
        stack.enter_context(MeasuredQueue(broker.port, broker.username, broker.password))
        cores = environment.divide(sorted(os.sched_getaffinity(0)), pin=False)
        gateway = start_gateways(["statelessd"], broker, cores, stack)["statelessd"]
        found(broker)  # the publish that told that the gateway had started
        play(gateway.port, argparse.Namespace(rate=options.rate, seconds=2), storm=True)
        found(broker)
        for _ in range(options.rounds):
            for name in ("alone", "storm"):
                run = play(gateway.port, options, storm=name == "storm")
                rows.append(row(name, run, found(broker)))
                print("  ".join(f"{k} {v:,.2f}" if isinstance(v, float) else f"{k} {v}"
                                for k, v in rows[-1].items()), flush=True)  # fmt: skip
    machine = environment.machine()
    p99 = {
        name: statistics.median(r["p99 ms"] for r in rows if r["run"] == name)
        for name in ("alone", "storm")
    }
    print(
        f"\n{dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine['cores']} cores ({machine['cpu']}), "
        f"{options.rate:g} a second each, {options.rounds} runs of {options.seconds:g} s\n"
        f"median p99: {p99['alone']:.1f} ms alone, {p99['storm']:.1f} ms in the storm: "
        f"{p99['storm'] / p99['alone']:.1f} times"
    )
    bad = sum(r["not 204"] + r["not found once"] for r in rows)
    if bad:
        print(f"bench: {bad} good publishes were not a 204 that was found once", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
