"""A process that was started here, recognised even if another gets its id later."""

import contextlib
import os
import signal
import time
from pathlib import Path

STOP_SECONDS = 30.0


class Process:
    """A process that a script started. Its start time tells it from others with the same id."""

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
        """Send the signal and wait; kill what has not ended in time.

        RabbitMQ's server runs below a shell script that passes SIGTERM on, which
        it cannot do with SIGKILL. So SIGKILL goes to the whole process group if this process
        leads one, and the group has to be gone.
        """
        if not self.alive:
            return
        leads = os.getpgid(self.pid) == self.pid
        for each, patience in ((number, seconds), (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                send = os.killpg if leads and each is signal.SIGKILL else os.kill
                send(self.pid, each)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if not self.alive and not (leads and _group_exists(self.pid)):
                    return
                time.sleep(0.02)


def _group_exists(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True
