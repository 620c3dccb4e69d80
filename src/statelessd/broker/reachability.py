"""Whether the broker can be reached, as all logins of a backend and the probe find it.

Also what is logged of it: a line for each change, and not one for each login
that notices.
"""

import logging
import math
import time
from collections.abc import Callable

from .statistics import BrokerState, BrokerStatus

logger = logging.getLogger(__name__)
logins_logger = logging.getLogger(f"{__package__}.session")  # whose lines these are

KNOWN_FOR = 60.0  # seconds; what nobody has looked at for longer, nobody knows
LINES, WINDOW = 20, 10.0  # lines about single logins, in so many seconds


class Reachability:
    """Told by those who try. ``known_for``: seconds for which what they found holds."""

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
        """What is known at this moment. Whether the broker blocks publishers is not."""
        if self._open:
            return BrokerState(BrokerStatus.CONNECTED)
        if self.age > self._known_for:
            return BrokerState(BrokerStatus.UNUSED)
        return self._found

    @property
    def is_connected(self) -> bool:
        """There are connections, whose heartbeats tell."""
        return bool(self._open)

    @property
    def age(self) -> float:
        """Seconds since somebody tried, or since the last connection was closed in order."""
        return self._clock() - self._found_at

    @property
    def is_away(self) -> bool:
        """The last one who tried could not reach the broker."""
        return self._found.state is BrokerStatus.UNREACHABLE

    def opened(self, connection: object) -> None:
        """A login has succeeded."""
        self._open.add(connection)
        self.answered()

    def ended(self, connection: object, *, lost: bool) -> None:
        """Its connection is no longer there; ``lost``: not by our will.

        That alone is no change worth a warning: a user without a right to any
        channel has each new connection closed by the broker.
        """
        if connection in self._open:
            self._open.discard(connection)
            now = self._clock()
            self._found_at = -math.inf if lost else now
            if lost and not self._open:
                self._lost_at = now

    def answered(self, *, probe: bool = False) -> None:
        """The broker spoke, though it may not have taken the login.

        What users' logins find does not disprove that the ``probe``'s is refused.
        """
        if self.is_away:
            away = self._clock() - self._away_since
            logger.warning("the broker is reached again, after %.1f s", away)
        elif self._found.state is BrokerStatus.REFUSED:
            if not probe:
                return
            logger.warning("the broker takes the probe's login again")
        self._lost_at = None
        self._find(BrokerState(BrokerStatus.REACHABLE))

    def failed(self, reason: str, logged: str = "") -> bool:
        """An attempt found no broker; whether that holds for all: not if others are connected.

        ``logged``: the reason with what only the log may tell.
        """
        if self._open:
            return False
        if not self.is_away:
            self._away_since = self._clock() if self._lost_at is None else self._lost_at
            logger.warning("the broker cannot be reached: %s", logged or reason)
        self._find(BrokerState(BrokerStatus.UNREACHABLE, reason))
        return True

    def refused(self, reason: str) -> None:
        """The broker answers, and does not take the probe's login."""
        if self._found.state is not BrokerStatus.REFUSED:
            logger.warning("the broker does not take the probe's login: %s", reason)
        self._lost_at = None
        self._find(BrokerState(BrokerStatus.REFUSED, reason))

    def _find(self, state: BrokerState) -> None:
        self._found, self._found_at = state, self._clock()


class LoginLog:
    """Single logins' lines, at INFO: no more than ``LINES`` in ``WINDOW`` seconds, then a count.

    A broker's restart ends a thousand logins at once, and a loop with random
    passwords makes each request one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._lines = 0

    def say(self, text: str, *args: object) -> None:
        """Log it, if there is room; else at DEBUG."""
        self.tick()
        self._lines += 1
        logins_logger.log(logging.INFO if self._lines <= LINES else logging.DEBUG, text, *args)

    def tick(self) -> None:
        """Now and then: tell how many lines the window that is over had no room for."""
        now = self._clock()
        if now - self._since >= WINDOW:
            if self._lines > LINES:
                logins_logger.info("%d more lines about logins were left out", self._lines - LINES)
            self._since, self._lines = now, 0
