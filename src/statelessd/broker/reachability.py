"""Whether the broker can be reached, as all logins of a backend and the probe find it.

Each change is logged once, and not by each login that notices it.
"""

import logging
import math
import time
from collections.abc import Callable

from ..telemetry.log_limit import Line, LogLimit
from .figures import BrokerState, BrokerStatus

logger = logging.getLogger(__name__)
logins_logger = logging.getLogger(f"{__package__}.session")  # whose lines these are

KNOWN_FOR = 60.0  # seconds for which the last finding holds


class Reachability:
    """Keeps what logins and the probe have found, for ``known_for`` seconds."""

    def __init__(
        self, known_for: float = KNOWN_FOR, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.logins = LoginLog(clock)
        self._known_for = known_for
        self._clock = clock
        self._open: set[object] = set()  # connections
        self._found = BrokerState(BrokerStatus.UNUSED)
        self._found_at = -math.inf
        self._lost_at: float | None = None  # when the last connection was lost
        self._away_since = 0.0

    @property
    def state(self) -> BrokerState:
        """Return what is known now, except whether the broker blocks publishers."""
        if self._open:
            return BrokerState(BrokerStatus.CONNECTED)
        if self.age > self._known_for:
            return BrokerState(BrokerStatus.UNUSED)
        return self._found

    @property
    def failure(self) -> str:
        """Return why the broker cannot be reached, or ""."""
        return "" if self._open or not self.is_away else self._found.reason

    @property
    def is_connected(self) -> bool:
        """Return whether there are connections, whose heartbeats watch the broker."""
        return bool(self._open)

    @property
    def age(self) -> float:
        """Return the seconds since the last attempt, or since a connection was closed in order."""
        return self._clock() - self._found_at

    @property
    def is_away(self) -> bool:
        """Return whether the last attempt could not reach the broker."""
        return self._found.state is BrokerStatus.UNREACHABLE

    def opened(self, connection: object) -> None:
        """Note that a login has succeeded."""
        self._open.add(connection)
        self.answered()

    def ended(self, connection: object, *, lost: bool) -> None:
        """Note the end of a login's connection; ``lost``: the gateway did not close it."""
        if connection in self._open:
            self._open.discard(connection)
            now = self._clock()
            self._found_at = -math.inf if lost else now
            if lost and not self._open:
                self._lost_at = now

    def answered(self, *, probe: bool = False) -> None:
        """Note that the broker answered, although it may have refused the login.

        Only the ``probe`` itself can find that its own login is not refused any more.
        """
        if self.is_away:
            away = self._clock() - self._away_since
            logger.warning("the broker is reachable again, after %.1f s", away)
        elif self._found.state is BrokerStatus.REFUSED:
            if not probe:
                return
            logger.warning("the broker accepts the probe's login again")
        self._lost_at = None
        self._find(BrokerState(BrokerStatus.REACHABLE))

    def failed(self, reason: str, logged: str = "") -> bool:
        """Note a failed attempt; return False if others are connected, so the broker is there."""
        if self._open:
            return False
        if not self.is_away:
            self._away_since = self._clock() if self._lost_at is None else self._lost_at
            logger.warning("cannot reach the broker: %s", logged or reason)
        self._find(BrokerState(BrokerStatus.UNREACHABLE, reason))
        return True

    def refused(self, reason: str) -> None:
        """Note that the broker answers and refuses the probe's login."""
        if self._found.state is not BrokerStatus.REFUSED:
            logger.warning("the broker refuses the probe's login: %s", reason)
        self._lost_at = None
        self._find(BrokerState(BrokerStatus.REFUSED, reason))

    def _find(self, state: BrokerState) -> None:
        self._found, self._found_at = state, self._clock()


class LoginLog:
    """Logs single logins at INFO within bounds: a restart of the broker ends a thousand at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = LogLimit(clock=clock)

    def say(self, text: str, *args: object) -> None:
        """Log at INFO if there is room, and at DEBUG otherwise."""
        lines = self._limit.add(text, (text, args))
        self._write(lines)
        if not lines:
            logins_logger.debug(text, *args)

    def tick(self, *, at_once: bool = False) -> None:
        """Log how many lines were left out. Now and then, and ``at_once`` before the end."""
        self._write(self._limit.due(at_once=at_once))

    def _write(self, lines: list[Line]) -> None:
        for line in lines:
            text, args = line.content
            fields = {"left_out": line.left_out}
            logins_logger.info("%s%s", text % args, line.suffix, extra=fields)
