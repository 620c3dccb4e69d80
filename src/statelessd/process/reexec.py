"""What a parent that reloads leaves to the program that it becomes.

A reload is an exec: the process id, the listening sockets and the backends
stay, the configuration and the program are new. So a reload takes up an
upgraded package as well, and nothing of the old configuration can linger.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Self

import msgspec

from ..config.settings import Config, Listener
from .sockets import UnixListener

RETIRE = signal.SIGUSR2  # to a backend whose successor serves its listener
VARIABLE = "_STATELESSD_HANDOVER"  # not a setting's prefix: no setting can be called so
RUNNING_VARIABLE = "_STATELESSD_RUNNING"  # for the check before a reload
CHECK = 10.0  # seconds for that check, in which nobody feeds the unit's watchdog of 30 s


class Served(msgspec.Struct, frozen=True):
    """One listener: its sockets' descriptors, and its backend's process id; 0: it has none.

    ``ours``: the file of a Unix socket is, and not that of a service manager.
    """

    listener: Listener
    descriptors: list[int]
    pid: int
    ours: bool


class Handover(msgspec.Struct, frozen=True):
    """``board``: the descriptor of what the backends share.

    ``pidfile``: the one that holds its lock; -1: there is none.
    """

    served: list[Served]
    board: int
    pidfile: int = -1

    @classmethod
    def received(cls) -> Self | None:
        """What the program before us left, once."""
        text = os.environ.pop(VARIABLE, None)
        return None if text is None else msgspec.json.decode(text, type=cls)

    def sockets(self) -> dict[Listener, list[socket.socket]]:
        """The listening sockets, as they were."""
        return {
            each.listener: [_adopted(d, ours=each.ours) for d in each.descriptors]
            for each in self.served
        }

    def backends(self) -> dict[Listener, int]:
        """Who serves them."""
        return {each.listener: each.pid for each in self.served if each.pid}


class Running(msgspec.Struct, frozen=True):
    """What the program that runs holds on to, and a new configuration has to go with.

    ``pidfile``: its path, where one is held. ``addresses``: of the ports that are not
    at ``address``, by their numbers.
    """

    address: str
    listeners: list[Listener]
    pidfile: str | None
    addresses: dict[str, str] = {}

    @classmethod
    def told(cls) -> Self | None:
        """By the program that wants the configuration checked; None: by nobody."""
        text = os.environ.get(RUNNING_VARIABLE)
        return None if text is None else msgspec.json.decode(text, type=cls)

    def address_of(self, listener: Listener) -> str | None:
        """Where it listens; None: it does not, or has no address."""
        if isinstance(listener, str) or listener not in self.listeners:
            return None
        return self.addresses.get(str(listener), self.address)


def _adopted(descriptor: int, *, ours: bool) -> socket.socket:
    os.set_inheritable(descriptor, False)
    found = socket.socket(fileno=descriptor)
    return UnixListener.adopted(found) if ours else found


class Program:
    """This program with its arguments, as it was started; made before anything changes directory.

    ``board`` and ``pidfile``: descriptors, see Handover.
    """

    def __init__(self, config: Config, board: int, pidfile: int = -1) -> None:
        self._arguments = [sys.executable, *sys.orig_argv[1:]]
        self._directory = Path.cwd()
        self._http_server = config.http_server
        self._board = board
        self._pidfile = pidfile
        self._pidfile_path = config.daemon.pidfile if pidfile >= 0 else None

    def complaints(self, listeners: Iterable[Listener]) -> str:
        """What the program that is installed now says of the configuration as it is now.

        ``listeners``: those that are bound. Empty when it would start.
        """
        server, own = self._http_server, self._http_server.pages.listener
        running = Running(
            server.address,
            list(listeners),
            self._pidfile_path,
            {} if own is None else {str(own): server.address_of(own)},
        )
        told = msgspec.json.encode(running).decode()
        try:
            done = subprocess.run(  # noqa: S603 - the command that we were started with
                [*self._arguments, "--check-config"],
                cwd=self._directory,
                env={**os.environ, RUNNING_VARIABLE: told},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=CHECK,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        return "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"

    def become(
        self, bound: Mapping[Listener, Sequence[socket.socket]], backends: Mapping[Listener, int]
    ) -> NoReturn:
        """Start anew in this process. Raises OSError when that cannot be."""
        served = [
            Served(
                listener,
                [each.fileno() for each in sockets],
                backends.get(listener, 0),
                any(isinstance(each, UnixListener) for each in sockets),
            )
            for listener, sockets in bound.items()
        ]
        for descriptor in (
            self._board,
            self._pidfile,
            *(d for each in served for d in each.descriptors),
        ):
            if descriptor >= 0:
                os.set_inheritable(descriptor, True)
        handover = msgspec.json.encode(Handover(served, self._board, self._pidfile)).decode()
        os.chdir(self._directory)
        environment = {**os.environ, VARIABLE: handover}
        os.execve(self._arguments[0], self._arguments, environment)  # noqa: S606 - likewise
