"""The events that the protocol gives its driver, and the methods that ``frames`` decodes.

They are Structs and not dataclasses, because one is made for each ack and a frozen
dataclass takes about five times as long to make.
"""

import enum
from typing import Any

import msgspec

from .errors import ProtocolError


class Settlement(enum.Enum):
    """The broker's answer to a published message."""

    ACKED = "acked"
    NACKED = "nacked"
    RETURNED = "returned"  # acked, but no queue took it
    DOUBTFUL = "doubtful"  # acked, and perhaps returned: several messages fit the return


class BasicAck(msgspec.Struct, frozen=True, gc=False):
    """Basic.Ack and Basic.Nack of a confirm-mode channel."""

    delivery_tag: int
    multiple: bool
    positive: bool


class Start(msgspec.Struct, frozen=True):
    """Connection.Start (section 1.4.2.1), with those server properties that are strings."""

    properties: dict[str, str]
    mechanisms: str


class OtherMethod(msgspec.Struct, frozen=True):
    """A method that no broker sends to a publisher. It is named, and not decoded."""

    name: str


class BasicReturn(msgspec.Struct, frozen=True):
    """Basic.Return (section 1.8.3.10); its content follows."""

    exchange: str
    routing_key: str


class CloseMethod(msgspec.Struct, frozen=True):
    """Connection.Close or Channel.Close; ``method`` is the one that is blamed, or (0, 0).

    ``text`` is printable, whatever the broker sent.
    """

    code: int
    text: str
    method: tuple[int, int]


class Event(msgspec.Struct, frozen=True):
    """What the protocol tells its driver."""


class Opened(Event, frozen=True):
    """The login is complete: channels can be opened."""


class ChannelOpened(Event, frozen=True):
    """The channel is open and in confirm mode."""

    channel: int


class Settled(Event, frozen=True):
    """The messages that an ack settles, in order; ``oldest``: the first unsettled or next tag."""

    channel: int
    settled: list[tuple[Any, Settlement]]
    oldest: int


class ChannelClosed(Event, frozen=True):
    """The broker closed the channel; ``lost`` holds, in order, what it had not settled."""

    channel: int
    code: int
    text: str
    lost: list[Any]
    method: tuple[int, int] = (0, 0)


class ChannelEnded(Event, frozen=True):
    """The broker acknowledged that we closed the channel."""

    channel: int


class Blocked(Event, frozen=True):
    """The broker takes no publishes for now: connection.blocked, RabbitMQ's extension.

    ``reason`` is printable, whatever the broker sent.
    """

    reason: str


class Unblocked(Event, frozen=True):
    """The broker takes publishes again."""


class Failed(Event, frozen=True):
    """The broker broke the protocol, or the login cannot be sent: the socket must be dropped."""

    error: ProtocolError


class Closed(Event, frozen=True):
    """The broker closed the connection, or acknowledged that we did (``code`` 0)."""

    code: int
    text: str
    opened: bool  # whether the login was complete
