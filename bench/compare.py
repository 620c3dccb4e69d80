"""Two results held against each other, point by point; a regression beyond the noise fails.

``make bench-compare``: the reference against the newest; ``A=file B=file``: B against A.

The noise of a median comes from the spread of its rounds. Spread: the median absolute
deviation, times 1.4826 (so that it is the standard deviation, were the rounds normal and
many), times n / (n - 1.4) for n rounds (for few lie close to their own median: of three the
figure were half of what it should be), over the median. Three rounds may agree by chance,
so a point's spread is at least the median spread of that figure over all points of both
results. The error of a median of n rounds is 1.2533 x spread / sqrt(n). A ratio of two
medians is beyond the noise when it is off 1 by more than three times both errors together
(the root of their squares), and by 3 % at least; by more than three times where there are
so many figures that one in twenty comparisons would have one beyond it by chance.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import hypot, inf, isinf, sqrt
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import report
import results
from contenders import OTHERS

TO_DEVIATION = 1.4826
OF_MEDIAN = 1.2533
OF_FEW = 1.4
TIMES = 3.0
BY_CHANCE = 0.05
LEAST = 0.03
ROUNDS = 3  # fewer tell nothing of the noise
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
    """One figure of one point: ``before`` and ``after`` are medians.

    ``noise`` is infinite where it is not known. ``machine``: the median ratio of the peers.
    """

    name: tuple[str, str, str]
    figure: str
    before: float
    after: float
    noise: float
    machine: float = 1.0

    @property
    def ratio(self) -> float:
        return self.after / self.before

    @property
    def worse(self) -> bool:
        return self._worse_by(self.ratio) > self.noise

    @property
    def better(self) -> bool:
        return self._worse_by(self.ratio) < -self.noise

    def _worse_by(self, ratio: float) -> float:
        return 1 - ratio if self.figure in MORE_IS_BETTER else ratio - 1

    @property
    def ours(self) -> bool:
        """A peer that became slower is no fault of ours."""
        return self.name[2] not in OTHERS

    @property
    def regression(self) -> bool:
        """Nor is what they all became slower by."""
        return self.ours and self.worse and self._worse_by(self.ratio / self.machine) > self.noise

    def __str__(self) -> str:
        return (
            f"{': '.join(self.name)}: {FIGURES[self.figure]} {self.before:,.2f} -> "
            f"{self.after:,.2f}, {self.ratio:.2f} times, the noise is {self.noise:.0%}"
        )


def spread(values: Sequence[float]) -> float:
    """Relative, as above; 0 for too few values."""
    rounds, middle = len(values), median(values)
    if rounds < ROUNDS:
        return 0.0
    deviation = TO_DEVIATION * median(abs(value - middle) for value in values)
    return deviation * rounds / (rounds - OF_FEW) / middle


def changes(a: results.Document, b: results.Document) -> list[Change]:
    """Of every figure that both have."""
    rounds_a, rounds_b = report.groups(a["runs"]), report.groups(b["runs"])
    common = [name for name in rounds_a if name in rounds_b]
    judged = sum(name[2] not in OTHERS for name in common) * len(FIGURES)
    times = max(TIMES, NormalDist().inv_cdf(1 - BY_CHANCE / max(judged, 1)))
    found: list[Change] = []
    for figure in FIGURES:
        pairs = {
            name: (_values(rounds_a[name], figure), _values(rounds_b[name], figure))
            for name in common
        }
        pairs = {name: both for name, both in pairs.items() if all(both)}
        usual = _usual_spread([both[0] for both in pairs.values()],
                              [both[1] for both in pairs.values()])  # fmt: skip
        medians = {name: (median(one), median(other)) for name, (one, other) in pairs.items()}
        peers = [after / before for name, (before, after) in medians.items() if name[2] in OTHERS]
        machine = median(peers) if peers else 1.0
        for name, both in pairs.items():
            errors = [OF_MEDIAN * max(spread(each), usual) / sqrt(len(each)) for each in both]
            noise = max(LEAST, times * hypot(*errors))
            found.append(Change(name, figure, *medians[name], noise, machine))
    return found


def _usual_spread(*sides: Sequence[Sequence[float]]) -> float:
    """Of one figure, over all points; infinite where a side has too few rounds to tell."""
    enough = [[spread(values) for values in side if len(values) >= ROUNDS] for side in sides]
    return median(chain(*enough)) if all(enough) else inf


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
        moved = [each.machine for each in found if each.figure == figure and not each.ours]
        if moved:
            yield f"{name} {moved[0]:.2f}"


def remarks(a: results.Document, b: results.Document) -> Iterator[str]:
    """What else to know before the figures are believed."""
    for of in ("machine", "versions", "options"):
        yield from differences(a.get(of, {}), b.get(of, {}), of)
    points = [set(report.groups(each["runs"])) for each in (a, b)]
    for letter, alone in (("A", points[0] - points[1]), ("B", points[1] - points[0])):
        if alone:
            yield f"only {letter} has {len(alone)} of its points"


def compare(a: results.Document, b: results.Document) -> int:
    """Print everything; the exit status."""
    for letter, document in (("A", a), ("B", b)):
        print(f"{letter}: {document['date']}, commit {document['commit']}, {document['command']}")
    for remark in remarks(a, b):
        print(remark)
    found = changes(a, b)
    if not found:
        print("they have no point in common")
        return 1
    print("", "B / A", table(found), "", sep="\n")
    if moved := ", ".join(control(found)):
        print(f"the peers, whose code is the same, moved by (median): {moved}")
    worthless = results.faults(a) + results.faults(b)
    for fault in worthless:
        print(f"its figures mean nothing: {fault}")
    if any(isinf(change.noise) for change in found):
        print(
            f"A or B has fewer than {ROUNDS} rounds: the noise is not known, so nothing is judged"
        )
        return 2
    regressions = [change for change in found if change.regression]
    excused = sum(change.ours and change.worse for change in found) - len(regressions)
    if excused:
        print(f"{excused} figures are worse, but not beside the peers: look at the machine")
    print(f"{len(regressions)} regressions beyond the noise")
    for change in regressions:
        print(change)
    return 1 if regressions or worthless else 0


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
