"""What the broker's side counts: plain integers, because of the hot path."""

import time
from collections import Counter
from dataclasses import dataclass, fields

from ..message import Outcome


@dataclass(eq=False)
class SessionStatistics:
    """The counts of one virtual host and user; two passwords of one user add up."""

    connections_opened: int = 0
    connections_closed: int = 0
    channels_opened: int = 0
    channels_closed: int = 0
    channels_refused: int = 0  # of those: by the broker, over a message
    channels_lost: int = 0  # of those: with their connection
    publishes: int = 0  # messages that the broker confirmed
    reconnects: int = 0  # connections opened after one that was lost
    ended_at: float = 0.0  # Unix time at which the last connection ended
    last_error: tuple[float, str] = 0.0, ""  # Unix time, and what the broker or the network said
    rate: float = 0.0  # of publishes, a second
    _rated: int = 0  # publishes at the last look
    _lost: bool = False  # the last connection was

    def opened(self) -> None:
        """Count a login that has succeeded."""
        self.connections_opened += 1
        self.reconnects += self._lost
        self._lost = False

    def closed(self, lost_by: str) -> None:
        """Count a connection that has ended; ``lost_by`` is the reason if we did not end it."""
        self.connections_closed += 1
        self.ended_at = time.time()
        self._lost = bool(lost_by)
        if lost_by:
            self.failed(lost_by)

    def failed(self, reason: str) -> None:
        """Remember why there is no connection."""
        self.last_error = time.time(), str(reason)

    def look(self, seconds: float) -> None:
        """Measure the rate of publishes over the ``seconds`` since the last call."""
        self.rate = (self.publishes - self._rated) / seconds
        self._rated = self.publishes

    def add(self, other: "SessionStatistics") -> None:
        """Add what another has counted."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


COUNTS = [field.name for field in fields(SessionStatistics) if field.type is int]


class ConnectionCounters:
    """The counts of all connections to the broker that this backend has had."""

    def __init__(self) -> None:
        self.closed: Counter[str] = Counter()  # connections that were open, by CloseReason.label
        self.attempts_failed = 0
        self.logins_refused = 0
        self.refusals: Counter[str] = Counter()  # of messages and bodies, by the limit
        self.received = 0  # bytes, on connections that are gone
        self.sent = 0  # likewise


class ExchangeCounts:
    """Outcomes by (virtual host, exchange), of ``most`` exchanges.

    An exchange has a place from its first confirmed message on, because clients can make up
    names without end. Whatever has none is counted with ``OTHERS``.
    """

    OTHERS = ("", "")  # no virtual host has this name, because no path can name it

    def __init__(self, most: int) -> None:
        self.most = most
        self.counts: dict[tuple[str, str], Counter[Outcome]] = {self.OTHERS: Counter()}

    def count(self, virtual_host: str, exchange: str, outcome: Outcome) -> None:
        """Count a message with this outcome."""
        key = virtual_host, exchange
        found = self.counts.get(key)
        if found is None:
            if outcome is Outcome.CONFIRMED and len(self.counts) <= self.most:
                found = self.counts[key] = Counter()
            else:
                found = self.counts[self.OTHERS]
        found[outcome] += 1
