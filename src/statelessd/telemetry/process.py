"""The resources that this process uses, and the lag of its event loop."""

import contextlib
import resource
import time
from pathlib import Path

from .histogram import Histogram

PAGE_SIZE = resource.getpagesize()
_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")


class ProcessStatistics:
    """The figures of this process. CPU and the worst lag are those of the last second."""

    def __init__(self) -> None:
        self.started = time.time()
        self.lag = Histogram()  # of the event loop
        self.worst_lag = 0.0  # seconds
        self.cpu = 0.0  # cores
        self.memory = resident()
        self._worst_lag = 0.0  # of the second that goes on
        self._cpu_time = time.process_time()

    def lagged(self, nanoseconds: int) -> None:
        """Count a timer of the event loop that was late by ``nanoseconds``."""
        self.lag.observe(nanoseconds)
        self._worst_lag = max(self._worst_lag, nanoseconds / 1e9)

    def finish_second(self, elapsed: float) -> None:
        """Measure the ``elapsed`` seconds since the last call."""
        cpu_time = time.process_time()
        self.cpu = (cpu_time - self._cpu_time) / elapsed
        self._cpu_time = cpu_time
        with contextlib.suppress(OSError):  # no file can be opened: the last figure stays
            self.memory = resident()
        self.worst_lag, self._worst_lag = self._worst_lag, 0.0


def resident() -> int:
    """Return the bytes of memory that are resident (proc_pid_statm(5))."""
    return int(_STATM.read_text().split()[1]) * PAGE_SIZE


def open_files() -> int | None:
    """Return the number of open files; None before Linux 6.2, where counting takes long."""
    return _DESCRIPTORS.stat().st_size or None
