"""Instructions for each publish, counted by callgrind over ``hotpath.py``.

instructions.py [--publishes N] [--all] [--keep]

They do not mind what else the machine does, as microseconds do; the counters of ``perf stat``
would be quicker, but few virtual machines have them. ``--keep`` writes the figures to
``instructions.json``, by which ``tests/integration/test_hot_path.py`` judges.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hotpath

BENCH = Path(__file__).parent
KEPT = BENCH / "instructions.json"
MARK = "getppid"  # what hotpath.py calls between one thing and the next
GUARDED = ("form, 32 at a time", "heads never seen", "a connection for each")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Counts:
    """``reference``: instructions for one turn of the reference loop; the others by scenario."""

    reference: float
    publishes: dict[str, float]

    def ratio(self, scenario: str) -> float:
        """Return how many turns of the reference loop a publish costs."""
        return self.publishes[scenario] / self.reference


def count(scenarios: Sequence[str], publishes: int) -> Counts:
    """Count the instructions of scenarios. Raise RuntimeError if valgrind fails or is missing."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "part"
        command = [
            *("valgrind", "--tool=callgrind", "--instr-atstart=no"),
            *(f"--dump-before={MARK}", f"--callgrind-out-file={out}"),
            *(sys.executable, str(BENCH / "hotpath.py"), "--count", "--publishes", str(publishes)),
            *(f"--scenario={name}" for name in scenarios),
        ]
        # The order of a set, and so the work to find something in it, is the same each time.
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        try:
            subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        except FileNotFoundError as error:
            raise RuntimeError("there is no valgrind: apt-get install valgrind") from error
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"valgrind failed: {error.stderr[-2000:]}") from error
        # Parts are what came before each mark: the start, the reference, and then in turn
        # making a scenario ready and its publishes.
        parts = [_total(Path(f"{out}.{number + 1}")) for number in range(2 + 2 * len(scenarios))]
    return Counts(
        parts[1] / (publishes // 4),
        {name: parts[3 + 2 * at] / publishes for at, name in enumerate(scenarios)},
    )


def _total(part: Path) -> int:
    found = re.search(r"^totals: (\d+)", part.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"callgrind wrote no total to {part.name}")
    return int(found[1])


def kept() -> dict[str, dict[str, float]]:
    """Return the figures that are kept, by Python's minor version and scenario."""
    figures: dict[str, dict[str, float]] = json.loads(KEPT.read_text())
    return figures


def agreed() -> dict[str, float]:
    """Return the figures of this Python, or the largest of all others if it has none."""
    figures = kept()
    known = [figures[PYTHON]] if PYTHON in figures else list(figures.values())
    return {name: max(each[name] for each in known) for name in GUARDED}


def keep(counts: Counts) -> None:
    """Keep these counts as the figures of this Python."""
    figures = {name: round(counts.ratio(name), 3) for name in GUARDED}
    KEPT.write_text(json.dumps(kept() | {PYTHON: figures}, indent=2, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publishes", type=int, default=2048)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--all", action="store_true", help="all scenarios, not the guarded alone")
    options = parser.parse_args()
    scenarios = tuple(hotpath.SCENARIOS) if options.all else GUARDED
    counts = count(scenarios, options.publishes)
    print(f"reference {counts.reference:,.0f}")
    for name, instructions in counts.publishes.items():
        print(f"{name:22} {instructions:9,.0f}  ratio {counts.ratio(name):.3f}")
    if options.keep:
        keep(counts)


if __name__ == "__main__":
    main()
