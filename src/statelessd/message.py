"""What travels from the HTTP edge to the broker, and what comes back.

These types belong to no layer: ``http`` makes them, ``broker`` settles them.
"""

import enum
import hashlib
import os
from typing import TypedDict

import msgspec

FieldValue = None | bool | int | float | str | bytes | list["FieldValue"] | dict[str, "FieldValue"]
"""A value of a message header: what JSON can say, plus bytes (AMQP 0-9-1 section 4.2.5.5)."""


class Properties(TypedDict, total=False):
    """The basic class's properties (AMQP 0-9-1 section 1.8.1), those that a client gave."""

    content_type: str
    content_encoding: str
    headers: dict[str, FieldValue]
    delivery_mode: int
    priority: int
    correlation_id: str
    reply_to: str
    expiration: str
    message_id: str
    timestamp: int
    type: str
    user_id: str
    app_id: str


class Message(msgspec.Struct, eq=False, gc=False):
    """One message as it will be published.

    ``header`` is the encoded property list of the content header (flags and
    values, see ``amqp.encode.properties``): encoding it is what checks it, and
    that has to happen while the client can still be told 400. ``user_id`` is
    the property of that name once more, for it decides which channel the
    message may travel on. ``message_id`` is the one that was stamped on it here,
    which the client is told.
    """

    exchange: str
    routing_key: str
    header: bytes
    body: bytes
    mandatory: bool = False
    user_id: str | None = None
    message_id: str | None = None

    @property
    def size(self) -> int:
        """Bytes that this message holds while it waits: what the limits count."""
        return len(self.header) + len(self.body)

    def __repr__(self) -> str:
        return (
            f"<Message exchange={self.exchange!r} routing_key={self.routing_key!r} "
            f"{len(self.body)} bytes>"
        )


_DIGEST_KEY = os.urandom(32)  # digests mean nothing outside this process


class Credentials:
    """What to log in with at the broker; equal by a keyed digest, silent in ``repr``.

    ``name`` is what people are shown. It is the user name, but with a token: then
    the broker takes its user's name from the token, and no ``user_id`` is sure to
    be that. ``expires_at``: when a token ends, in seconds of Unix time, if it says so.
    """

    __slots__ = ("digest", "expires_at", "is_token", "name", "password", "username")

    def __init__(self, username: str, password: str) -> None:
        self.username = self.name = username
        self.password = password
        self.is_token = False
        self.expires_at: float | None = None
        name = username.encode()
        # The length keeps ("a", "bc") apart from ("ab", "c").
        secret = b"%d:%b%b" % (len(name), name, password.encode())
        self.digest = hashlib.blake2b(secret, key=_DIGEST_KEY, digest_size=16).digest()

    @classmethod
    def of_token(cls, token: str, name: str, expires_at: float | None) -> "Credentials":
        """A bearer token; RabbitMQ's OAuth 2 back end takes it as the password."""
        credentials = cls("", token)
        credentials.name = name
        credentials.is_token = True
        credentials.expires_at = expires_at
        return credentials

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Credentials of {self.name!r}>"


class Outcome(enum.Enum):
    """How a request ended: the rows of the table that ``http.response`` turns into answers.

    The value is the last part of the problem document's ``type``.
    """

    CONFIRMED = "confirmed"
    BAD_REQUEST = "bad-request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    CROSS_SITE = "cross-site"
    VIRTUAL_HOST_NOT_FOUND = "virtual-host-not-found"
    EXCHANGE_NOT_FOUND = "exchange-not-found"
    NO_ROUTE = "no-route"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    REQUEST_TIMEOUT = "request-timeout"
    LENGTH_REQUIRED = "length-required"
    TOO_LARGE = "too-large"
    HEADERS_TOO_LARGE = "headers-too-large"
    TOO_MANY_FAILURES = "too-many-failures"
    BROKER_UNAVAILABLE = "broker-unavailable"
    BROKER_BLOCKED = "broker-blocked"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting-down"
    NACKED = "nacked"
    UNCONFIRMED = "unconfirmed"
    INTERNAL_ERROR = "internal-error"
