"""A process that was started here, recognised even if another gets its id later."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

STOP_SECONDS = 30.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Postpone Ctrl-C and the like to the end of the block.

    So that starting a process and noting its id happen both, or neither.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one gets signals
        yield
        return
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, _: came.append(number))
              for each in STOP_SIGNALS}  # fmt: skip
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)


def interrupt_on_signals() -> None:
    """Let every signal that asks for an end raise KeyboardInterrupt, as Ctrl-C does."""
    for number in STOP_SIGNALS:
        # nohup ignores that one; shells ignore SIGINT for what runs in the background.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible(
    command: list[str], *, interrupt: bool = True, **options: Any
) -> Iterator["subprocess.Popen[Any]"]:
    """Run a command in the block, and wait for its end.

    An interruption ends the command, or, without ``interrupt``, waits until it has ended.
    """
    process: subprocess.Popen[Any] | None = None
    try:
        with uninterrupted():
            # In a group of its own, where Ctrl-C does not reach it.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, process_group=0, **options
            )
        yield process
        process.wait()
    except KeyboardInterrupt:
        if process and not interrupt and process.poll() is None:
            print("\nInterrupted; waiting for the end of this step …", flush=True)
            with uninterrupted():
                process.communicate()
        raise
    finally:
        if process:
            with uninterrupted():
                with contextlib.suppress(PermissionError):  # sudo's: it ends by itself
                    Process(process.pid).end()
                process.wait()
                if process.stdout:
                    process.stdout.close()


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
