"""A process that was started here, told from another that got its id later."""

import contextlib
import os
import signal
import time
from pathlib import Path

STOP_SECONDS = 30.0


class Process:
    """A process that this script started, told from another with the same id by its start time."""

    def __init__(self, pid: int, started: str = "") -> None:
        self.pid = pid
        self.started = started or self._start_time()

    def _start_time(self) -> str:
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]

    @property
    def alive(self) -> bool:
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitpid(self.pid, os.WNOHANG)
        return bool(self.started) and self._start_time() == self.started

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> None:
        """Send the signal and wait; kill what has not ended in time."""
        for each, patience in ((number, seconds), (signal.SIGKILL, 10.0)):
            if not self.alive:
                return
            os.kill(self.pid, each)
            deadline = time.monotonic() + patience
            while self.alive and time.monotonic() < deadline:
                time.sleep(0.02)
