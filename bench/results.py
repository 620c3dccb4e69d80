"""The figures of a run, their medians and faults, and the document that keeps them."""

import datetime as dt
import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from load import Load

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
REFERENCE = RESULTS / "reference.json"

Document = dict[str, Any]
PARTS = {"command", "commit", "date", "machine", "medians", "options", "runs", "versions"}
Run = dict[str, Any]
"""``scenario``, ``point`` and ``gateway`` name it; figures that are None were not to be had."""
DISTRIBUTIONS = ("statelessd", "uvloop", "httptools", "pamqp")  # what its speed depends on
NAMES = ("scenario", "point", "gateway")
Name = tuple[str, str, str]
"""The three of a run."""
Rounds = dict[Name, list[Run]]
OWN, BROKER, RATE = "gateway_us", "broker_us", "requests_per_second"

OURS = "statelessd"  # the pure form, unless an option says otherwise
COMPILED = "statelessd, compiled"
TWO_BACKENDS = "2 backends"
RUST = "mq-bridge-basic"
FASTAPI = "FastAPI + aio-pika"
MANAGEMENT = "management API"
PIPELINED = "pipelined AMQP"
OPEN = "AMQP, open connection"
PHP_DIRECT = ("php-amqplib", "php-amqp")
AMQPROXY = "amqproxy"
# A change of theirs does not come from our code.
OTHERS = {RUST, FASTAPI, MANAGEMENT, PIPELINED, OPEN, AMQPROXY, *PHP_DIRECT}

# In the environment of what runs in a Debian release's root, which has no git.
COMMIT = "BENCH_COMMIT"

# Of these a median would hide a fault.
COUNTS = frozenset({"confirmed", "non_204", "socket_errors", "lost", "surplus", "found"})


def run(
    names: tuple[str, str, str],
    connections: int,
    load: Load,
    cpu: dict[str, float],
    resident: int | None,
    found: int,
) -> Run:
    """Turn one run's measurements into its figures: ``cpu`` in seconds, ``resident`` in bytes.

    wrk leaves when its time is over, with up to one request on each connection unanswered.
    Their messages may be in the queue or not: only what is missing from the answers of
    success is lost, and only what exceeds both is surplus.
    """
    lost = max(0, load.confirmed - found)
    surplus = max(0, found - load.requests - connections)
    counts = {
        "answers of no success": load.non_204,
        "socket errors": load.socket_errors,
        "confirmed messages that are not in the queue": lost,
        "messages in the queue that nobody asked for": surplus,
        "runs without any answer": int(not load.confirmed),
    }
    return {
        **dict(zip(NAMES, names, strict=True)),
        **asdict(load),
        "connections": connections,
        "requests_per_second": load.confirmed / load.seconds,
        "gateway_us": None,
        **{key: value / max(load.requests, 1) * 1e6 for key, value in cpu.items()},
        "resident_mib": None if resident is None else resident / 2**20,
        "lost": lost,
        "surplus": surplus,
        "found": found,
        "faults": [
            f"{', '.join(names)}: {count} {what}" for what, count in counts.items() if count
        ],
    }


def groups(runs: Sequence[Run]) -> Rounds:
    """Return the rounds of each point and gateway, in order of appearance."""
    found: Rounds = {}
    for each in runs:
        found.setdefault((each["scenario"], each["point"], each["gateway"]), []).append(each)
    return found


def medians(runs: Sequence[Run]) -> list[Run]:
    """Return the medians of the figures of each point and gateway, and the sums of its counts."""
    return [_median(rounds) for rounds in groups(runs).values()]


def _median(rounds: Sequence[Run]) -> Run:
    result: Run = dict(rounds[0]) | {"rounds": len(rounds)}
    for key, value in rounds[0].items():
        values = [each[key] for each in rounds if each.get(key) is not None]
        if key in COUNTS:
            result[key] = sum(values)
        elif key == "faults":
            result[key] = [fault for faults in values for fault in faults]
        elif key not in NAMES and isinstance(value, int | float):
            result[key] = median(values)
    return result


# Heading, key and digits of each column that tables have where there are such figures.
COLUMNS = (
    ("requests/s", "requests_per_second", 0),
    ("of pipelined", "share", 0),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
    ("gateway us", "gateway_us", 1),
    ("broker us", "broker_us", 1),
    ("nginx us", "nginx_us", 1),
    ("MiB", "resident_mib", 1),
    ("lost", "lost", 0),
)


