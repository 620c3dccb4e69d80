"""A daemon: a process that is detached from the terminal, and its pidfile."""

import contextlib
import fcntl
import logging
import os
import pwd
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import daemon

logger = logging.getLogger(__name__)

START_SECONDS = 60.0  # for the daemon to serve, while the command waits


class DaemonError(Exception):
    """The process cannot become a daemon, or the daemon does not serve. The text says why."""


class PidFile:
    """A file with the daemon's process id, locked for as long as the daemon lives.

    The lock shows that the file is not stale. It belongs to the open file. It is acquired
    before the daemon detaches, so that the terminal still gets an error. After a reload
    ``descriptor`` is the open file that holds it.
    """

    def __init__(self, path: Path, descriptor: int = -1) -> None:
        self._path = path
        self.descriptor = descriptor

    def acquire(self) -> None:
        """Lock the file. Raise DaemonError if a daemon lives or the file cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DaemonError(
                f"{self._path}: statelessd runs already, as process {self._recorded()}"
            ) from None
        except OSError as error:
            raise DaemonError(f"{self._path}: {error.strerror}") from error
        recorded = self._recorded()
        # One that does not lock is of 2013, perhaps.
        if recorded != os.getpid() and _is_statelessd(recorded):
            raise DaemonError(f"{self._path}: statelessd runs already, as process {recorded}")
        if recorded:
            logger.warning("%s is stale: process %d is gone", self._path, recorded)

    def owner(self) -> int:
        """Return the daemon's process id. Raise DaemonError if none runs."""
        pid = self._recorded()
        if not pid or not _is_statelessd(pid):
            raise DaemonError(f"{self._path}: no statelessd runs")
        return pid

    def _recorded(self) -> int:
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return 0

    def __enter__(self) -> Self:
        """Write the process id of this process, the daemon."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self.descriptor)


class StartReport:
    """A pipe from the daemon to the command that started it, which waits for the result.

    The daemon and its backends have one end, and the command has the other. Reasons are
    lines. Without descriptors nobody waits, and reports are dropped.
    """

    def __init__(self, reader: int = -1, descriptor: int = -1) -> None:
        self._reader = reader
        self.descriptor = descriptor

    def serves(self) -> None:
        """Report success, once."""
        self._write("+")
        self.close()

    def failed(self, reason: str) -> None:
        """Report why a backend did not start. Others may start, or its next attempt."""
        self._write(f"-{reason}")

    def close(self) -> None:
        """Report nothing more from this process."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def wait(self) -> None:
        """Return when the daemon serves. Raise DaemonError if it ends, or is late."""
        self.close()
        told = b""
        deadline = time.monotonic() + START_SECONDS
        while b"+" not in (lines := told.split(b"\n")):
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._reader], [], [], left)[0]:
                why = f"no backend serves after {START_SECONDS:g} s; the log may say why"
                raise DaemonError(why)
            if not (more := os.read(self._reader, 65536)):
                reasons = dict.fromkeys(line[1:].decode() for line in lines if line)
                raise DaemonError("; ".join(reasons) or "the daemon ended; its log may say why")
            told += more

    def _write(self, line: str) -> None:
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):  # nobody waits any longer
                os.write(self.descriptor, line.replace("\n", " ").encode() + b"\n")


def _is_statelessd(pid: int) -> bool:
    """Return whether a process runs this program, by name, as a script or as a module."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    program, *arguments = [Path(os.fsdecode(part)).name for part in command[:3]]
    return program == "statelessd" or (program.startswith("python") and "statelessd" in arguments)


def check_user(name: str | None) -> None:
    """Raise DaemonError if the backends could not become that user."""
    if name is None:
        return
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise DaemonError(f"Daemon.user: there is no user {name!r}") from None
    if os.getuid() not in (0, user.pw_uid):
        raise DaemonError(f"Daemon.user: only root can become {name!r}")


def resume(run: Callable[[], int], *, pidfile: PidFile | None) -> int:
    """Go on as the daemon that this process was before a reload; return what ``run`` returns."""
    os.chdir("/")
    os.umask(0o022)
    with pidfile or contextlib.nullcontext():
        return run()


def detach(
    run: Callable[[], int], *, pidfile: PidFile | None, keep: Sequence[Any], report: StartReport
) -> int:
    """Run in the background, detached. In the daemon, return what ``run`` returns.

    In the calling process, return 0 when ``report`` says that the daemon serves, and raise
    DaemonError if it does not. The files in ``keep`` stay open.
    """
    if os.fork():
        report.wait()
        return 0
    context = daemon.DaemonContext(
        files_preserve=[*keep, report.descriptor],
        pidfile=pidfile,
        working_directory="/",
        umask=0o022,
        detach_process=True,
        prevent_core=False,
        signal_map={},  # the supervisor waits for its signals
    )
    with context:
        return run()
