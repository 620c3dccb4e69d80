"""Whether the broker has blocked publishers: a memory or disk alarm.

RabbitMQ tells only the connections that have published during the alarm, and an alarm
holds for the whole cluster. So one blocked connection stands for all.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from .connection import BrokerConnection

logger = logging.getLogger(__name__)


class ResourceAlarm:
    """``active`` while any connection is blocked; the callbacks report its begin and end."""

    def __init__(self, on_begin: Callable[[], None], on_end: Callable[[], None]) -> None:
        self.active = False
        self.reason = ""
        self._begun_at = 0  # nanoseconds, as the next
        self._blocked_for = 0  # by the alarms that are over
        self._blocked: set[object] = set()
        self._on_begin = on_begin
        self._on_end = on_end

    def blocked(self, connection: object, reason: str) -> None:
        """Note that the broker has blocked this connection."""
        self._blocked.add(connection)
        if not self.active:
            self.active, self.reason = True, reason
            self._begun_at = time.monotonic_ns()
            logger.warning("the broker blocks publishers: %s", reason)
            self._on_begin()

    def unblocked(self, connection: object) -> None:
        """Note that the connection is no longer blocked, or no longer there."""
        self._blocked.discard(connection)
        if self.active and not self._blocked:
            self.active = False
            self._blocked_for += time.monotonic_ns() - self._begun_at
            logger.warning("the broker takes publishes again")
            self._on_end()

    @property
    def nanoseconds(self) -> int:
        """Return how long publishers have been blocked in total."""
        running = time.monotonic_ns() - self._begun_at if self.active else 0
        return self._blocked_for + running


class EndOfAlarm:
    """A channel that is opened to learn when the broker reads again; it closes itself.

    RabbitMQ reads nothing from a connection that an alarm blocks. So Open-Ok comes when
    the alarm is over, also if Connection.Unblocked was lost.
    """

    def __init__(self, connection: BrokerConnection, on_end: Callable[[], None]) -> None:
        self._connection = connection
        self._on_end = on_end
        self._number = connection.open_channel(self)

    def opened(self) -> None:
        """Report that the broker reads."""
        self._on_end()
        self._connection.close_channel(self._number)

    def settled(self, *_: Any, **__: Any) -> None:
        """Do nothing, because nothing is sent on it, and nothing is lost with it."""

    closed = ended = settled
