"""Compare two results by what was measured side by side in each; a regression fails.

``make bench-compare``: the reference with the newest; ``A=file B=file``: B with A.

Each figure of ours is divided by that of a peer, whose code is the same in both, round by round.
A change is certain if the interval of these ratios (``ratios.py``) in B begins where that in A has
ended. A figure without a peer beside it is shown as it is, but not judged: it may be the machine.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import ratios
import results
from ratios import Ratio
from results import NAMES, OTHERS, PHP_DIRECT, Name, Rounds, groups

FIGURES = {
    "requests_per_second": "requests/s",
    "gateway_us": "gateway us",
    "broker_us": "broker us",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
}
PEERS = (results.RUST, results.PIPELINED, results.OPEN, *PHP_DIRECT)  # the first that is there


@dataclass(frozen=True)
class Change:
    """One figure of one point: ratios to the peer, or the figures if there is no peer."""

    name: Name
    figure: str
    peer: str
    before: Ratio
    after: Ratio

    @property
    def certain(self) -> bool:
        """Tell whether the intervals are known and part."""
        return self.before.high < self.after.low or self.after.high < self.before.low

    @property
    def known(self) -> bool:
        return inf not in (self.before.high, self.after.high)

    @property
    def mark(self) -> str:
        """Return ``-`` if it is certainly worse, and ``+`` if it is certainly better."""
        if not self.certain:
            return " " if self.known else "?"
        more_is_worse = self.figure != results.RATE
        return "-" if (self.after.low > self.before.high) is more_is_worse else "+"

    @property
    def regression(self) -> bool:
        return self.mark == "-" and bool(self.peer)

    @property
    def cell(self) -> str:
        """Return the ratio of B to A, with the least and the most that it may be."""
        before, after = self.before, self.after
        middle = ratios.short(after.middle / before.middle)
        if not self.known:
            return f"{middle}{self.mark}"
        ends = ratios.short(after.low / before.high), ratios.short(after.high / before.low)
        return f"{middle} ({' to '.join(ends)}){self.mark}"

    def __str__(self) -> str:
        beside = f", beside {self.peer}" if self.peer else ""
        return (
            f"{': '.join(self.name)}: {FIGURES[self.figure]}{beside}: {self.before} -> {self.after}"
        )


def changes(a: results.Document, b: results.Document) -> Iterator[Change]:
    """Yield the change of every figure of ours that both have."""
    both = groups(a["runs"]), groups(b["runs"])
    for name in both[0]:
        if name not in both[1] or name[2] in OTHERS:
            continue
        for figure in FIGURES:
            for peer in (*PEERS, ""):
                before, after = (_of(rounds, name, figure, peer) for rounds in both)
                if before and after:
                    yield Change(name, figure, peer, before, after)
                    break


def _of(rounds: Rounds, name: Name, figure: str, peer: str) -> Ratio | None:
    if peer:
        return ratios.between(rounds, name, (*name[:2], peer), figure)
    # Not those that were not to be had, nor zeros, which have no ratio.
    return ratios.of([run[figure] for run in rounds[name] if run.get(figure)])


def table(found: Sequence[Change]) -> str:
    """Return B over A, each with its mark."""
    cells: dict[Name, dict[str, str]] = {}
    for change in found:
        cells.setdefault(change.name, {})[change.figure] = change.cell
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
    found = list(changes(a, b))
    if not found:
        print("they have no point in common")
        return 1
    print("", "B / A", table(found), "", sep="\n")
    worthless = results.faults(a) + results.faults(b)
    for fault in worthless:
        print(f"its figures mean nothing: {fault}")
    judged = [change for change in found if change.peer and change.known]
    if alone := sum(change.mark == "-" and not change.peer for change in found):
        print(f"{alone} figures are worse that had no peer beside them: it may be the machine")
    if len(judged) < len(found):
        print(f"{len(found) - len(judged)} figures are not judged: they have no peer, or fewer "
              f"than {ratios.FEWEST} rounds")  # fmt: skip
    regressions = [change for change in found if change.regression]
    print(f"{len(regressions)} regressions", *regressions, sep="\n")
    return 1 if regressions or worthless else 0 if judged else 2


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
