"""What one backend tells of each second, made of what is counted anyway."""

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..broker.publisher import Publisher
from ..broker.statistics import Load
from ..telemetry.history import Sample
from ..telemetry.requests import RequestStatistics

PAGE_SIZE = resource.getpagesize()
_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")


class Settings(NamedTuple):
    """What only the gateway knows of itself."""

    loaded: float  # Unix time at which the settings were read
    draining: bool
    client_connections: int


class _Mark(NamedTuple):
    """What was counted at a moment, for the difference to a later one."""

    at: float
    published: int
    confirms: list[int]
    errors: dict[str, int]
    cpu: float


class Recorder:
    """``wall``: Unix time; ``steady``: a clock that only goes on."""

    def __init__(
        self,
        publisher: Publisher,
        statistics: RequestStatistics,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher = publisher
        self._statistics = statistics
        self._wall = wall
        self._steady = steady
        self._started = wall()
        self._second = int(wall())
        self._lag = 0.0  # the worst since the last mark
        # Of the last second that is over, for whoever asks within the next.
        self._cpu, self._worst_lag, self._memory = 0.0, 0.0, resident()
        self._mark = self._new_mark(publisher.load())

    def lagged(self, nanoseconds: int) -> None:
        """The event loop was so late."""
        self._lag = max(self._lag, nanoseconds / 1e9)

    def second_over(self) -> int | None:
        """The second that has ended since the last call; None: it goes on."""
        second = int(self._wall())
        if second == self._second:
            return None
        self._second = second
        return second - 1

    def finish(self, settings: Settings) -> Sample:
        """Of the time since the last one, which ends here."""
        load, last = self._publisher.load(), self._mark
        mark = self._new_mark(load)
        elapsed = max(mark.at - last.at, 1e-3)
        self._cpu = (mark.cpu - last.cpu) / elapsed
        self._worst_lag, self._lag = self._lag, 0.0
        self._memory = resident()
        sample = self._sample(settings, load, mark, elapsed)
        self._mark = mark
        return sample

    def now(self, settings: Settings) -> Sample:
        """Of this moment; what needs a while to be measured, of the last second."""
        load = self._publisher.load()
        mark = self._new_mark(load)
        return self._sample(settings, load, mark, max(mark.at - self._mark.at, 1e-3))

    def _new_mark(self, load: Load) -> _Mark:
        return _Mark(
            self._steady(),
            load.published,
            list(load.confirms.counts),
            dict(self._statistics.errors),
            time.process_time(),
        )

    def _sample(self, settings: Settings, load: Load, mark: _Mark, elapsed: float) -> Sample:
        last = self._mark
        broker = self._publisher.broker_state()
        latency = {}
        if mark.confirms != last.confirms:
            pairs = enumerate(zip(mark.confirms, last.confirms, strict=True))
            latency = {index: now - before for index, (now, before) in pairs if now != before}
        return Sample(
            os.getpid(),
            self._started,
            settings.loaded,
            settings.draining,
            elapsed,
            load.published - last.published,
            latency,
            {
                kind: (count - last.errors.get(kind, 0), count)
                for kind, count in mark.errors.items()
            },
            load.in_flight,
            load.waiting,
            broker.state.value,
            broker.reason,
            load.published,
            load.connections,
            settings.client_connections,
            self._cpu,
            self._memory,
            self._worst_lag,
            _open_files(),
        )


def resident() -> int:
    """Bytes of memory (proc_pid_statm(5))."""
    return int(_STATM.read_text().split()[1]) * PAGE_SIZE


def _open_files() -> int | None:
    """None before Linux 6.2: to list them would take long where they are many."""
    return _DESCRIPTORS.stat().st_size or None
