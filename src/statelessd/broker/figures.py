"""What people and monitors read of the broker's side."""

import enum

import msgspec

from ..telemetry.histogram import FineHistogram, Histogram


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
