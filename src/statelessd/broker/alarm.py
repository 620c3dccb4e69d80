"""Whether the broker takes publishes at all.

RabbitMQ tells only the connections that have published under its alarm, and an
alarm holds for the whole cluster: so one connection's block stands for all.
"""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class ResourceAlarm:
    """``active`` while any connection is blocked; the callbacks tell of its beginning and end."""

    def __init__(self, on_begin: Callable[[], None], on_end: Callable[[], None]) -> None:
        self.active = False
        self.reason = ""
        self._begun_at = 0  # nanoseconds, as the next
        self._blocked_for = 0  # by those that are over
        self._blocked: set[object] = set()
        self._on_begin = on_begin
        self._on_end = on_end

    def add(self, connection: object, reason: str) -> None:
        """The broker has blocked this connection."""
        self._blocked.add(connection)
        if not self.active:
            self.active, self.reason = True, reason
            self._begun_at = time.monotonic_ns()
            logger.warning("the broker blocks publishers: %s", reason)
            self._on_begin()

    def remove(self, connection: object) -> None:
        """The connection is no longer blocked, or no longer there."""
        self._blocked.discard(connection)
        if self.active and not self._blocked:
            self.active = False
            self._blocked_for += time.monotonic_ns() - self._begun_at
            logger.warning("the broker takes publishes again")
            self._on_end()

    @property
    def nanoseconds(self) -> int:
        """For how long publishers have been blocked, in all."""
        running = time.monotonic_ns() - self._begun_at if self.active else 0
        return self._blocked_for + running
