"""Whether the broker has blocked publishers: a memory or disk alarm.

RabbitMQ tells only the connections that have published during the alarm, and an alarm
holds for the whole cluster. So one blocked connection stands for all.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from ..amqp.events import Settlement
from .connection import BrokerConnection

logger = logging.getLogger(__name__)


class ResourceAlarm:
    """``active`` while any connection is blocked; the callbacks report its begin and end.

    They are called in the next turn of the event loop, because each may touch every session
    and a broker can change its mind thousands of times in one read.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_begin: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._reported, self._will_report = False, False
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
            self._report_soon()

    def unblocked(self, connection: object) -> None:
        """Note that the connection is no longer blocked, or no longer there."""
        self._blocked.discard(connection)
        if self.active and not self._blocked:
            self.active = False
            self._blocked_for += time.monotonic_ns() - self._begun_at
            self._report_soon()

    def _report_soon(self) -> None:
        if not self._will_report:
            self._will_report = True
            self._loop.call_soon(self._report)

    def _report(self) -> None:
        self._will_report = False
        if self.active is not self._reported:
            self._reported = self.active
            if self.active:
                logger.warning("the broker blocks publishers: %s", self.reason)
            else:
                logger.warning("the broker accepts publishes again")
        # Also if nothing has changed in the end: a message may have come to wait meanwhile.
        if self.active:
            self._on_begin()
        else:
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

    # Nothing is sent on it, and nothing is lost with it.

    def settled(self, settled: list[tuple[Any, Settlement]], oldest: int) -> None:
        """Do nothing."""

    def closed(self, code: int, text: str, lost: list[Any], method: tuple[int, int]) -> None:
        """Do nothing."""

    def ended(self) -> None:
        """Do nothing."""
