"""The lingering close: how long a connection discards what comes behind its last answer.

A client may send the rest of a request after it was answered. If the connection ended at
once, the client's host would drop the answer with the reset (RFC 9112 section 9.6).
"""

import asyncio

from . import probes
from .places import Open
from .shared import Shared

PATIENCE = 5.0  # seconds without enough bytes, while more of a request is due
LAST_WORDS = 2.0  # seconds for a request that may be on its way when the server stops


class Linger:
    """Decides when a connection has discarded enough.

    Each byte buys the time that it may take at ``linger_rate``, so a client that sends
    faster can go on up to ``linger_timeout``. One that is silent has ``patience`` seconds.
    """

    __slots__ = ("_ends_at", "_patience", "_quiet_until", "_rate", "_received")

    def __init__(self, shared: Shared, patience: float) -> None:
        limits, now = shared.limits, shared.loop.time()
        self._rate = limits.linger_rate
        self._patience = patience
        self._ends_at = now + limits.linger_timeout
        self._quiet_until = now + patience
        self._received = 0  # bytes since the last check

    @classmethod
    def begin(
        cls, connection: Open, shared: Shared, may_arrive: bool, is_tls: bool
    ) -> "Linger | None":
        """Return what decides, or None if there is no reason or no place to linger.

        ``may_arrive`` says that more of a request is due. A server that stops waits for
        one that may be on its way as well, where it can close its half first.
        """
        if may_arrive:
            if len(shared.lingering) >= shared.limits.max_lingering:
                return None
            shared.lingering.add(connection)
            return cls(shared, PATIENCE)
        return cls(shared, LAST_WORDS) if shared.draining and not is_tls else None

    def discard(self, size: int) -> None:
        """Count ``size`` bytes that came."""
        self._received += size

    def is_over(self, now: float, transport: asyncio.Transport) -> bool:
        """Return whether the client has had its time, or sends too slowly. Call it each check."""
        bought = self._received / self._rate
        self._received = 0
        self._quiet_until = min(self._quiet_until + bought, now + self._patience)
        if now >= self._ends_at:
            return True
        # If bytes wait in the socket, it is this process that is slow.
        return now >= self._quiet_until and not probes.polls(transport, probes.READABLE)
