"""Whether a process has grown over a soak: the rule, and the numbers that it looks at."""

import dataclasses
import math
import statistics

GROWTH = 0.01  # of the memory that a process may gain in a day of the soak


@dataclasses.dataclass(frozen=True)
class Size:
    """What a process holds in a quiet moment: bytes, open files and threads."""

    memory: int
    descriptors: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Trend:
    """The least-squares line through equidistant values; both in units of a value a day."""

    slope: float
    error: float  # the standard error of the slope
    mean: float

    @property
    def least(self):
        """Return the part of the mean that a day adds, less twice the standard error."""
        return (self.slope - 2 * self.error) / self.mean

    @property
    def grows(self):
        return self.least > GROWTH

    def __str__(self):
        slope, error = self.slope / self.mean, self.error / self.mean
        return f"{slope:+.2%} ± {2 * error:.2%} of {self.mean / 2**20:.1f} MiB a day"


def trend_of(values, per_day=24):
    """Return the trend of at least three values, of which a day has ``per_day``."""
    at = range(len(values))
    line = statistics.linear_regression(at, values)
    residuals = [y - line.intercept - line.slope * x for x, y in zip(at, values, strict=True)]
    spread = sum((x - statistics.fmean(at)) ** 2 for x in at)
    variance = sum(each**2 for each in residuals) / (len(values) - 2)
    error = math.sqrt(variance / spread)
    return Trend(line.slope * per_day, error * per_day, statistics.fmean(values))


def complaints(name, sizes):
    """Return what is wrong with a process, given its sizes after each hour of warm-up's end."""
    found = []
    trend = trend_of([size.memory for size in sizes])
    if trend.grows:
        found.append(f"{name}: memory grows, {trend}")
    for what in ("descriptors", "threads"):
        values = [getattr(size, what) for size in sizes]
        if len(set(values)) > 1:
            found.append(f"{name}: {what} change, {', '.join(map(str, values))}")
    return found
