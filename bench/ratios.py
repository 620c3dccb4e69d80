"""Ratios of runs that were measured side by side, each with an interval.

A round measures every gateway of a point once, so two of its runs are a pair. A ratio is the
median of the pairs' ratios. Its interval reaches from the k-th smallest to the k-th largest of
them, so it assumes nothing of how they are spread. Each pair is above the true median as often
as below it. So the chance that the interval misses that is twice the chance of fewer than k
heads among as many coins (David and Nagaraja, Order Statistics, 7.1).
"""

from collections.abc import Sequence
from math import comb, inf
from statistics import median
from typing import NamedTuple

from results import OWN, RATE, Name, Rounds

MISSES = 0.05  # the share of intervals, at most, without the true median
CORES = "cores"  # that one gateway needs to publish as much as the other one did


class Ratio(NamedTuple):
    """A median and its interval, which is 0 to infinity where there are too few values."""

    middle: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        if self.high == inf:
            return f"{short(self.middle)} ({self.rounds} of {FEWEST} rounds)"
        return f"{short(self.middle)} ({short(self.low)} to {short(self.high)})"


def short(value: float) -> str:
    """Return a ratio with as many digits as mean something."""
    if value < 0.095:
        return f"{value:.1g}"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def rank(count: int) -> int:
    """Return which of so many values, from either end, is the interval's; 0 if none is."""
    found, fewer = 0, 1
    while 2 * fewer <= MISSES * 2**count:
        found += 1
        fewer += comb(count, found)
    return found


FEWEST = next(count for count in range(1, 100) if rank(count))


def of(values: Sequence[float]) -> Ratio | None:
    """Return the median of the values with its interval; None if there are no values."""
    if not values:
        return None
    ordered, at = sorted(values), rank(len(values))
    low, high = (ordered[at - 1], ordered[-at]) if at else (0.0, inf)
    return Ratio(median(ordered), low, high, len(ordered))


def pairs(rounds: Rounds, one: Name, other: Name, figure: str) -> list[float]:
    """Return the ratio of each pair that has the figure, one gateway's to the other's."""
    found = []
    for above, below in zip(rounds.get(one, ()), rounds.get(other, ()), strict=False):
        if figure == CORES:  # the time between two messages of the other one
            value, unit = above[OWN], 1e6 / max(below[RATE], 1)
        else:
            value, unit = above.get(figure), below.get(figure)
        if value and unit:
            found.append(value / unit)
    return found


def between(rounds: Rounds, one: Name, other: Name, figure: str) -> Ratio | None:
    """Return the ratio of one gateway or point to another; None if no round has both."""
    return of(pairs(rounds, one, other, figure))
