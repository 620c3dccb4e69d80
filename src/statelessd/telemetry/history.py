"""The last ten minutes of each listener: a ring of one cell for each second, in shared memory.

A cell carries its own second, so that nothing has to be cleared and a gap needs
no mark: what is older than the window is not looked at, and written over in
time. In a cell is a sample of each process that served the listener then; while
one replaces another there are two.
"""

import mmap
from collections.abc import Iterable, Iterator

import msgspec

from .histogram import PARTS

WINDOW = 600  # seconds that are told
CELLS = WINDOW + 20  # for those that are written while the oldest are still read
CELL = 3 * 1024  # bytes
LANE = CELLS * CELL  # bytes of a listener; untouched pages of it cost nothing
HEAD = 12  # bytes: the second, and the size of what follows
LATELY = 5  # seconds; who has told nothing in them serves nobody


class Sample(msgspec.Struct, array_like=True, frozen=True):
    """What one process tells of a second, at its end.

    ``confirmed``, ``latency`` and the first number of ``errors`` are of the last
    ``elapsed`` seconds: of more than one where the process could not tell in between.
    """

    pid: int
    started: float  # Unix time, as the next
    loaded: float  # when the settings were read
    draining: bool
    elapsed: float
    confirmed: int  # messages
    latency: dict[int, int]  # counts of a FineHistogram, those above 0: of confirms
    errors: dict[str, tuple[int, int]]  # by the problem's type: lately, and since the start
    in_flight: int  # messages, as the next
    waiting: int
    broker: str
    reason: str
    published: int  # messages confirmed since the start
    broker_connections: int
    client_connections: int
    cpu: float  # cores
    memory: int  # bytes that are resident
    lag: float  # seconds, the worst
    descriptors: int | None  # None: the kernel does not say

    @property
    def seconds(self) -> float:
        """What to divide by for a rate: a process that began within the second has all of it."""
        return max(1.0, self.elapsed)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Sample]).decode


class History:
    """The rings of all listeners, from ``base`` on in ``memory``. Who calls holds its lock."""

    def __init__(self, memory: mmap.mmap, base: int) -> None:
        self._memory = memory
        self._base = base

    def write(self, slot: int, second: int, sample: Sample) -> None:
        """Beside the samples of others in that second, and instead of one's own."""
        others = [each for each in self._load(slot, second) if each.pid != sample.pid]
        samples = [*others, sample]
        data = _encode(samples)
        if len(data) > CELL - HEAD:
            samples = [_coarse(each) for each in samples]
            data = _encode(samples)
        while len(data) > CELL - HEAD:  # more than two processes, and all in trouble
            data = _encode(samples := samples[1:])
        start = self._start(slot, second)
        self._memory[start : start + 8] = bytes(8)  # who is killed here leaves nothing to read
        self._memory[start + 8 : start + HEAD + len(data)] = len(data).to_bytes(4, "big") + data
        self._memory[start : start + 8] = second.to_bytes(8, "big")

    def read(self, slot: int, first: int, last: int) -> dict[int, list[Sample]]:
        """All seconds that are known, of these."""
        seconds = range(max(first, last - CELLS + 1), last + 1)
        return {second: found for second in seconds if (found := self._load(slot, second))}

    def newest(self, slot: int, second: int) -> list[Sample]:
        """Those of the last seconds, newest first."""
        known = self.read(slot, second - LATELY + 1, second)
        return [sample for samples in reversed(known.values()) for sample in samples]

    def _start(self, slot: int, second: int) -> int:
        return self._base + slot * LANE + second % CELLS * CELL

    def _load(self, slot: int, second: int) -> list[Sample]:
        start = self._start(slot, second)
        if int.from_bytes(self._memory[start : start + 8], "big") != second:
            return []
        size = int.from_bytes(self._memory[start + 8 : start + HEAD], "big")
        try:
            return _decode(self._memory[start + HEAD : start + HEAD + size])
        except msgspec.MsgspecError:  # of the version before an upgrade, in another form
            return []


def _coarse(sample: Sample) -> Sample:
    """The same with a latency by octaves, each in the middle."""
    latency: dict[int, int] = {}
    for index, count in sample.latency.items():
        middle = index // PARTS * PARTS + PARTS // 2
        latency[middle] = latency.get(middle, 0) + count
    return msgspec.structs.replace(sample, latency=latency)


class Second(msgspec.Struct, frozen=True):
    """What several samples make together; rates are a second."""

    published: float
    latency: dict[int, int]
    errors: dict[str, float]
    in_flight: int
    waiting: int
    brokers: list[str]


def together(samples: Iterable[Sample]) -> Second:
    """Of one second: of several processes, of one listener or of many."""
    published = 0.0
    latency: dict[int, int] = {}
    errors: dict[str, float] = {}
    in_flight = waiting = 0
    brokers = []
    for sample in samples:
        published += sample.confirmed / sample.seconds
        for index, count in sample.latency.items():
            latency[index] = latency.get(index, 0) + count
        for kind, (count, _) in sample.errors.items():
            errors[kind] = errors.get(kind, 0.0) + count / sample.seconds
        in_flight += sample.in_flight
        waiting += sample.waiting
        brokers.append(sample.broker)
    return Second(published, latency, errors, in_flight, waiting, brokers)


def without_stalls(known: dict[int, list[Sample]]) -> Iterator[tuple[int, list[Sample]]]:
    """Seconds of one listener, with those in which it could not tell: a later sample has them."""
    filled = dict(known)
    for second, samples in known.items():
        for sample in samples:
            stalled = min(WINDOW, round(sample.elapsed)) - 1
            for missed in range(second - stalled, second):
                if missed not in known:
                    filled.setdefault(missed, []).append(sample)
    yield from filled.items()