def rows(medians: Sequence[Run], names: Sequence[str] = NAMES) -> list[tuple[str, ...]]:
    """Return the headings and cells of a table, without columns that have no figure."""
    rates = {
        (each["scenario"], each["point"], each["gateway"]): each["requests_per_second"]
        for each in medians
    }
    cells = []
    for each in medians:
        plain = rates.get((each["scenario"], each["point"], PIPELINED))
        figures = each | {"share": 100 * each["requests_per_second"] / plain if plain else None}
        cells.append([_figure(figures.get(key), digits) for _, key, digits in COLUMNS])
    shown = [at for at in range(len(COLUMNS)) if any(row[at] for row in cells)]
    head = (*names, *(COLUMNS[at][0] for at in shown))
    return [head] + [
        (*(each[name] for name in names), *(row[at] for at in shown))
        for each, row in zip(medians, cells, strict=True)
    ]


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def text(rows: Sequence[Sequence[str]], left: int = len(NAMES)) -> str:
    """Align a table: the first ``left`` columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    )


def line(run: Run) -> str:
    """Return what is printed of a run when it has ended."""
    [headings, cells] = rows([run])
    figures = [f"{heading} {cell}" for heading, cell in zip(headings, cells, strict=True)][3:]
    return "; ".join([", ".join((*cells[:3], *figures)), *run["faults"]])


def new(kind: str, command: str, options: dict[str, Any]) -> Document:
    """Begin a document: when, where, of which commit."""
    return {
        "kind": kind,
        "command": command,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "cores": "",
        "load_average": round(os.getloadavg()[0], 2),
        "options": options,
        "versions": {
            "statelessd": {"python": platform.python_version()}
            | {name: metadata.version(name) for name in DISTRIBUTIONS}
        },
        "runs": [],
        "failures": [],
    }


def command(given: Sequence[str]) -> str:
    """Return the command with which one would give these options to make."""
    target = "bench-full" if "--full" in given else "bench"
    others = shlex.join(each for each in given if each != "--full")
    others = re.sub(r" ?--json[ =]\S+", "", others)  # where it was written matters to nobody
    others = re.sub(r" ?--compiled[ =]\S+", "", others)  # so is that
    others = re.sub(r"(--amqproxy)[ =]\S+", r"\1 PATH", others)
    return f'make {target} BENCH="{others.strip()}"' if others else f"make {target}"


def commit() -> str:
    """Return the checkout's commit, with ``+`` if files differ from it; empty without git."""
    if (known := os.environ.get(COMMIT)) is not None:
        return known
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def machine() -> dict[str, str | int]:
    """Return the cores this program may use, memory in MiB, the processor's name, the kernel."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Not every architecture has the name.
    names = re.findall(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": memory // 2**20,
        "cpu": names[0] if names else platform.machine(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def write(document: Document, file: Path | None = None) -> Path:
    """Add the medians and write it, into ``bench/results`` unless told otherwise."""
    date = document["date"].partition("+")[0].replace(":", "")
    file = file or RESULTS / f"{document['kind']}-{date}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    document["medians"] = medians(document["runs"])
    file.write_text(json.dumps(document, indent=1) + "\n")
    return file


def read(file: Path) -> Document:
    """Read a result. Raise OSError, and ValueError when the file holds something else."""
    try:
        document = json.loads(file.read_text())
    except ValueError:
        document = None
    if not isinstance(document, dict) or not document.keys() >= PARTS:
        raise ValueError(f"{file} is not a result of make bench")
    return document


def faults(document: Document) -> list[str]:
    """Return what failed, and what makes the figures of runs worthless."""
    return [*document["failures"], *(f for each in document["runs"] for f in each["faults"])]


def references() -> list[Path]:
    """Return the results that the page of figures is made from, the main one first."""
    return [REFERENCE, *sorted(RESULTS.glob("reference-*.json"))]


def newest() -> Path:
    """Return the last result that was measured here. Raise FileNotFoundError."""
    found = [file for file in RESULTS.glob("*.json") if file not in references()]
    if not found:
        raise FileNotFoundError(f"no results in {RESULTS}: run make bench")
    return max(found, key=lambda file: file.stat().st_mtime)
