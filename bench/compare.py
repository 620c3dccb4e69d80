"""Compare two results point by point; a regression beyond the noise fails.

``make bench-compare``: the reference with the newest; ``A=file B=file``: B with A.

The noise of a median comes from the spread of its rounds. Spread: the median absolute
deviation, times 1.4826 (so that it is the standard deviation, were the rounds normal and
many), times n / (n - 1.4) for n rounds (few rounds lie close to their own median: three would
give half of what it should be), over the median. Three rounds may agree by chance, so a
point's spread is at least the median spread of that figure over all points of both results.
The error of a median of n rounds is 1.2533 x spread / sqrt(n). A ratio of two medians is
beyond the noise when it is off 1 by more than three times both errors together (the root of
their squares), and by 3 % at least. It is more than three times where there are so many
figures that one in twenty comparisons would have one beyond it by chance.
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

import results
from results import NAMES, OTHERS, groups

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


@dataclass(frozen=True)
class Change:
    """One figure of one point: ``before`` and ``after`` are medians.

    ``noise`` is infinite where it is not known. ``machine``: the median ratio of the peers,
    whose code is the same.
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
    def mark(self) -> str:
        """Return ``-`` if it is worse beyond the noise, and ``+`` if it is better."""
        by = self._worse_by(self.ratio)
        return "-" if by > self.noise else "+" if by < -self.noise else " "

    def _worse_by(self, ratio: float) -> float:
        return 1 - ratio if self.figure == "requests_per_second" else ratio - 1

    @property
    def ours(self) -> bool:
        return self.name[2] not in OTHERS

    @property
    def regression(self) -> bool:
        """Tell whether one of ours is worse, and by more than all peers became worse by."""
        beside_the_peers = self._worse_by(self.ratio / self.machine)
        return self.ours and self.mark == "-" and beside_the_peers > self.noise

    def __str__(self) -> str:
        return (
            f"{': '.join(self.name)}: {FIGURES[self.figure]} {self.before:,.2f} -> "
            f"{self.after:,.2f}, {self.ratio:.2f} times, the noise is {self.noise:.0%}"
        )


def spread(values: Sequence[float]) -> float:
    """Return the relative spread; 0 for too few values."""
    rounds, middle = len(values), median(values)
    if rounds < ROUNDS:
        return 0.0
    deviation = TO_DEVIATION * median(abs(value - middle) for value in values)
    return deviation * rounds / (rounds - OF_FEW) / middle


def changes(a: results.Document, b: results.Document) -> list[Change]:
    """Return the change of every figure that both have."""
    rounds_a, rounds_b = groups(a["runs"]), groups(b["runs"])
    common = [name for name in rounds_a if name in rounds_b]
    judged = sum(name[2] not in OTHERS for name in common) * len(FIGURES)
    times = max(TIMES, NormalDist().inv_cdf(1 - BY_CHANCE / max(judged, 1)))
    found: list[Change] = []
    for figure in FIGURES:
        pairs = {}
        for name in common:
            # Not those that were not to be had, nor zeros, which have no ratio.
            both = [[run[figure] for run in rounds[name] if run.get(figure)]
                    for rounds in (rounds_a, rounds_b)]  # fmt: skip
            if all(both):
                pairs[name] = both
        # Infinite where a side has too few rounds to tell.
        enough = [[spread(both[side]) for both in pairs.values() if len(both[side]) >= ROUNDS]
                  for side in (0, 1)]  # fmt: skip
        usual = median(chain(*enough)) if all(enough) else inf
        medians = {name: (median(both[0]), median(both[1])) for name, both in pairs.items()}
        peers = [after / before for name, (before, after) in medians.items() if name[2] in OTHERS]
        machine = median(peers) if peers else 1.0
        for name, both in pairs.items():
            errors = [OF_MEDIAN * max(spread(each), usual) / sqrt(len(each)) for each in both]
            noise = max(LEAST, times * hypot(*errors))
            found.append(Change(name, figure, *medians[name], noise, machine))
    return found


def table(found: Sequence[Change]) -> str:
    """Return the ratios, B to A, each with its mark."""
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for change in found:
        cells.setdefault(change.name, {})[change.figure] = f"{change.ratio:.2f}{change.mark}"
    rows = [(*NAMES, *(f"{name} " for name in FIGURES.values()))]
    rows += [(*name, *(row.get(key, "") for key in FIGURES)) for name, row in cells.items()]
    return results.text(rows)


def remarks(a: results.Document, b: results.Document) -> Iterator[str]:
    """Return what else to know before the figures are believed."""
    for of in ("machine", "versions", "options"):
        yield from _differences(a[of], b[of], of)
    points = [set(groups(each["runs"])) for each in (a, b)]
    for letter, alone in (("A", points[0] - points[1]), ("B", points[1] - points[0])):
        if alone:
            yield f"only {letter} has {len(alone)} of its points"


def _differences(a: dict[str, Any], b: dict[str, Any], of: str) -> Iterator[str]:
    for key in sorted(a.keys() | b.keys()):
        one, other = a.get(key), b.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{of} {key}")
        elif one != other and not isinstance(one or other, dict):  # what only one has measured
            yield f"{of} {key} differs: {one} | {other}"


def compare(a: results.Document, b: results.Document) -> int:
    """Print everything, and return the exit status."""
    for letter, document in (("A", a), ("B", b)):
        print(f"{letter}: {document['date']}, commit {document['commit']}, {document['command']}")
    print(*remarks(a, b), sep="\n")
    found = changes(a, b)
    if not found:
        print("they have no point in common")
        return 1
    print("", "B / A", table(found), "", sep="\n")
    peers = {FIGURES[each.figure]: each.machine for each in found if not each.ours}
    if peers:
        moved = ", ".join(f"{name} {ratio:.2f}" for name, ratio in peers.items())
        print(f"the peers, whose code is the same, moved by (median): {moved}")
    worthless = results.faults(a) + results.faults(b)
    for fault in worthless:
        print(f"its figures mean nothing: {fault}")
    if any(isinf(change.noise) for change in found):
        print(f"A or B has fewer than {ROUNDS} rounds: the noise is unknown, nothing is judged")
        return 2
    regressions = [change for change in found if change.regression]
    excused = sum(change.ours and change.mark == "-" for change in found) - len(regressions)
    if excused:
        print(f"{excused} figures are worse, but not beside the peers: look at the machine")
    print(f"{len(regressions)} regressions beyond the noise", *regressions, sep="\n")
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
