"""What the broker's side counts: plain integers, because of the hot path."""

import enum
import time
from collections import Counter
from dataclasses import dataclass, fields

import msgspec

from ..message import Outcome
from ..telemetry.histogram import FineHistogram, Histogram


@dataclass(slots=True, eq=False)
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


class BrokerStatus(enum.Enum):
    """The broker's state, as far as publishes are concerned."""

    UNUSED = "unused"  # no connection, and nobody has looked for a while
    REACHABLE = "reachable"  # no connection, and the broker answers
    CONNECTED = "connected"
    BLOCKED = "blocked"  # connected, and the broker takes no publishes
    UNREACHABLE = "unreachable"  # connections are needed, and none can be made
    REFUSED = "refused"  # no connection, and the broker does not take the probe's login

    @property
    def takes_publishes(self) -> bool:
        """Return whether it takes publishes, as far as is known."""
        return self in (BrokerStatus.UNUSED, BrokerStatus.REACHABLE, BrokerStatus.CONNECTED)


class BrokerState(msgspec.Struct, frozen=True):
    """The broker's state for ``/readyz`` and ``/stats``; ``reason`` is empty if all is well."""

    state: BrokerStatus
    reason: str = ""


class BrokerFigures(msgspec.Struct, frozen=True):
    """What the broker's side counts and holds, for the pages."""

    published: int = 0  # messages confirmed, as /stats counts them
    outcomes: dict[str, int] = {}  # of all publishes that have one
    by_exchange: dict[tuple[str, str], dict[str, int]] = {}  # likewise, if it is counted
    waits: Histogram = msgspec.field(default_factory=Histogram)
    confirms: FineHistogram = msgspec.field(default_factory=FineHistogram)
    waiting: int = 0  # messages
    in_flight: int = 0  # likewise
    bytes: int = 0  # of both
    refusals: dict[str, int] = {}  # by limit
    connections: int = 0  # open now
    node_connections: dict[str, int] = {}  # likewise, of each node that the settings name
    nodes_up: dict[str, bool] = {}  # as far as the last attempt to connect can tell
    connections_opened: int = 0
    connections_closed: dict[str, int] = {}  # by reason
    attempts_failed: int = 0
    logins_waiting: int = 0  # for their turn
    logins_under_way: int = 0
    logins_refused: int = 0
    channels_opened: int = 0
    channels_closed: dict[str, int] = {}  # by reason
    blocked: bool = False
    blocked_nanoseconds: int = 0
    received: int = 0  # bytes
    sent: int = 0  # likewise
