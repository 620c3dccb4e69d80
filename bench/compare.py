"""Two results held against each other, point by point; a regression beyond the noise fails.

``make bench-compare``: the reference against the newest; ``A=file B=file``: B against A.

The noise of a median comes from the spread of its rounds. Spread: the median absolute
deviation, times 1.4826 (so that it is the standard deviation, were the rounds normal),
over the median. Three rounds may agree by chance, so a point's spread is at least the
median spread of that figure over all points of both results. The error of a median of n
rounds is 1.2533 x spread / sqrt(n). A ratio of two medians is beyond the noise when it is
off 1 by more than three times both errors together (the root of their squares), and by
3 % at least.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from pathlib import Path
from statistics import median
from typing import Any

import report
import results
from contenders import OTHERS

TO_DEVIATION = 1.4826
OF_MEDIAN = 1.2533
TIMES = 3.0
LEAST = 0.03
FIGURES = {
    "requests_per_second": "requests/s",
    "gateway_us": "gateway us",
    "broker_us": "broker us",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
}
MORE_IS_BETTER = {"requests_per_second"}


@dataclass(frozen=True)
class Change:
    """One figure of one point: ``before`` and ``after`` are medians."""

    name: tuple[str, str, str]
    figure: str
    before: float
    after: float
    noise: float

    @property
    def ratio(self) -> float:
        return self.after / self.before

    @property
    def worse(self) -> bool:
        off = 1 - self.ratio if self.figure in MORE_IS_BETTER else self.ratio - 1
        return off > self.noise

    @property
    def better(self) -> bool:
        off = self.ratio - 1 if self.figure in MORE_IS_BETTER else 1 - self.ratio
        return off > self.noise

    @property
    def regression(self) -> bool:
        """A peer that became slower is no fault of ours."""
        return self.worse and self.name[2] not in OTHERS

    def __str__(self) -> str:
        return (
            f"{': '.join(self.name)}: {FIGURES[self.figure]} {self.before:,.2f} -> "
            f"{self.after:,.2f}, {self.ratio:.2f} times, the noise is {self.noise:.0%}"
        )


def spread(values: Sequence[float]) -> float:
    """Relative, as above; 0 for a single value."""
    middle = median(values)
    return TO_DEVIATION * median(abs(value - middle) for value in values) / middle


def changes(a: results.Document, b: results.Document) -> list[Change]:
    """Of every figure that both have."""
    rounds_a, rounds_b = report.groups(a["runs"]), report.groups(b["runs"])
    found = []
    for figure in FIGURES:
        pairs = {
            name: (_values(rounds_a[name], figure), _values(rounds_b[name], figure))
            for name in rounds_a
            if name in rounds_b
        }
        pairs = {name: both for name, both in pairs.items() if all(both)}
        spreads = [spread(values) for both in pairs.values() for values in both if len(values) > 2]
        usual = median(spreads) if spreads else 0.0
        for name, both in pairs.items():
            errors = [OF_MEDIAN * max(spread(each), usual) / sqrt(len(each)) for each in both]
            noise = max(LEAST, TIMES * hypot(*errors))
            found.append(Change(name, figure, median(both[0]), median(both[1]), noise))
    return found


def _values(rounds: Sequence[report.Run], figure: str) -> list[float]:
    """Not those that were not to be had, nor zeros, which have no ratio."""
    return [run[figure] for run in rounds if run.get(figure)]


def differences(a: dict[str, Any], b: dict[str, Any], of: str) -> Iterator[str]:
    """A line for each entry that is not the same in both, of those that both measured."""
    for key in sorted(a.keys() | b.keys()):
        one, other = a.get(key), b.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from differences(one, other, f"{of} {key}")
        elif one != other and not isinstance(one or other, dict):
            yield f"{of} {key} differs: {one} | {other}"


def table(found: Sequence[Change]) -> str:
    """Ratios, B to A: ``-`` behind those that are worse beyond the noise, ``+`` better."""
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for change in found:
        mark = "-" if change.worse else "+" if change.better else " "
        cells.setdefault(change.name, {})[change.figure] = f"{change.ratio:.2f}{mark}"
    rows = [(*report.NAMES, *(f"{name} " for name in FIGURES.values()))]
    rows += [(*name, *(row.get(key, "") for key in FIGURES)) for name, row in cells.items()]
    return report.table(rows, left=3)


def control(found: Sequence[Change]) -> Iterator[str]:
    """How the peers moved: if they all did, it was the machine."""
    for figure, name in FIGURES.items():
        ratios = [
            change.ratio for change in found if change.figure == figure and change.name[2] in OTHERS
        ]
        if ratios:
            yield f"{name} {median(ratios):.2f}"


def compare(a: results.Document, b: results.Document) -> int:
    """Print everything; the exit status."""
    for letter, document in (("A", a), ("B", b)):
        print(f"{letter}: {document['date']}, commit {document['commit']}, {document['command']}")
    for of in ("machine", "versions"):
        for line in differences(a.get(of, {}), b.get(of, {}), of):
            print(line)
    found = changes(a, b)
    if not found:
        print("they have no point in common")
        return 1
    print("", "B / A", table(found), "", sep="\n")
    if moved := ", ".join(control(found)):
        print(f"the peers, whose code is the same, moved by (median): {moved}")
    regressions = [change for change in found if change.regression]
    print(f"{len(regressions)} regressions beyond the noise")
    for change in regressions:
        print(change)
    return 1 if regressions else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/compare.py", description=__doc__)
    parser.add_argument("a", type=Path, nargs="?", help="default: bench/results/reference.json")
    parser.add_argument("b", type=Path, nargs="?", help="default: the newest in bench/results")
    options = parser.parse_args()
    try:
        a = results.read(options.a or results.REFERENCE)
        b = results.read(options.b or results.newest())
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return compare(a, b)


if __name__ == "__main__":
    sys.exit(main())
