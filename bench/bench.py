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
import forms
import fronts
import gateways
import goals
import latency
import load
import php
import ranges
import results
import singles
import stage  # it makes the scripts importable
import suite_root

import broker  # isort: skip
import debian  # isort: skip
import suite  # isort: skip

FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    http.client.HTTPException,
    subprocess.CalledProcessError,
    broker.BrokerError,
    debian.MissingPackagesError,
    suite.SuiteError,
)


class Scenario(NamedTuple):
    """``runs``: in a round. ``packages``: of Debian, besides the usual.

    ``rounds`` and ``seconds`` are what the options do not say. ``backends``: up to how many
    need a core each.
    """

    play: Callable[[stage.Stage], Iterator[results.Run]]
    runs: Callable[[argparse.Namespace], int]
    packages: tuple[str, ...] = ()
    rounds: int = 3
    seconds: int = 0
    backends: int = 1


def fixed(runs: int) -> Callable[[argparse.Namespace], int]:
    return lambda options: runs


SCENARIOS = {
    "pairs": Scenario(singles.pairs, singles.runs_of_pairs, (), 10, 2, 2),
    "singles": Scenario(singles.singles, singles.runs_of_singles),
    "latency": Scenario(latency.latency, latency.runs, (), 10),
    "connections": Scenario(ranges.connections, fixed(6)),
    "bodies": Scenario(ranges.bodies, fixed(14)),
    "users": Scenario(ranges.users, fixed(8)),
    "exchanges": Scenario(ranges.exchanges, fixed(10)),
    "no-keep-alive": Scenario(fronts.no_keep_alive, fixed(3), backends=4),
    "backends": Scenario(fronts.backends, fixed(3), backends=4),
    "tls": Scenario(fronts.tls, fixed(4)),
    "nginx": Scenario(fronts.nginx, fixed(4), ("nginx",)),
    "batches": Scenario(batch.batches, fixed(4)),
    "php": Scenario(
        php.php,
        lambda options: 3 + bool(options.amqproxy),
        ("php-cli", "php-curl", "php-amqplib", "php-amqp"),
    ),
}
USUAL = ["pairs", "singles"]
AROUND = 2  # seconds around each run, and before it the warm-up
START = 20  # seconds until a scenario's broker and gateways are there


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/bench.py", description=__doc__)
    add = parser.add_argument
    add("scenarios", nargs="*", choices=[*SCENARIOS, []], default=[], metavar="SCENARIO",
        help=f"of {', '.join(SCENARIOS)} (default: {' '.join(USUAL)}; or all)")  # fmt: skip
    add("--full", action="store_true", help="longer runs, and every scenario")
    add("--seconds", type=positive,
        help="length of one run (default: 3, or 8 with --full; 2 of pairs)")  # fmt: skip
    add("--warm-up", type=positive, help="seconds before it (default: 1, or 2 with --full)")
    add("--rounds", type=positive,
        help="runs of each point (default: 3; 10 of pairs and latency)")  # fmt: skip
    add("--queue-type", choices=["classic", "quorum"], default="classic",
        help="of the queue that takes the messages (default: %(default)s)")  # fmt: skip
    add("--nodes", type=int, choices=[1, 2, 3], default=1,
        help="of RabbitMQ; the queue's leader is on the one that is published to")  # fmt: skip
    add("--no-pin", action="store_true", help="leave the choice of cores to the kernel")
    add("--compiled", type=Path, default=forms.DEFAULT, metavar="DIRECTORY",
        help="of the compiled form (default: $BENCH_COMPILED or .run/compiled)")  # fmt: skip
    add("--form", choices=forms.NAMES, default="pure",
        help="of statelessd, where a scenario measures one (default: %(default)s)")  # fmt: skip
    add("--suite", help="measure with RabbitMQ and Python of this Debian release, as root")
    add("--json", type=writable, metavar="FILE", help="default: bench/results/<kind>-<date>.json")
    add = parser.add_argument_group("pairs and singles").add_argument
    add("--connections", type=numbers, default=[], metavar="N,N,...",
        help="kept connections of each point (default: 32,256; of singles also 1)")  # fmt: skip
    add("--no-large", dest="large", action="store_false", help="no point with 64 KiB")
    add("--only", type=contenders, default=[],
        metavar="NAME,NAME,...", help=f"of {', '.join(singles.CONTENDERS)}")  # fmt: skip
    add = parser.add_argument_group("php").add_argument
    add("--amqproxy", type=executable, metavar="PATH",
        help="also publish through this program, with php-amqp")  # fmt: skip
    options = parser.parse_args()
    options.warm_up = options.warm_up or (2 if options.full else 1)
    options.scenarios = options.scenarios or (list(SCENARIOS) if options.full else USUAL)
    options.compiled = options.compiled.resolve()
    if options.amqproxy and "php" not in options.scenarios:
        parser.error("--amqproxy is for the scenario php")
    return options


