"""The parent: one backend process for each listener, started, watched, and stopped in order.

It stays what it was started as (root, for low ports and the pidfile), does
nothing but wait for signals, and has no event loop and no threads, so that
forking it is safe at any time.
"""

import ctypes
import logging
import os
import pwd
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from . import listeners
from .config import Config, Listener
from .listeners import name_of

logger = logging.getLogger(__name__)

RunBackend = Callable[[Config, list[socket.socket], Listener], int]

WATCHED = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before another start of a backend that died again
SETTLED = 30.0  # seconds after which a backend counts as running well
AT_START = 2.0  # seconds within which a death means that it cannot start
ATTEMPTS = 3  # of all backends to start
GRACE = 3.0  # seconds beyond the drain time before a backend is killed
PR_SET_PDEATHSIG = 1  # prctl(2)


class _Child:
    """One port or Unix socket, and the process that serves it."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.pid = 0  # 0: not running
        self.started_at = 0.0
        self.start_at = 0.0  # when to start (again)
        self.deaths = 0  # in a row, none of them after running well
        self.failed_starts = 0


class Supervisor:
    """``user``: whom the backends become; ``private``: file descriptors they must not keep."""

    def __init__(
        self,
        config: Config,
        bound: Mapping[Listener, list[socket.socket]],
        run_backend: RunBackend,
        *,
        user: str | None = None,
        private: Sequence[int] = (),
        reload_is_stop: bool = True,
    ) -> None:
        self._config = config
        self._bound = bound
        self._run_backend = run_backend
        self._user = user
        self._private = private
        self._hangup_stops = reload_is_stop
        self._children = [_Child(listener) for listener in bound]
        self._stop_deadline = 0.0
        self._status = 0

    def run(self) -> int:
        """Keep the backends running until told to stop; the exit status."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            while True:
                self._reap()
                if not self._stop_deadline:
                    self._start_due(mask)
                elif not any(child.pid for child in self._children):
                    return self._status
                received = signal.sigtimedwait(WATCHED, self._patience())
                if received is not None:
                    self._handle(received.si_signo)
                elif self._stop_deadline and time.monotonic() >= self._stop_deadline:
                    self._kill()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    # Starting

    def _start_due(self, mask: set[int | signal.Signals]) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and now >= child.start_at:
                child.started_at = now
                child.pid = self._fork(child.listener, mask)

    def _fork(self, listener: Listener, mask: set[int | signal.Signals]) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            self._become_backend(listener, parent, mask)
            status = self._run_backend(self._config, self._bound[listener], listener)
        except BaseException:
            logger.exception("the backend on %s failed", name_of(listener))
        finally:
            logging.shutdown()
            os._exit(status)

    def _become_backend(
        self, listener: Listener, parent: int, mask: set[int | signal.Signals]
    ) -> None:
        # Ctrl-C reaches the whole group; the parent turns it into one orderly stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for other, sockets in self._bound.items():
            if other != listener:
                for each in sockets:
                    each.close()
        for descriptor in self._private:
            os.close(descriptor)
        if self._user is not None:
            become(self._user)
        # Set after the change of user, which clears it: a backend must not
        # outlive a parent that was killed.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    # Watching

    def _reap(self) -> None:
        for child in self._children:
            if child.pid:
                pid, wait_status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    child.pid = 0
                    self._died(child, os.waitstatus_to_exitcode(wait_status))

    def _died(self, child: _Child, code: int) -> None:
        how = f"by signal {_signal_name(-code)}" if code < 0 else f"with status {code}"
        if self._stop_deadline:
            logger.info("the backend on %s ended %s", name_of(child.listener), how)
            return
        now = time.monotonic()
        age = now - child.started_at
        child.deaths = 1 if age >= SETTLED else child.deaths + 1
        child.failed_starts = child.failed_starts + 1 if age < AT_START else 0
        pause = 0.0 if child.deaths == 1 else FIRST_PAUSE * 2.0 ** (child.deaths - 2)
        child.start_at = now + min(pause, LONGEST_PAUSE)
        name = name_of(child.listener)
        logger.error("the backend on %s ended %s; it is started again", name, how)
        if all(c.failed_starts >= ATTEMPTS for c in self._children):
            logger.critical("no backend could be started; the last one ended %s", how)
            self._status = 1
            self._stop()

    def _patience(self) -> float:
        """Seconds until something is due without a signal."""
        now = time.monotonic()
        if self._stop_deadline:
            return max(0.0, self._stop_deadline - now)
        due = [child.start_at - now for child in self._children if not child.pid]
        return max(0.0, min(due, default=3600.0))

    # Stopping

    def _handle(self, number: int) -> None:
        if number == signal.SIGHUP and not self._hangup_stops:
            logger.warning("SIGHUP: this version cannot reload; restart it")
        elif number != signal.SIGCHLD:
            logger.info("stopping on %s", _signal_name(number))
            self._stop()

    def _stop(self) -> None:
        """SIGTERM for all; a second time it tells them to hurry."""
        if not self._stop_deadline:
            drain = self._config.http_server.drain_timeout
            self._stop_deadline = time.monotonic() + drain + GRACE
            # Else whoever connects after the backends have closed theirs would wait in vain.
            listeners.close(self._bound)
        for child in self._children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)

    def _kill(self) -> None:
        for child in self._children:
            if child.pid:
                name = name_of(child.listener)
                logger.error("the backend on %s did not stop in time; killing it", name)
                os.kill(child.pid, signal.SIGKILL)
        self._stop_deadline = time.monotonic() + GRACE


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between SIGRTMIN and SIGRTMAX has none
        return str(number)


def become(name: str) -> None:
    """Give up root for good. Raises KeyError for an unknown user, OSError when not allowed."""
    user = pwd.getpwnam(name)
    if os.getuid() == user.pw_uid:
        return
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = user.pw_dir
