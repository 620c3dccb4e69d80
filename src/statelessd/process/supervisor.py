"""The parent: one backend process for each listener, started, watched, and stopped in order.

It stays what it was started as (root, for low ports and the pidfile), does
nothing but wait for signals, and has no event loop and no threads, so that
forking it is safe at any time.

A reload is an exec of the parent (see ``handover``). The new program finds the
backends of the old one and replaces them one by one: a successor starts on the
same sockets, and only when it serves is the old one told to retire.
"""

import ctypes
import logging
import os
import pwd
import signal
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from ..config.settings import Config, Listener
from . import sockets as listeners
from .daemon import StartReport
from .reexec import RETIRE, Program
from .sockets import name_of
from .systemd import Notifier

logger = logging.getLogger(__name__)

RunBackend = Callable[[Config, list[socket.socket], Listener, Callable[[], None]], int]
"""Serves a listener, and calls the last argument once it does; returns the exit status."""

WATCHED = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before another start of a backend that died again
SETTLED = 30.0  # seconds after which a backend counts as running well
AT_START = 2.0  # seconds within which a death means that it cannot start, though it served
ATTEMPTS = 3  # of all backends to start
GRACE = 3.0  # seconds beyond the drain time before a backend is killed
LOOK = 0.05  # seconds between looks at a backend that is starting
PR_SET_PDEATHSIG = 1  # prctl(2)
PACKAGE = Path(__file__).parent.parent


class _Child:
    """One port or Unix socket, and the process that serves it.

    ``former``: the process of the program before a reload, which serves until
    its successor does.
    """

    def __init__(self, listener: Listener, former: int = 0) -> None:
        self.listener = listener
        self.pid = 0  # 0: not running
        self.former = former
        self.retire_by = 0.0  # when the former is killed; 0: it was not told yet
        self.serves = False
        self.started_at = 0.0
        self.start_at = 0.0  # when to start (again)
        self.deaths = 0  # in a row, none of them after running well
        self.failed_starts = 0
        self.signs = -1  # the descriptor through which the process says that it serves

    def look(self) -> None:
        """Whether it serves by now."""
        if self.signs < 0:
            return
        try:
            self.serves = bool(os.read(self.signs, 1))
        except BlockingIOError:
            return
        self.close()

    def close(self) -> None:
        """Its sign was seen, or will not come."""
        if self.signs >= 0:
            os.close(self.signs)
            self.signs = -1