def choose_forms(options: argparse.Namespace) -> None:
    """Let the compiled form take part if it is there, and say so if it is not.

    Raise ValueError if the options ask for it.
    """
    asked = "compiled" in options.only or options.form == "compiled"
    why = forms.missing(options.compiled)
    if why and asked:
        raise ValueError(f'there is no compiled form: {why}; run "make compiled"')
    if why:
        print(f'NO COMPILED FORM is measured: {why}; "make compiled" makes one', flush=True)
    options.only = options.only or [
        name for name in singles.CONTENDERS if not (why and name == "compiled")
    ]


def of_scenario(options: argparse.Namespace, name: str) -> argparse.Namespace:
    """Return the options with those that the scenario has defaults of its own for."""
    scenario = SCENARIOS[name]
    seconds = options.seconds or scenario.seconds or (8 if options.full else 3)
    rounds = options.rounds or scenario.rounds
    return argparse.Namespace(**vars(options) | {"seconds": seconds, "rounds": rounds})


def expected(options: argparse.Namespace) -> float:
    """Return the seconds that all of it takes, about."""
    total = 0.0
    for name in options.scenarios:
        own = of_scenario(options, name)
        each = own.warm_up + own.seconds + AROUND
        total += START + each * own.rounds * SCENARIOS[name].runs(own)
    return total


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
    choose_forms(options)
    contending = {"pairs": singles.PAIRED, "singles": tuple(singles.CONTENDERS)}
    contend = {name for each in options.scenarios for name in contending.get(each, ())}
    for name in gateways.PEERS:
        if name in contend and name in options.only:
            gateways.python_of(name)
    if options.amqproxy:
        php.version(options.amqproxy)


def measure(options: argparse.Namespace) -> results.Document:
    """Play the scenarios, each on a stage of its own.

    A scenario that fails is among ``failures``, and neither the others nor its own runs
    until then are lost.
    """
    hidden = ("json", "scenarios", "amqproxy", "compiled")
    told = {key: value for key, value in vars(options).items() if key not in hidden}
    told = {key: value for key, value in told.items() if value is not None}
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
                own = of_scenario(options, name)
                here = stage.Stage(stack, own, backends=scenario.backends, management=management)
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
        if options.suite and not suite_root.inside():
            return suite_root.run(options.suite, sys.argv[1:])
        prepare(options)
    except FAILURES as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    begun = time.monotonic()
    print(f"this takes about {expected(options) / 60:.0f} minutes", flush=True)
    document = measure(options)
    file = results.write(document, options.json)
    if found := document["medians"]:
        print("", results.text(results.rows(found)), "", sep="\n")
    if judged := list(goals.verdicts(document)):
        print(results.text(goals.rows(judged), left=2))
    took = time.monotonic() - begun
    print(f"\n{document['cores']}\n{took:.0f} s; written to {os.path.relpath(file)}")
    faults = results.faults(document)
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
