"""What the protocol tells its driver, and the methods that ``frames`` decodes itself.

Structs rather than dataclasses: one is made for each ack, and a frozen
dataclass takes about five times as long to make.
"""

import enum
from typing import Any

import msgspec

from .errors import ProtocolError


class Settlement(enum.Enum):
    """What the broker said of a published message."""

    ACKED = "acked"
    NACKED = "nacked"
    RETURNED = "returned"  # acked, but no queue took it
    DOUBTFUL = "doubtful"  # acked, and perhaps the one that was returned


class BasicAck(msgspec.Struct, frozen=True, gc=False):
    """Basic.Ack and Basic.Nack of a confirm-mode channel."""

    delivery_tag: int
    multiple: bool
    positive: bool


class BasicReturn(msgspec.Struct, frozen=True):
    """Basic.Return (section 1.8.3.10); its content follows."""

    code: int
    text: str
    exchange: str
    routing_key: str


class CloseMethod(msgspec.Struct, frozen=True):
    """Connection.Close or Channel.Close from the broker.

    ``method``: the class and method over which the broker closes, such as (60, 40) for
    Basic.Publish; (0, 0): it names none.
    """

    connection: bool
    code: int
    text: str
    method: tuple[int, int] = (0, 0)


class ConnectionBlocked(msgspec.Struct, frozen=True):
    """connection.blocked, RabbitMQ's extension."""

    reason: str


class Opened(msgspec.Struct, frozen=True):
    """The login is complete: channels can be opened."""

    channel_max: int
    frame_max: int
    heartbeat: int  # seconds; 0: none
    server_properties: dict[str, Any]


class ChannelOpened(msgspec.Struct, frozen=True):
    """The channel is open and in confirm mode."""

    channel: int


class Settled(msgspec.Struct, frozen=True):
    """One ack or nack, as what it settles, in the order of publishing.

    ``oldest``: the delivery tag of the oldest message that is still unsettled, or else
    of the next one.
    """

    channel: int
    settled: list[tuple[Any, Settlement]]
    oldest: int


class ChannelClosed(msgspec.Struct, frozen=True):
    """The broker closed the channel. ``lost``: what it had not settled, in the order sent.

    ``method``: as in CloseMethod.
    """

    channel: int
    code: int
    text: str
    lost: list[Any]
    method: tuple[int, int] = (0, 0)


class ChannelEnded(msgspec.Struct, frozen=True):
    """The broker has acknowledged that we closed the channel."""

    channel: int


class Blocked(msgspec.Struct, frozen=True):
    """The broker takes no publishes for now."""

    reason: str


class Unblocked(msgspec.Struct, frozen=True):
    """The broker takes publishes again."""


class Failed(msgspec.Struct, frozen=True):
    """The broker broke the protocol, or the login cannot be sent: drop the socket."""

    error: ProtocolError


class Closed(msgspec.Struct, frozen=True):
    """The broker closed the connection (``code``, ``text``), or agreed that we did (``code`` 0).

    ``opened`` says whether the login had been complete; ``method`` is as in CloseMethod.
    """

    code: int
    text: str
    opened: bool
    method: tuple[int, int] = (0, 0)


Event = (
    Opened
    | ChannelOpened
    | Settled
    | ChannelClosed
    | ChannelEnded
    | Blocked
    | Unblocked
    | Failed
    | Closed
)
