"""A run in seconds: what was answered in each, how fast, and how large the gateway was."""

import collections
import contextlib
import dataclasses
import time

from verdict import CONFIRMED, NOT_PUBLISHED, UNKNOWN


@dataclasses.dataclass
class Second:
    """Counts by outcome; ``p50`` and ``p99`` are milliseconds until a 204, or None."""

    at: int
    confirmed: int
    not_published: int
    unknown: int
    p50: float | None
    p99: float | None


def quantile(values, q):
    """Return the value below which the share ``q`` lies, or None if there are none."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else None


def by_second(answers):
    """Return a Second for each in which something was answered."""
    groups = collections.defaultdict(list)
    for answer in answers:
        groups[int(answer.at)].append(answer)
    seconds = []
    for at, group in sorted(groups.items()):
        counts = collections.Counter(answer.outcome for answer in group)
        took = [answer.seconds * 1000 for answer in group if answer.outcome == CONFIRMED]
        told = counts[CONFIRMED], counts[NOT_PUBLISHED], counts[UNKNOWN]
        seconds.append(Second(at, *told, quantile(took, 0.5), quantile(took, 0.99)))
    return seconds


def watch_memory(gateway, begun, samples, stopping):
    """Add to samples each second: seconds since ``begun``, bytes of the largest backend."""
    while not stopping.wait(1):
        with contextlib.suppress(OSError):  # the gateway is being started again
            samples.append((time.monotonic() - begun, gateway.resident()))
