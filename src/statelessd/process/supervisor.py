"""The parent: one backend process for each listener, started, watched, and stopped in order.

It keeps the user that it was started as, which may be root for low ports and the pidfile.
It only waits for signals. It has no event loop and no threads, so forking it is always
safe.

A reload is an exec of the parent (see ``reexec``). The new program finds the
old backends and replaces them one by one. A successor starts on the same sockets. When it
serves, the old backend is told to drain.
"""

import ctypes
import enum
import io
import logging
import math
import os
import pwd
import signal
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from ..config.settings import Config, Listener
from ..failures import Failures
from . import sockets as listeners
from .daemon import StartReport
from .reexec import RETIRE, Program, ReexecError
from .systemd import Notifier

logger = logging.getLogger(__name__)

RunBackend = Callable[[Config, list[socket.socket], Listener, Callable[[], None]], int]
"""Serves a listener, and calls the last argument once it does; returns the exit status."""

WATCHED = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before another start of a backend that died again
SETTLED = 30.0  # seconds after which a backend counts as running well
AT_START = 2.0  # seconds within which a death counts as a failed start, though it served
ATTEMPTS = 3  # failed starts of all backends, after which the parent gives up
GRACE = 3.0  # seconds beyond the drain time before a backend is killed
LOOK = 0.05  # seconds between checks of a backend that is starting
PR_SET_PDEATHSIG = 1  # prctl(2)
PACKAGE = Path(__file__).parent.parent


class _Phase(enum.Enum):
    STARTING = "until each listener has a backend of this program, and no former one"
    SERVING = "from then on, though a backend may die and be started again"
    STOPPING = "until the last process has ended"


class _Process:
    """A process that serves a listener."""

    def __init__(self, pid: int, signs: io.FileIO | None = None) -> None:
        self.pid = pid
        self.serves = False
        self.started_at = time.monotonic()
        self.kill_at = math.inf  # the time at which to kill it
        self._signs = signs  # the pipe through which it reports that it serves

    def look(self) -> None:
        """Find out whether it serves by now."""
        if self._signs is not None and (sign := self._signs.read(1)) is not None:
            self.serves = sign != b""
            self.close()

    def close(self) -> None:
        """Close the pipe of its report, which was read or will not come."""
        if self._signs is not None:
            self._signs.close()
            self._signs = None

    def exit_code(self) -> int | None:
        """Return how it ended, negative for a signal; None while it lives."""
        try:
            ended, wait_status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # not our child, so nobody knows how it ended
            return 0
        return os.waitstatus_to_exitcode(wait_status) if ended else None

    def end(self, number: signal.Signals, patience: float) -> None:
        """Tell it to end, and kill it after ``patience`` seconds if no earlier time is set."""
        os.kill(self.pid, number)
        self.kill_at = min(self.kill_at, time.monotonic() + patience)


class _Served:
    """A listener and its backends. ``former``, of before a reload, serves until the other does."""

    def __init__(self, listener: Listener, former: int = 0) -> None:
        self.listener = listener
        self.name = listeners.name_of(listener)
        self.backend: _Process | None = None
        self.former = _Process(former) if former else None
        self.start_at = 0.0  # the time at which to start a backend, if there is none
        self.failed_starts = 0
        self._deaths = 0  # in a row, none of them after running well

    @property
    def processes(self) -> list[_Process]:
        return [each for each in (self.backend, self.former) if each is not None]

    @property
    def is_served(self) -> bool:
        """Return whether the backend of this program serves."""
        return self.backend is not None and self.backend.serves

    def died(self, backend: _Process) -> None:
        """Decide when to start another backend: at once, or after growing pauses."""
        now = time.monotonic()
        age = now - backend.started_at
        self._deaths = 1 if age >= SETTLED else self._deaths + 1
        cannot_start = age < AT_START or not backend.serves
        self.failed_starts = self.failed_starts + 1 if cannot_start else 0
        pause = 0.0 if self._deaths == 1 else FIRST_PAUSE * 2.0 ** (self._deaths - 2)
        self.start_at = now + min(pause, LONGEST_PAUSE)


