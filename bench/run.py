"""Every gateway in turn under the same load: ``make bench``, and ``make bench-full``.

``bench/README.md`` says how to read what is printed.
"""

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import goals
import report
import results
import singles
from contenders import CEILING
from stage import FAILURES, positive
from start import end_in_order

# What the full benchmark has besides the table: modules with ``measure(options)``, and
# the minutes that each takes with runs of so many seconds and so many rounds.
SCENARIOS = {"ranges": 30, "fronts": 12, "batch": 1, "latency": 2, "php": 2, "capacity": 2}
SCENARIO_SECONDS, SCENARIO_ROUNDS = 8, 3
AROUND = 4  # seconds around each run


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    add = parser.add_argument
    add("--full", action="store_true", help="longer runs, and the scenarios of the whole range")
    add("--seconds", type=positive, help="length of one run (default: 3, or 8 with --full)")
    add("--warm-up", type=positive, help="seconds before it (default: 1, or 2 with --full)")
    add(
        "--connections",
        type=positives,
        default=[1, 32, 256],
        metavar="N,N,...",
        help="keep-alive connections of each point (default: 1,32,256)",
    )
    add("--no-large", dest="large", action="store_false", help="no point with 64 KiB")
    add("--rounds", type=positive, help="runs of each point (default: 3, or 5 with --full)")
    add(
        "--only",
        type=contenders,
        default=list(singles.ALL),
        metavar="NAME,NAME,...",
        help=f"of {', '.join(singles.ALL)}",
    )
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
    add("--json", type=writable, metavar="FILE", help="default: bench/results/<kind>-<date>.json")
    options = parser.parse_args()
    options.seconds = options.seconds or (8 if options.full else 3)
    options.warm_up = options.warm_up or (2 if options.full else 1)
    options.rounds = options.rounds or (5 if options.full else 3)
    return options


def writable(text: str) -> Path:
    """To be told before it is measured, not after it."""
    file = Path(text)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = not file.exists()
        file.open("a").close()
        if new:
            file.unlink()
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return file


def positives(text: str) -> list[int]:
    return list(dict.fromkeys(positive(part) for part in text.split(",")))


def contenders(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(singles.ALL):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
    return names


def measure_all(options: argparse.Namespace) -> results.Document:
    """The table, then the other scenarios; the document of ``--json``.

    A scenario that fails is among ``failures``, and the others' hour is not lost.
    """
    # Before the first hour of measuring, not after it.
    modules = [importlib.import_module(name) for name in SCENARIOS] if options.full else []
    told = {key: value for key, value in vars(options).items() if key != "json"}
    kind = "full" if options.full else "quick"
    document = results.new(kind, results.command(sys.argv[1:]), told)
    minutes = singles.expected_seconds(options) / 60
    fewer = argparse.Namespace(**vars(options) | {"rounds": min(SCENARIO_ROUNDS, options.rounds)})
    if options.full:
        each = (options.seconds + AROUND) / (SCENARIO_SECONDS + AROUND)
        minutes += sum(SCENARIOS.values()) * each * fewer.rounds / SCENARIO_ROUNDS
    print(f"this takes about {minutes:.0f} minutes", flush=True)
    document |= singles.play(options) | {"failures": []}
    for module in modules:
        print(f"\n{(module.__doc__ or '').splitlines()[0]}", flush=True)
        try:
            document["runs"] += module.measure(fewer)
        except FAILURES as error:
            print(f"bench: {error}", file=sys.stderr, flush=True)
            document["failures"].append(f"{module.__name__} failed: {error}")
    return document


def show(document: results.Document) -> list[str]:
    """The table, the goals; the faults, if any."""
    found = document["medians"]
    table = [run for run in found if run["scenario"] == singles.SCENARIO]
    print("", report.table(report.rows(table, CEILING)), "", sep="\n")
    for goal in goals.goals(found):
        print(goal)
    return results.faults(document)


def main() -> int:
    options = arguments()
    end_in_order()
    try:
        singles.prepare(options)
        begun = time.monotonic()
        document = measure_all(options)
    except FAILURES as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    file = results.write(document, options.json)
    faults = show(document)
    print(f"\n{time.monotonic() - begun:.0f} s; written to {os.path.relpath(file)}")
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
