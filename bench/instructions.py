"""Instructions for each publish, counted by callgrind over ``hotpath.py``.

instructions.py [--publishes N] [--all] [--keep] [--form compiled]

They do not mind what else the machine does, as microseconds do; the counters of ``perf stat``
would be quicker, but few virtual machines have them. ``--keep`` writes the figures to
``instructions.json``, by which ``tests/integration/test_hot_path.py`` judges. Both forms are
counted, if ``make compiled`` has made the compiled one.
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

import forms
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


def count(scenarios: Sequence[str], publishes: int, form: str = "pure") -> Counts:
    """Count the instructions of scenarios. Raise RuntimeError if valgrind fails or is missing."""
    source = forms.DEFAULT if form == "compiled" else forms.PURE
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "part"
        command = [
            *("valgrind", "--tool=callgrind", "--instr-atstart=no"),
            *(f"--dump-before={MARK}", f"--callgrind-out-file={out}"),
            *(sys.executable, str(BENCH / "hotpath.py"), "--count", "--publishes", str(publishes)),
            *(f"--scenario={name}" for name in scenarios),
        ]
        # The order of a set, and so the work to find something in it, is the same each time.
        environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(source)}
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


def name_of(form: str) -> str:
    """Return the name of this Python's figures of a form."""
    return PYTHON if form == "pure" else f"{PYTHON} {form}"


def agreed(form: str = "pure") -> dict[str, float]:
    """Return the figures of this Python and form.

    Without its own, a form has the largest of all other Pythons. The compiled form without any has
    those of the pure one: it may not cost more.
    """
    figures = kept()
    if name_of(form) in figures:
        known = [figures[name_of(form)]]
    else:
        known = [each for name, each in figures.items() if ("compiled" in name) is (form != "pure")]
    if not known:
        return agreed()
    return {name: max(each[name] for each in known) for name in GUARDED}


def keep(counts: Counts, form: str) -> None:
    """Keep these counts as the figures of this Python and form."""
    figures = {name: round(counts.ratio(name), 3) for name in GUARDED}
    KEPT.write_text(json.dumps(kept() | {name_of(form): figures}, indent=2, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publishes", type=int, default=2048)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--all", action="store_true", help="all scenarios, not the guarded alone")
    parser.add_argument("--form", choices=forms.NAMES, help="default: all that are there")
    options = parser.parse_args()
    scenarios = tuple(hotpath.SCENARIOS) if options.all else GUARDED
    for form in [options.form] if options.form else forms.there():
        counts = count(scenarios, options.publishes, form)
        print(f"{form}: reference {counts.reference:,.0f}")
        for name, instructions in counts.publishes.items():
            print(f"{name:22} {instructions:9,.0f}  ratio {counts.ratio(name):.3f}")
        if options.keep:
            keep(counts, form)


if __name__ == "__main__":
    main()