class Supervisor:
    """Keeps the backends running.

    The backends become ``user`` and close the file descriptors in ``private``. ``former``
    has the backends of the program before a reload. On SIGHUP the parent becomes
    ``program``; without one it stops, because SIGHUP then means that its terminal is gone.
    ``report`` tells the command that started a daemon how the start went.
    """

    def __init__(
        self,
        config: Config,
        bound: Mapping[Listener, list[socket.socket]],
        run_backend: RunBackend,
        *,
        user: str | None = None,
        private: Sequence[int] = (),
        former: Mapping[Listener, int] = {},
        program: Program | None = None,
        report: StartReport | None = None,
    ) -> None:
        self._config = config
        self._bound = bound
        self._run_backend = run_backend
        self._user = user
        self._private = private
        self._program = program
        self._report = report or StartReport()
        self._served = [_Served(each, former.get(each, 0)) for each in bound]
        # The backends of listeners that the configuration no longer has.
        self._gone = [_Served(each, pid) for each, pid in former.items() if each not in bound]
        self._notifier = Notifier()
        self._phase = _Phase.STARTING
        self._reload_wanted = False
        self._drain = config.http_server.drain_timeout + GRACE
        self._status = 0
        self._failures = Failures(logger)

    def run(self) -> int:
        """Keep the backends running until told to stop; return the exit status."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED) - WATCHED
        for each in self._gone:
            self._retire(each)
        try:
            while True:
                # The backends die with this process, so nothing that fails here may end it.
                is_well = self._failures.guard("watching the backends", partial(self._keep, mask))
                if self._phase is _Phase.STOPPING and not self._processes():
                    return self._status
                patience = self._patience() if is_well else FIRST_PAUSE
                received = signal.sigtimedwait(WATCHED, patience)
                if received is not None:
                    handle = partial(self._handle, received.si_signo)
                    self._failures.guard("handling a signal", handle)
                else:
                    self._failures.guard("killing late processes", self._kill_what_is_late)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _keep(self, mask: set[int | signal.Signals]) -> None:
        self._reap()
        if self._phase is not _Phase.STOPPING:
            self._go_on(mask)

    def _processes(self) -> list[_Process]:
        """Return all backend processes, former ones too."""
        return [each for served in (*self._served, *self._gone) for each in served.processes]

    # Starting

    def _go_on(self, mask: set[int | signal.Signals]) -> None:
        """Start what is due. While there are former backends, start one listener at a time."""
        for each in self._served:
            if each.backend:
                each.backend.look()
            if each.is_served and each.former and each.former.kill_at == math.inf:
                self._retire(each)
        if self._reload_wanted and self._program is not None and not self._is_replacing:
            self._reload(self._program)
        now = time.monotonic()
        for each in self._may_start():
            if now >= each.start_at:
                try:
                    each.backend = self._fork(each, mask)
                except OSError as error:
                    self._failures.log(f"starting the backend on {each.name}", error)
                    each.start_at = now + FIRST_PAUSE
        is_ready = all(each.is_served and not each.former for each in self._served)
        if is_ready and self._phase is _Phase.STARTING:
            self._phase = _Phase.SERVING
            self._notifier.ready()
        # When no other backend is still starting, and this one has not failed either.
        if any(each.is_served for each in self._served) and all(
            each.is_served or each.failed_starts for each in self._served
        ):
            self._report.serves()
        self._notifier.alive()

    def _may_start(self) -> list[_Served]:
        """Return the listeners without a backend of this program whose turn it is."""
        rolling = next((each for each in self._served if each.former), None)
        return [
            each
            for each in self._served
            if not each.backend and (each is rolling or not each.former)
        ]

    def _retire(self, served: _Served) -> None:
        """Tell the former backend to retire."""
        if served.former:
            logger.info("old backend on %s: draining", served.name)
            served.former.end(RETIRE, self._drain)

    def _fork(self, served: _Served, mask: set[int | signal.Signals]) -> _Process:
        parent = os.getpid()
        signs, sign = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(sign, True)
        try:
            pid = os.fork()
        except OSError:
            os.close(signs)
            os.close(sign)
            raise
        if pid:
            os.close(sign)
            return _Process(pid, io.FileIO(signs))
        status = 1
        listener = served.listener

        def serves() -> None:
            os.write(sign, b"+")
            os.close(sign)
            self._report.close()

        try:
            self._become_backend(listener, parent, mask)
            status = self._run_backend(self._config, self._bound[listener], listener, serves)
        except BaseException as error:
            logger.exception("the backend on %s failed", served.name)
            self._report.failed(f"the backend on {served.name} failed: {error}")
        finally:
            logging.shutdown()
            os._exit(status)

    def _become_backend(
        self, listener: Listener, parent: int, mask: set[int | signal.Signals]
    ) -> None:
        # Ctrl-C reaches the whole process group. The parent makes one orderly stop of it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._notifier.forget()
        for other, sockets in self._bound.items():
            if other != listener:
                for each in sockets:
                    each.close()
        for descriptor in self._private:
            os.close(descriptor)
        if self._user is not None:
            _become(self._user)
            if not os.access(PACKAGE, os.R_OK | os.X_OK):
                raise PermissionError(f"the user {self._user} may not read {PACKAGE}")
        # A backend must not outlive a parent that was killed. The change of user clears
        # this setting, so it comes after that.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    # Watching

    def _reap(self) -> None:
        for each in [*self._served, *self._gone]:
            if each.former and (code := each.former.exit_code()) is not None:
                each.former = None
                logger.info("old backend on %s: ended %s", each.name, _how(code))
            if each.backend and (code := each.backend.exit_code()) is not None:
                ended, each.backend = each.backend, None
                ended.look()
                ended.close()
                self._died(each, ended, _how(code))
        self._gone = [each for each in self._gone if each.former]
        _reap_orphans({each.pid for each in self._processes()})

    def _died(self, served: _Served, backend: _Process, how: str) -> None:
        if self._phase is _Phase.STOPPING:
            logger.info("the backend on %s ended %s", served.name, how)
            return
        served.died(backend)
        logger.error("the backend on %s ended %s; restarting it", served.name, how)
        if all(each.failed_starts >= ATTEMPTS and not each.former for each in self._served):
            logger.critical("no backend could be started; the last one ended %s", how)
            self._report.failed(f"no backend could be started; the last one ended {how}")
            self._status = 1
            self._stop()

    def _patience(self) -> float:
        """Return the seconds until something is due without a signal."""
        now = time.monotonic()
        due = [now + self._notifier.interval, *(each.kill_at for each in self._processes())]
        if self._phase is not _Phase.STOPPING:
            due += [each.start_at for each in self._may_start()]
            if any(each.backend and not each.is_served for each in self._served):
                due.append(now + LOOK)
        return max(0.0, min(due) - now)

    def _kill_what_is_late(self) -> None:
        now = time.monotonic()
        for served in [*self._served, *self._gone]:
            for each in served.processes:
                if now >= each.kill_at:
                    logger.error("the backend on %s did not stop in time; killing it", served.name)
                    os.kill(each.pid, signal.SIGKILL)
                    each.kill_at = now + GRACE

    # Reloading and stopping

    def _handle(self, number: int) -> None:
        if number == signal.SIGHUP and self._program is not None:
            self._reload_wanted = True
            if self._is_replacing and self._phase is not _Phase.STOPPING:
                logger.info("SIGHUP: another reload is in progress; reloading after it")
        elif number != signal.SIGCHLD:
            logger.info("stopping on %s", _signal_name(number))
            self._stop()

    @property
    def _is_replacing(self) -> bool:
        """Return whether some listener has two backends, or is gone and has one.

        The next program gets one backend for each listener. It could not end or reap
        others. If a successor died or was not started yet, the former backend is the one.
        """
        return bool(self._gone) or any(each.backend and each.former for each in self._served)

    def _reload(self, program: Program) -> None:
        self._reload_wanted = False
        logger.info("SIGHUP: reloading")
        self._notifier.reloading()
        # Nobody feeds the watchdog while the new program is checked, nor while it starts.
        self._notifier.alive()
        backends = {each.listener: each.processes[0].pid for each in self._served if each.processes}
        try:
            program.start_anew(self._bound, backends, checked=self._notifier.alive)
        except ReexecError as error:
            for line in str(error).splitlines():
                logger.error("%s", line)  # noqa: TRY400 - all is said
        if self._phase is _Phase.SERVING:
            self._notifier.ready()

    def _stop(self) -> None:
        """Send SIGTERM to all backends. The second SIGTERM makes them end at once."""
        if self._phase is not _Phase.STOPPING:
            self._phase = _Phase.STOPPING
            self._notifier.stopping()
            # Otherwise clients could connect after the backends have closed their sockets, and
            # nobody would answer.
            listeners.close(self._bound)
        for each in self._processes():
            each.end(signal.SIGTERM, self._drain)


def _reap_orphans(ours: Collection[int]) -> None:
    """Reap what process 1 of a container is given, such as a health check whose parent is gone."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # there are none
            return
        if ended is None or ended.si_pid in ours:  # SIGCHLD follows for one of ours
            return
        os.waitpid(ended.si_pid, 0)


def _how(code: int) -> str:
    return f"by signal {_signal_name(-code)}" if code < 0 else f"with status {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between SIGRTMIN and SIGRTMAX has none
        return str(number)


def _become(name: str) -> None:
    """Become another user for good. Raise KeyError if it is unknown, OSError if not allowed."""
    user = pwd.getpwnam(name)
    if os.getuid() == user.pw_uid:
        return
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = user.pw_dir
