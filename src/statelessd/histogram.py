"""Durations, counted: an integer addition or two for each, for it happens on the hot path."""

BUCKETS = 65  # for any number of 64 bits: a bound to check would cost more than the counting
FIRST = 17  # the first bound that is shown: 2**17 ns, 131 microseconds
LAST = 36  # and the last: 2**36 ns, 69 seconds


class Histogram:
    """``counts[n]``: durations below 2**n nanoseconds, and not below half of that."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sum = 0  # nanoseconds

    def observe(self, nanoseconds: int) -> None:
        """One more."""
        self.counts[nanoseconds.bit_length()] += 1
        self.sum += nanoseconds

    def cumulative(self) -> list[int]:
        """How many took no longer than each of the bounds that are shown; last: all."""
        below = sum(self.counts[: FIRST + 1])
        found = [below]
        for n in range(FIRST + 1, LAST + 1):
            below += self.counts[n]
            found.append(below)
        return [*found, sum(self.counts)]


BOUNDS = [2**n / 1e9 for n in range(FIRST, LAST + 1)]
"""Seconds."""