class Supervisor:
    """``user``: whom the backends become; ``private``: file descriptors they must not keep.

    ``former``: backends of the program before a reload. ``program``: what to
    become on SIGHUP; without one it stops, for it has lost its terminal. ``report``: who
    waits to hear how the start went.
    """

    def __init__(
        self,
        config: Config,
        bound: Mapping[Listener, list[socket.socket]],
        run_backend: RunBackend,
        *,
        user: str | None = None,
        private: Sequence[int] = (),
        former: Mapping[Listener, int] | None = None,
        program: Program | None = None,
        report: StartReport | None = None,
    ) -> None:
        self._config = config
        self._bound = bound
        self._run_backend = run_backend
        self._user = user
        self._private = private
        self._program = program
        self._report = report
        former = former or {}
        self._children = [_Child(listener, former.get(listener, 0)) for listener in bound]
        # Of listeners that the configuration no longer has.
        self._others = [_Child(each, pid) for each, pid in former.items() if each not in bound]
        self._notifier = Notifier()
        self._told_ready = False
        self._to_reload = False
        self._stop_deadline = 0.0
        self._status = 0

    def run(self) -> int:
        """Keep the backends running until told to stop; the exit status."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED) - WATCHED
        for child in self._others:
            self._retire(child)
        try:
            while True:
                self._reap()
                if not self._stop_deadline:
                    self._go_on(mask)
                elif not self._processes():
                    return self._status
                received = signal.sigtimedwait(WATCHED, self._patience())
                if received is not None:
                    self._handle(received.si_signo)
                else:
                    self._end_what_is_late()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _processes(self) -> list[int]:
        """All that are there, former ones too."""
        children = [*self._children, *self._others]
        return [pid for child in children for pid in (child.pid, child.former) if pid]

    # Starting

    def _go_on(self, mask: set[int | signal.Signals]) -> None:
        """Start what is due; with formers about, one listener after the other."""
        now = time.monotonic()
        for child in self._children:
            child.look()
            if child.serves and child.former and not child.retire_by:
                self._retire(child)
        if self._to_reload and self._program is not None and not self._is_replacing:
            self._reload(self._program)
        rolling = next((c for c in self._children if c.former), None)
        for child in self._children:
            waits = child.former and child is not rolling
            if not child.pid and not waits and now >= child.start_at:
                child.started_at = now
                child.serves = False
                child.pid = self._fork(child, mask)
        if not self._told_ready and all(c.serves and not c.former for c in self._children):
            self._told_ready = True
            self._notifier.ready()
        self._tell_start()
        self._notifier.alive()

    def _tell_start(self) -> None:
        """Tell who started this that it serves, when no other backend is still starting."""
        serving = [child.serves for child in self._children]
        settled = all(child.serves or child.failed_starts for child in self._children)
        if self._report is not None and any(serving) and settled:
            self._report.serves()
            self._report = None

    def _retire(self, child: _Child) -> None:
        """Tell the former backend that it is no longer needed."""
        logger.info("the former backend on %s retires", name_of(child.listener))
        child.retire_by = time.monotonic() + self._config.http_server.drain_timeout + GRACE
        os.kill(child.former, RETIRE)

    def _fork(self, child: _Child, mask: set[int | signal.Signals]) -> int:
        parent = os.getpid()
        child.close()
        child.signs, sign = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(sign, True)
        pid = os.fork()
        if pid:
            os.close(sign)
            return pid
        status = 1
        listener = child.listener

        def serves() -> None:
            os.write(sign, b"+")
            os.close(sign)
            if self._report is not None:
                self._report.close()

        try:
            self._become_backend(listener, parent, mask)
            status = self._run_backend(self._config, self._bound[listener], listener, serves)
        except BaseException as error:
            logger.exception("the backend on %s failed", name_of(listener))
            if self._report is not None:
                self._report.failed(f"the backend on {name_of(listener)} failed: {error}")
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
        self._notifier.forget()
        for other, sockets in self._bound.items():
            if other != listener:
                for each in sockets:
                    each.close()
        for descriptor in self._private:
            os.close(descriptor)
        if self._user is not None:
            become(self._user)
            if not os.access(PACKAGE, os.R_OK | os.X_OK):
                raise PermissionError(f"the user {self._user} may not read {PACKAGE}")
        # Set after the change of user, which clears it: a backend must not
        # outlive a parent that was killed.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    # Watching

    def _reap(self) -> None:
        for child in [*self._children, *self._others]:
            if child.former and (code := _exit_code(child.former)) is not None:
                child.former = 0
                how = _how(code)
                logger.info("the former backend on %s ended %s", name_of(child.listener), how)
            if child.pid and (code := _exit_code(child.pid)) is not None:
                child.look()
                served = child.serves
                child.pid = 0
                child.serves = False
                child.close()
                self._died(child, code, served=served)
        self._others = [child for child in self._others if child.former]
        _reap_orphans(self._processes())

    def _died(self, child: _Child, code: int, *, served: bool) -> None:
        how = _how(code)
        if self._stop_deadline:
            logger.info("the backend on %s ended %s", name_of(child.listener), how)
            return
        now = time.monotonic()
        age = now - child.started_at
        child.deaths = 1 if age >= SETTLED else child.deaths + 1
        child.failed_starts = child.failed_starts + 1 if age < AT_START or not served else 0
        pause = 0.0 if child.deaths == 1 else FIRST_PAUSE * 2.0 ** (child.deaths - 2)
        child.start_at = now + min(pause, LONGEST_PAUSE)
        name = name_of(child.listener)
        logger.error("the backend on %s ended %s; it is started again", name, how)
        if all(c.failed_starts >= ATTEMPTS for c in self._children) and not any(
            c.former for c in self._children
        ):
            logger.critical("no backend could be started; the last one ended %s", how)
            if self._report is not None:
                self._report.failed(f"no backend could be started; the last one ended {how}")
            self._status = 1
            self._stop()

    def _patience(self) -> float:
        """Seconds until something is due without a signal."""
        now = time.monotonic()
        if self._stop_deadline:
            return max(0.0, self._stop_deadline - now)
        due = [child.start_at for child in self._children if not child.pid]
        due += [child.retire_by for child in [*self._children, *self._others] if child.former]
        due += [now + LOOK for child in self._children if child.pid and not child.serves]
        return max(0.0, min([each - now for each in due if each], default=self._notifier.interval))

    def _end_what_is_late(self) -> None:
        now = time.monotonic()
        if self._stop_deadline and now >= self._stop_deadline:
            self._kill()
        for child in [*self._children, *self._others]:
            if child.former and child.retire_by and now >= child.retire_by:
                self._kill_one(child.listener, child.former)
                child.retire_by = now + GRACE

    # Reloading and stopping

    def _handle(self, number: int) -> None:
        if number == signal.SIGHUP and self._program is not None:
            self._to_reload = True
            if self._is_replacing and not self._stop_deadline:
                logger.info("SIGHUP: reloading once the last reload lets it")
        elif number != signal.SIGCHLD:
            logger.info("stopping on %s", _signal_name(number))
            self._stop()

    @property
    def _is_replacing(self) -> bool:
        """Some listener has two backends, or is gone and has one.

        The program that comes next is told of one for each listener, and could not
        end, nor even reap, those it does not know of. A former backend whose
        successor died, or was not started yet, is that one.
        """
        return bool(self._others) or any(c.pid and c.former for c in self._children)

    def _reload(self, program: Program) -> None:
        self._to_reload = False
        logger.info("SIGHUP: reloading")
        self._notifier.reloading()
        if complaints := program.complaints(self._bound):
            logger.error("the new configuration cannot be used; nothing changes:\n%s", complaints)
        else:
            try:
                program.become(self._bound, {c.listener: c.pid or c.former for c in self._children})
            except OSError as error:
                logger.error("the program cannot be started anew; nothing changes: %s", error)  # noqa: TRY400 - all is said
        if self._told_ready:
            self._notifier.ready()

    def _stop(self) -> None:
        """SIGTERM for all; a second time it tells them to hurry."""
        if not self._stop_deadline:
            self._notifier.stopping()
            drain = self._config.http_server.drain_timeout
            self._stop_deadline = time.monotonic() + drain + GRACE
            # Else whoever connects after the backends have closed theirs would wait in vain.
            listeners.close(self._bound)
        for pid in self._processes():
            os.kill(pid, signal.SIGTERM)

    def _kill(self) -> None:
        for child in [*self._children, *self._others]:
            for pid in (child.pid, child.former):
                if pid:
                    self._kill_one(child.listener, pid)
        self._stop_deadline = time.monotonic() + GRACE

    def _kill_one(self, listener: Listener, pid: int) -> None:
        logger.error("the backend on %s did not stop in time; killing it", name_of(listener))
        os.kill(pid, signal.SIGKILL)


def _exit_code(pid: int) -> int | None:
    """Negative for a signal; None while the process lives."""
    try:
        ended, wait_status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # not ours: it cannot be told how it ended
        return 0
    return os.waitstatus_to_exitcode(wait_status) if ended else None


def _reap_orphans(ours: Collection[int]) -> None:
    """Process 1 of a container gets those whose parent is gone, such as a health check's."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # there are none
            return
        if ended is None or ended.si_pid in ours:  # one of ours, a moment ago: SIGCHLD follows
            return
        os.waitpid(ended.si_pid, 0)


def _how(code: int) -> str:
    return f"by signal {_signal_name(-code)}" if code < 0 else f"with status {code}"


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
