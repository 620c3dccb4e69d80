"""What has been counted for one (virtual host, user): plain integers on the hot path."""

import enum
from collections import Counter

import msgspec

from ..histogram import Histogram


class SessionStatistics:
    """Counts since the start; two passwords of one user add up."""

    __slots__ = (
        "channels_closed",
        "channels_opened",
        "connections_closed",
        "connections_opened",
        "publishes",
    )

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_closed = 0
        self.channels_opened = 0
        self.channels_closed = 0
        self.publishes = 0  # messages that the broker confirmed


class ConnectionCounters:
    """Of all connections to the broker that this backend has had."""

    # What a reason that is told to people begins with -> the word that is counted.
    KINDS = (
        ("idle", "idle"),
        ("replaced", "replaced"),
        ("its token", "expired"),
        ("the least recently used", "limit"),
        ("shutting down", "shutdown"),
        ("the broker closed it", "broker"),
        ("the broker confirmed nothing", "stalled"),
        ("nothing was heard", "silent"),
    )
    OTHER = "network"

    def __init__(self) -> None:
        self.closed: Counter[str] = Counter()
        self.attempts_failed = 0
        self.logins_refused = 0
        self.received = 0  # bytes, on connections that are gone
        self.sent = 0  # likewise

    def lost(self, reason: str) -> None:
        """An open connection has ended."""
        for beginning, kind in self.KINDS:
            if reason.startswith(beginning):
                self.closed[kind] += 1
                return
        self.closed[self.OTHER] += 1


class BrokerStatus(enum.Enum):
    """How publishes stand with the broker, in one word."""

    UNUSED = "unused"  # nobody has published for a while, so there is no connection
    CONNECTED = "connected"
    BLOCKED = "blocked"  # connected, and the broker takes no publishes
    UNREACHABLE = "unreachable"  # connections are asked for, and none can be had


class BrokerState(msgspec.Struct, frozen=True):
    """For ``/readyz`` and ``/stats``; ``reason`` is empty where all is well."""

    state: BrokerStatus
    reason: str = ""


class NodeMetrics(msgspec.Struct, frozen=True):
    """Of one node that the settings name."""

    name: str
    connections: int  # open now
    up: bool  # as far as the last attempt to connect can tell


class BrokerMetrics(msgspec.Struct, frozen=True):
    """What the broker's side counts, for ``/metrics``."""

    outcomes: dict[str, int]  # of all publishes that have one
    waits: Histogram
    confirms: Histogram
    waiting: int  # messages
    in_flight: int  # likewise
    bytes: int  # of both
    refusals: dict[str, int]  # by limit
    connections: int  # open now
    nodes: list[NodeMetrics]
    connections_opened: int
    connections_closed: dict[str, int]  # by reason
    attempts_failed: int
    logins_refused: int
    channels_opened: int
    channels_closed: int
    blocked: bool
    blocked_seconds: float
    received: int  # bytes
    sent: int  # likewise
