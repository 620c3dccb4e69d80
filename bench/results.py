"""The document of a benchmark: what it was measured with, its runs, and where it is kept."""

import datetime as dt
import json
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environment
import report

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
REFERENCE = RESULTS / "reference.json"

Document = dict[str, Any]
PARTS = {"command", "commit", "date", "machine", "medians", "options", "runs", "versions"}


def new(kind: str, command: str, options: dict[str, Any]) -> Document:
    """Begin a document: when, where, of which commit."""
    return {
        "kind": kind,
        "command": command,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": environment.machine(),
        "load_average": round(os.getloadavg()[0], 2),
        "options": options,
        "runs": [],
    }


def command(given: Sequence[str]) -> str:
    """As one would give it to make."""
    target = "bench-full" if "--full" in given else "bench"
    others = shlex.join(each for each in given if each != "--full")
    others = re.sub(r" ?--json[ =]\S+", "", others)  # where it was written matters to nobody
    return f'make {target} BENCH="{others.strip()}"' if others else f"make {target}"


def commit() -> str:
    """The checkout's, with ``+`` when files differ from it; empty without git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD").strip()
        return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def write(document: Document, file: Path | None = None) -> Path:
    """Add the medians and write it, into ``bench/results`` unless told otherwise."""
    date = document["date"].partition("+")[0].replace(":", "")
    file = file or RESULTS / f"{document['kind']}-{date}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    document["medians"] = report.medians(document["runs"])
    file.write_text(json.dumps(document, indent=1) + "\n")
    return file


def read(file: Path) -> Document:
    """Raises OSError, and ValueError when it holds something else."""
    try:
        document = json.loads(file.read_text())
    except ValueError:
        document = None
    if not isinstance(document, dict) or not document.keys() >= PARTS:
        raise ValueError(f"{file} is no result of make bench")
    return document


def faults(document: Document) -> list[str]:
    """What failed, and of the runs what makes them worthless."""
    return [*document.get("failures", []), *report.faults_of(document["runs"])]


def newest() -> Path:
    """The last one that was measured here. Raises FileNotFoundError."""
    found = [file for file in RESULTS.glob("*.json") if file != REFERENCE]
    if not found:
        raise FileNotFoundError(f"no results in {RESULTS}: run make bench")
    return max(found, key=lambda file: file.stat().st_mtime)
