"""A daemon: a process that is detached from the terminal, and its pidfile."""

import contextlib
import errno
import fcntl
import logging
import os
import pwd
import select
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import daemon

logger = logging.getLogger(__name__)

START_SECONDS = 60.0  # for the daemon to serve, while the command waits
RIVAL_SECONDS = 1.0  # for another start to replace a stale pidfile that it has locked
MODE = 0o644  # of the pidfile
STARTING = " starting"  # after the process id of the command that makes the pidfile


class DaemonError(Exception):
    """The process cannot become a daemon, or the daemon does not serve. The text says why."""


class PidFile:
    """A file with the daemon's process id, locked for as long as the daemon lives.

    It is made and locked before the daemon detaches, so that the terminal still gets an error.
    Until then it has the process id of the command, with a note. The lock belongs to the open
    file; after a reload ``descriptor`` is the open file that holds it.

    Any process that may read the file may lock it too. So a lock alone does not show that a daemon
    lives, and a stale file is not locked and written, but replaced by a new one.
    """

    def __init__(self, path: Path, descriptor: int = -1) -> None:
        self._path = path
        self.descriptor = descriptor

    def acquire(self) -> None:
        """Make the file. Raise DaemonError if a daemon lives or the file cannot be made."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            deadline = time.monotonic() + RIVAL_SECONDS
            while not self._take_place(is_late=time.monotonic() > deadline):
                time.sleep(0.02)
        except OSError as error:
            raise DaemonError(f"{self._path}: {error.strerror}") from error

    def owner(self) -> int:
        """Return the daemon's process id. Raise DaemonError if none runs."""
        try:
            with self._opened() as descriptor:
                pid, is_starting = _recorded(descriptor), _is_starting(descriptor)
        except FileNotFoundError:
            pid, is_starting = 0, False
        except OSError as error:
            raise DaemonError(f"{self._path}: {error.strerror}") from error
        if not pid or not _is_statelessd(pid):
            raise DaemonError(f"{self._path}: statelessd is not running")
        if is_starting:
            raise DaemonError(f"{self._path}: statelessd is still starting")
        return pid

    def release(self) -> None:
        """Remove the file, unless another process has replaced it."""
        with contextlib.suppress(OSError):
            if self._is_at_path(self.descriptor):
                self._path.unlink()
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        """Write the process id of this process, the daemon."""
        _record(self.descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _take_place(self, *, is_late: bool) -> bool:
        """Put a new file in the place of none, or of a stale one. Return false to try again.

        Of two starts at the same time one makes the file, or locks the stale one and replaces
        it. If the stale one is still locked when it ``is_late``, somebody else did that.
        """
        try:
            with self._opened() as former:
                has_lock, pid = _lock(former), _recorded(former)
                self._refuse_if_alive(pid, is_locked=not has_lock)
                if not self._is_at_path(former) or not (has_lock or is_late):
                    return False
                self._replace()
        except FileNotFoundError:
            return self._make_first()
        if pid:
            logger.warning("%s is stale: process %d is not a running statelessd", self._path, pid)
        return True

    def _make_first(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.descriptor = os.open(self._path, flags, MODE)
        except FileExistsError:
            return False
        if _lock(self.descriptor):
            os.fchmod(self.descriptor, MODE)
            _record(self.descriptor, STARTING)
            if self._is_at_path(self.descriptor):
                return True
        os.close(self.descriptor)  # a rival has replaced it, or is about to do so
        return False

    def _replace(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        try:
            os.fchmod(descriptor, MODE)
            _lock(descriptor)  # nobody else knows the file yet
            _record(descriptor, STARTING)
            Path(name).rename(self._path)
        except OSError:
            os.close(descriptor)
            Path(name).unlink(missing_ok=True)
            raise
        self.descriptor = descriptor

    def _refuse_if_alive(self, pid: int, *, is_locked: bool) -> None:
        """Raise DaemonError if ``pid`` is a daemon, as its name or the lock shows."""
        # A daemon of 2013 does not lock. In a container that was started again, the process
        # id may be ours.
        is_alive = _is_statelessd(pid) or (is_locked and _exists(pid))
        if pid not in (0, os.getpid()) and is_alive:
            raise DaemonError(f"{self._path}: statelessd is already running as process {pid}")

    def _is_at_path(self, descriptor: int) -> bool:
        return os.path.samestat(self._path.lstat(), os.fstat(descriptor))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the file that is there. Raise DaemonError if it cannot be a pidfile of ours."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise DaemonError(f"{self._path} is a symbolic link") from None
            raise
        try:
            found, directory = os.fstat(descriptor), self._path.parent.stat()
            if not stat.S_ISREG(found.st_mode):
                raise DaemonError(f"{self._path} is not a regular file")
            if directory.st_mode & stat.S_IWOTH and found.st_uid not in (0, os.geteuid()):
                raise DaemonError(
                    f"{self._path} belongs to another user, and everybody can write to its "
                    "directory: use a directory of its own"
                )
            yield descriptor
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Return whether nobody else has the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _record(descriptor: int, note: str = "") -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}{note}\n".encode(), 0)


def _recorded(descriptor: int) -> int:
    try:
        return max(0, int(os.pread(descriptor, 32, 0).split()[0]))
    except (ValueError, IndexError):
        return 0


def _is_starting(descriptor: int) -> bool:
    return STARTING.encode() in os.pread(descriptor, 32, 0)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


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
                why = f"no backend was ready after {START_SECONDS:g} s; see the log"
                raise DaemonError(why)
            if not (more := os.read(self._reader, 65536)):
                reasons = dict.fromkeys(line[1:].decode() for line in lines if line)
                raise DaemonError("; ".join(reasons) or "the daemon ended; see its log")
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
