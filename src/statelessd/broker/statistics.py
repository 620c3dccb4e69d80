"""What has been counted for one (virtual host, user): plain integers on the hot path."""

import enum

import msgspec


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
