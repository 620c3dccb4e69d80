"""The last ten minutes of each listener: a ring of one cell for each second, in shared memory.

A cell carries its own second. So nothing has to be cleared and a gap needs no
mark: what is older than the window is ignored, and overwritten later. A cell
holds a sample of each process that served the listener in that second; while
one process replaces another there are two.
"""

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from .histogram import PARTS

WINDOW = 600  # seconds that are shown
CELLS = WINDOW + 20  # some more, because the oldest are still read while new ones are written
CELL = 3 * 1024  # bytes
LANE = CELLS * CELL  # bytes of a listener; untouched pages of it cost nothing
HEAD = 12  # bytes: the second, and the size of what follows

Growth = dict[str, dict[str, int]]
"""Figure -> label (empty where a figure has none) -> by how much it has grown."""


class Sample(msgspec.Struct, array_like=True, frozen=True):
    """What one process reports at the end of a second.

    Counts and durations are of the last ``seconds``. That is more than one if the process
    was too busy to report in between. They are whole seconds, so that no count is lost or
    counted twice when they are spread over seconds.
    """

    pid: int
    seconds: int
    broker: str  # state
    gauges: dict[str, int]
    counts: Growth
    durations: dict[str, dict[int, int]]  # the parts of FineHistograms that have grown


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Sample]).decode


class History:
    """The rings of all listeners, from ``base`` on in ``memory``. The caller holds its lock."""

    def __init__(self, memory: mmap.mmap, base: int) -> None:
        self._memory = memory
        self._base = base

    def write(self, slot: int, second: int, sample: Sample) -> None:
        """Add a sample to those of other processes, or replace the process's own."""
        others = [each for each in self._load(slot, second) if each.pid != sample.pid]
        samples = [*others, sample]
        data = _encode(samples)
        if len(data) > CELL - HEAD:
            samples = [_coarse(each) for each in samples]
            data = _encode(samples)
        while len(data) > CELL - HEAD:  # more than two processes, and all in trouble
            data = _encode(samples := samples[1:])
        start = self._start(slot, second)
        self._memory[start : start + 8] = bytes(8)  # a process killed here leaves nothing to read
        self._memory[start + 8 : start + HEAD + len(data)] = len(data).to_bytes(4, "big") + data
        self._memory[start : start + 8] = second.to_bytes(8, "big")

    def read(self, slot: int, first: int, last: int) -> dict[int, list[Sample]]:
        """Return the seconds from ``first`` to ``last`` that are known."""
        seconds = range(max(first, last - CELLS + 1), last + 1)
        return {second: found for second in seconds if (found := self._load(slot, second))}

    def _start(self, slot: int, second: int) -> int:
        return self._base + slot * LANE + second % CELLS * CELL

    def _load(self, slot: int, second: int) -> list[Sample]:
        start = self._start(slot, second)
        if int.from_bytes(self._memory[start : start + 8], "big") != second:
            return []
        size = int.from_bytes(self._memory[start + 8 : start + HEAD], "big")
        try:
            return _decode(self._memory[start + HEAD : start + HEAD + size])
        except msgspec.MsgspecError:  # written by another version, before an upgrade
            return []


def _coarse(sample: Sample) -> Sample:
    """Return the sample with durations by octaves, each counted in the middle of its octave."""
    durations = {}
    for name, counts in sample.durations.items():
        octaves: Counter[int] = Counter()
        for index, count in counts.items():
            octaves[index // PARTS * PARTS + PARTS // 2] += count
        durations[name] = dict(octaves)
    return msgspec.structs.replace(sample, durations=durations)


class Second:
    """Several samples of one second added up: of several processes, of one listener or of many."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.gauges: Counter[str] = Counter()
        self.rates: dict[str, dict[str, float]] = {}  # a second
        self.durations: dict[str, Counter[int]] = {}
        self.brokers: list[str] = []
        for sample in samples:
            self.gauges.update(sample.gauges)
            for name, counts in sample.counts.items():
                rates = self.rates.setdefault(name, {})
                for label, count in counts.items():
                    rates[label] = rates.get(label, 0.0) + count / sample.seconds
            for name, durations in sample.durations.items():
                self.durations.setdefault(name, Counter()).update(durations)
            self.brokers.append(sample.broker)


def without_stalls(known: dict[int, list[Sample]]) -> Iterator[tuple[int, list[Sample]]]:
    """Yield the seconds of one listener; a sample of several seconds stands in each of them."""
    filled: dict[int, list[Sample]] = {}
    for second, samples in known.items():
        for sample in samples:
            for each in range(second - sample.seconds + 1, second + 1):
                filled.setdefault(each, []).append(sample)
    yield from filled.items()
