"""Histograms of durations. Counting one is two integer additions, for the hot path."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

BUCKETS: Final = 65  # for any number of 64 bits, because checking a bound would cost more
FIRST = 17  # the first bound that is shown: 2**17 ns, 131 microseconds
LAST = 36  # and the last: 2**36 ns, 69 seconds
PARTS: Final = 8  # of an octave, in a FineHistogram


class Histogram:
    """Counts durations by octave: ``counts[n]`` has those from 2**(n-1) to 2**n nanoseconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sum = 0  # nanoseconds

    def observe(self, nanoseconds: int) -> None:
        """Count a duration."""
        counts, octave = self.counts, nanoseconds.bit_length()
        counts[octave] = counts[octave] + 1
        self.sum += nanoseconds

    def cumulative(self) -> list[int]:
        """Return how many durations are below each of BOUNDS, and then the count of all."""
        below = list(accumulate(self.octaves()))
        return [*below[FIRST : LAST + 1], below[-1]]

    def octaves(self) -> Sequence[int]:
        """Return how many are below each power of two, and not below half of it."""
        return self.counts


class FineHistogram(Histogram):
    """Counts durations by eighths of an octave, for percentiles."""

    __slots__ = ()

    def __init__(self) -> None:
        self.counts = [0] * (PARTS * (BUCKETS + 1))
        self.sum = 0  # nanoseconds

    def observe(self, nanoseconds: int) -> None:
        """Count a duration."""
        counts, octave = self.counts, nanoseconds.bit_length()
        part = (octave << 3) + (nanoseconds << 4 >> octave)
        counts[part] = counts[part] + 1
        self.sum += nanoseconds

    def octaves(self) -> Sequence[int]:
        """Return how many are below each power of two, and not below half of it."""
        starts = range(PARTS, len(self.counts), PARTS)
        inner = [sum(self.counts[start : start + PARTS]) for start in starts]
        return [self.counts[0] + inner[0], *inner[1:]]  # 0 ns is below the first part of the first


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the seconds below which ``share`` of the ``counts`` of a FineHistogram are."""
    rank = share * sum(counts.values())
    below = 0
    for index in sorted(counts):
        count = counts[index]
        if count and below + count >= rank:
            octave, part = divmod(index - PARTS, PARTS)
            width = 2.0**octave / (2 * PARTS)
            return (PARTS + part + (rank - below) / count) * width / 1e9
        below += count
    return None


BOUNDS = [2**n / 1e9 for n in range(FIRST, LAST + 1)]  # seconds
