"""A reload: the parent becomes the program that is installed now, by exec.

The process id, the listening sockets and the backends stay. The configuration and the
program are new. So a reload also applies an upgraded package, and nothing of the old
configuration remains (docs/development/decisions/0007-reload-by-re-exec.md).

The parent describes what it holds in one environment variable. The new program gets it
twice. First it runs with ``--check-config``, in a process of its own, and says whether it
could go on from there, because the exec cannot be undone. Then the exec starts it.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from ..config.loader import Loaded
from ..config.settings import Listener
from .sockets import UnixListener

RETIRE = signal.SIGUSR2  # to a backend whose successor serves its listener
# The prefix is not that of settings, so no setting can have this name. The name and the
# members are those of earlier versions, so that a reload can change to another version
# and back.
VARIABLE = "_STATELESSD_HANDOVER"
OLD_CHECK_VARIABLE = "_STATELESSD_RUNNING"  # what earlier versions gave to the check instead
UNUSABLE = "the new configuration is not valid; nothing changes"
CHECK_SECONDS = 20.0  # for the check, in which nobody feeds the unit's watchdog of 30 s


class ReexecError(Exception):
    """The parent cannot become the new program. The text says why."""


class Served(msgspec.Struct, frozen=True):
    """One listener: its sockets' descriptors, and its backend's process id or 0.

    ``ours`` says whether the file of a Unix socket is ours and not a service manager's.
    ``address`` is that of a port; "" means all interfaces.
    """

    listener: Listener
    descriptors: list[int] = []
    pid: int = 0
    ours: bool = False
    address: str | None = None


class Former(msgspec.Struct, frozen=True):
    """What the program before this one held. In a check, what the running one holds.

    ``scoreboard`` is its descriptor. ``pidfile`` is the descriptor that holds
    the lock of ``pidfile_path``, or -1. ``sections`` are those of its configuration file.
    """

    served: list[Served]
    scoreboard: int = msgspec.field(default=-1, name="board")
    pidfile: int = -1
    pidfile_path: str | None = None
    sections: tuple[str, ...] = ()

    @classmethod
    def received(cls) -> Self | None:
        """Take it from the environment. Return None if this is not a reload."""
        text, old_check = os.environ.pop(VARIABLE, None), os.environ.pop(OLD_CHECK_VARIABLE, None)
        if text is not None:
            return msgspec.json.decode(text, type=cls)
        if old_check is None:
            return None
        told = msgspec.json.decode(old_check)
        addresses = told["addresses"]
        served = [
            Served(each, address=addresses.get(str(each), told["address"]))
            for each in told["listeners"]
        ]
        return cls(served, pidfile_path=told["pidfile"])

    def sockets(self) -> dict[Listener, list[socket.socket]]:
        """Return the listening sockets, as they were."""
        found: dict[Listener, list[socket.socket]] = {each.listener: [] for each in self.served}
        for each in self.served:
            for fd in each.descriptors:
                os.set_inheritable(fd, False)
                made = UnixListener(fd) if each.ours else socket.socket(fileno=fd)
                found[each.listener].append(made)
        return found

    def backends(self) -> dict[Listener, int]:
        """Return the process ids of the backends that serve them."""
        return {each.listener: each.pid for each in self.served if each.pid}


class Program:
    """This program and its arguments; make it before anything changes the directory."""

    def __init__(self, loaded: Loaded, scoreboard: int, pidfile: int = -1) -> None:
        self._arguments = [sys.executable, *sys.orig_argv[1:]]
        self._directory = Path.cwd()
        self._http_server = loaded.config.http_server
        self._sections = loaded.sections
        self._scoreboard = scoreboard
        self._pidfile = pidfile
        self._pidfile_path = loaded.config.daemon.pidfile if pidfile >= 0 else None

    def start_anew(
        self,
        bound: Mapping[Listener, Sequence[socket.socket]],
        backends: Mapping[Listener, int],
        *,
        checked: Callable[[], None],
    ) -> None:
        """Become the program that is installed now. Raise ReexecError if it would not start.

        Call ``checked`` between the check and the start, because each may take long.
        """
        served = [
            Served(
                listener,
                [each.fileno() for each in sockets],
                backends.get(listener, 0),
                any(isinstance(each, UnixListener) for each in sockets),
                self._http_server.address_of(listener) if isinstance(listener, int) else None,
            )
            for listener, sockets in bound.items()
        ]
        former = Former(served, self._scoreboard, self._pidfile, self._pidfile_path, self._sections)
        environment = {**os.environ, VARIABLE: msgspec.json.encode(former).decode()}
        self._check(environment)
        checked()
        for descriptor in (
            self._scoreboard,
            self._pidfile,
            *(descriptor for each in served for descriptor in each.descriptors),
        ):
            if descriptor >= 0:
                os.set_inheritable(descriptor, True)
        try:
            os.chdir(self._directory)
            os.execve(self._arguments[0], self._arguments, environment)  # noqa: S606 - the command that we were started with
        except OSError as error:
            raise ReexecError(
                f"cannot execute the program again; nothing changes: {error}"
            ) from error

    def _check(self, environment: Mapping[str, str]) -> None:
        """Raise ReexecError, with its errors, if the new program refuses the configuration."""
        try:
            done = subprocess.run(  # noqa: S603 - likewise
                [*self._arguments, "--check-config"],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=CHECK_SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ReexecError(f"{UNUSABLE}:\n{error}") from error
        if done.returncode:
            said = done.stderr.strip() or f"status {done.returncode}"
            raise ReexecError(f"{UNUSABLE}:\n{said}")
