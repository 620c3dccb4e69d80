"""Measure gateways under load: ``make bench``, ``bench-full`` and ``bench-batch``.

``bench/README.md`` says what the scenarios are, and how to read what is printed.
"""

import argparse
import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import batch
import fronts
import gateways
import goals
import load
import php
import ranges
import results
import singles
import stage  # it makes the scripts importable

import broker  # isort: skip
import debian  # isort: skip

FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    http.client.HTTPException,
    subprocess.CalledProcessError,
    broker.BrokerError,
    debian.MissingPackagesError,
)


class Scenario(NamedTuple):
    """``runs``: how many there are in a round. ``packages``: of Debian, besides the usual."""

    play: Callable[[stage.Stage], Iterator[results.Run]]
    runs: int
    packages: tuple[str, ...] = ()


SCENARIOS = {
    "singles": Scenario(singles.singles, 0),  # as the options say
    "connections": Scenario(ranges.connections, 6),
    "bodies": Scenario(ranges.bodies, 14),
    "users": Scenario(ranges.users, 8),
    "exchanges": Scenario(ranges.exchanges, 10),
    "no-keep-alive": Scenario(fronts.no_keep_alive, 3),
    "backends": Scenario(fronts.backends, 3),
    "tls": Scenario(fronts.tls, 4),
    "nginx": Scenario(fronts.nginx, 4, ("nginx",)),
    "batches": Scenario(batch.batches, 4),
    "php": Scenario(php.php, 3, ("php-cli", "php-curl", "php-amqplib", "php-amqp")),
}
AROUND = 2  # seconds around each run, and before it the warm-up
START = 20  # seconds until a scenario's broker and gateways are there


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/bench.py", description=__doc__)
    add = parser.add_argument
    add("scenarios", nargs="*", choices=[*SCENARIOS, []], default=[], metavar="SCENARIO",
        help=f"of {', '.join(SCENARIOS)} (default: singles, or all with --full)")  # fmt: skip
    add("--full", action="store_true", help="longer runs, and every scenario")
    add("--seconds", type=positive, help="length of one run (default: 3, or 8 with --full)")
    add("--warm-up", type=positive, help="seconds before it (default: 1, or 2 with --full)")
    add("--rounds", type=positive, default=3, help="runs of each point (default: %(default)s)")
    add("--queue-type", choices=["classic", "quorum"], default="classic",
        help="of the queue that takes the messages (default: %(default)s)")  # fmt: skip
    add("--nodes", type=int, choices=[1, 2, 3], default=1,
        help="of RabbitMQ; the queue's leader is on the one that is published to")  # fmt: skip
    add("--no-pin", action="store_true", help="leave the choice of cores to the kernel")
    add("--json", type=writable, metavar="FILE", help="default: bench/results/<kind>-<date>.json")
    add = parser.add_argument_group("singles").add_argument
    add("--connections", type=numbers, default=[1, 32, 256], metavar="N,N,...",
        help="keep-alive connections of each point (default: 1,32,256)")  # fmt: skip
    add("--no-large", dest="large", action="store_false", help="no point with 64 KiB")
    add("--only", type=contenders, default=list(singles.CONTENDERS),
        metavar="NAME,NAME,...", help=f"of {', '.join(singles.CONTENDERS)}")  # fmt: skip
    add = parser.add_argument_group("php").add_argument
    add("--amqproxy", type=executable, metavar="PATH",
        help="also publish through this program, with php-amqp")  # fmt: skip
    options = parser.parse_args()
    options.seconds = options.seconds or (8 if options.full else 3)
    options.warm_up = options.warm_up or (2 if options.full else 1)
    options.scenarios = options.scenarios or (list(SCENARIOS) if options.full else ["singles"])
    if options.amqproxy and "php" not in options.scenarios:
        parser.error("--amqproxy is for the scenario php")
    return options


def executable(text: str) -> str:
    """Return the program. Raise ArgumentTypeError if it cannot be run."""
    if not (found := shutil.which(text)):
        raise argparse.ArgumentTypeError(f"{text} is not a program that can be run")
    return str(Path(found).absolute())


def contenders(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(singles.CONTENDERS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
    return names


def numbers(text: str) -> list[int]:
    return list(dict.fromkeys(map(positive, text.split(","))))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:  # wrk knows whole seconds only
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def writable(text: str) -> Path:
    """Return the file. Raise ArgumentTypeError before it is measured, not after it."""
    file = Path(text)
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return file


def prepare(options: argparse.Namespace) -> None:
    """Install what is missing, and say so: that is not counted. Raise one of FAILURES."""
    packages = (name for each in options.scenarios for name in SCENARIOS[each].packages)
    debian.ensure(["rabbitmq-server", "wrk", *packages])
    for name in gateways.PEERS:
        if "singles" in options.scenarios and name in options.only:
            gateways.python_of(name)
    if options.amqproxy:
        php.version(options.amqproxy)


def measure(options: argparse.Namespace) -> results.Document:
    """Play the scenarios, each on a stage of its own.

    A scenario that fails is among ``failures``, and neither the others nor its own runs
    until then are lost.
    """
    hidden = ("json", "scenarios", "amqproxy")
    told = {key: value for key, value in vars(options).items() if key not in hidden}
    kind = "full" if options.full else "quick"
    document = results.new(kind, results.command(sys.argv[1:]), told)
    document["versions"] |= {"wrk": load.wrk_version()} | {
        name: gateways.requirements_of(name) for name in gateways.PEERS
    }
    if options.amqproxy:
        document["versions"]["amqproxy"] = php.version(options.amqproxy)
    for name in options.scenarios:
        scenario = SCENARIOS[name]
        print(f"\n{name}: {scenario.play.__doc__}", flush=True)
        try:
            with contextlib.ExitStack() as stack:
                management = name == "singles" and "management" in options.only
                here = stage.Stage(stack, options, management=management)
                document["cores"] = here.where
                server = here.queue.server
                versions = {"RabbitMQ": server["version"], "Erlang": server["platform"]}
                document["versions"] |= versions
                for run in scenario.play(here):
                    document["runs"].append(run)
        except FAILURES as error:
            print(f"bench: {error}", file=sys.stderr, flush=True)
            document["failures"].append(f"{name} failed: {error}")
    return document


def main() -> int:
    options = arguments()
    stage.end_in_order()
    try:
        prepare(options)
    except FAILURES as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    begun = time.monotonic()
    runs = sum(SCENARIOS[name].runs for name in options.scenarios)
    if "singles" in options.scenarios:
        runs += len(singles.points(options)) * len(options.only)
    runs += bool(options.amqproxy)
    each = options.warm_up + options.seconds + AROUND
    expected = each * options.rounds * runs + START * len(options.scenarios)
    print(f"this takes about {expected / 60:.0f} minutes", flush=True)
    document = measure(options)
    file = results.write(document, options.json)
    if found := document["medians"]:
        print("", results.text(results.rows(found)), "", sep="\n")
    for text, value, bound, met in goals.verdicts(found):
        print(f"{met:8} {text}: {value} ({bound})")
    took = time.monotonic() - begun
    print(f"\n{document['cores']}\n{took:.0f} s; written to {os.path.relpath(file)}")
    faults = results.faults(document)
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
