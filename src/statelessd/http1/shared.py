"""What the connections of one server share."""

import asyncio
import logging
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from ..failures import Failures
from .budget import Budget
from .limits import Limits
from .places import Open, Places
from .timeouts import seconds
from .turns import Turns

logger = logging.getLogger(__name__)


class Shared:
    """What all connections of a server share.

    ``make_handler`` is called with each connection, and returns its ``Handler``.
    """

    def __init__(
        self,
        limits: Limits,
        make_handler: Callable[[Any], Any],
        loop: asyncio.AbstractEventLoop,
        on_date: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.limits = limits
        self.seconds = seconds(limits)
        self.budget = Budget(limits.max_unverified_bytes)
        self.make_handler = make_handler
        self.loop = loop
        self.places = Places(limits.max_connections)
        self.connections = self.places.open
        self.turns = Turns(loop)
        self.lingering: set[Open] = set()  # those that discard the rest of a request
        self.draining = False  # each response is the last one of its connection
        self.date = b""
        self.failures = Failures(logger)
        self._on_date = on_date
        self.set_date()

    def set_date(self) -> None:
        """Take the time of this second for the Date field (RFC 9110 section 6.6.1)."""
        self.date = formatdate(time.time(), usegmt=True).encode()
        self._on_date(self.date)

    def check_timeouts(self) -> None:
        """Let each connection check its time-outs. Call it a few times a second."""
        now = self.loop.time()
        for connection in list(self.connections):
            try:
                connection.check_timeouts(now)
            except Exception as error:  # the time-outs of the others must not stop over it
                self.failures.log("checking the time-outs of a client", error)
                connection.abort()
