"""What travels from a client to the broker, and what comes back."""

import enum
import hashlib
import os
from typing import NamedTuple, TypedDict, overload

from .details import Mistake, Problem, Public, Quoting

__all__ = [
    "FAULT", "STOPPING", "TABLE", "Credentials", "FieldValue", "Key", "Message", "Mistake",
    "Outcome", "Problem", "Properties", "Public", "Quoting", "RequestError", "Row", "bad_request",
    "is_unknown", "printable", "problem", "type_of",
]  # fmt: skip

FieldValue = None | bool | int | float | str | bytes | list["FieldValue"] | dict[str, "FieldValue"]
"""A value of a message header: any JSON value, or bytes (AMQP 0-9-1 section 4.2.5.5)."""


class Properties(TypedDict, total=False):
    """The properties of a message that a client gave (AMQP 0-9-1 section 1.8.1)."""

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


class Message:
    """One message as it will be published.

    ``header`` is the encoded property list of the content header: flags and values, see
    ``amqp.encode.properties``. It is encoded early, because encoding checks it and the
    client can still get a 400. ``user_id`` repeats the property, because it decides which
    channel the message may use. ``message_id`` is set if the gateway added it, so that the
    client can be told.
    """

    __slots__ = (
        "body", "exchange", "header", "mandatory", "message_id", "routing_key", "user_id",
    )  # fmt: skip

    def __init__(
        self,
        exchange: str,
        routing_key: str,
        header: bytes,
        body: bytes,
        mandatory: bool = False,
        user_id: str | None = None,
        message_id: str | None = None,
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.header = header
        self.body = body
        self.mandatory = mandatory
        self.user_id = user_id
        self.message_id = message_id

    @property
    def size(self) -> int:
        """Return the bytes that this message holds while it waits, which the limits count."""
        return len(self.header) + len(self.body)

    def __repr__(self) -> str:
        return (
            f"<Message exchange={self.exchange!r} routing_key={self.routing_key!r} "
            f"{len(self.body)} bytes>"
        )


_DIGEST_KEY = os.urandom(32)  # so that digests mean nothing outside this process


class Key(NamedTuple):
    """What a login is found by: the password is part of it, by the digest of the credentials."""

    virtual_host: str
    digest: bytes


class Credentials:
    """What to log in with at the broker. Equality is by a keyed digest.

    ``name`` is what people are shown. Without a token it is the user name. With a token,
    only the broker knows which user name the token stands for, so a ``user_id`` may not
    match. ``expires_at`` is the end of a token in seconds of Unix time, if it has one.
    """

    __slots__ = (
        "_key", "_virtual_host", "digest", "expires_at", "is_token", "name", "password", "username",
    )  # fmt: skip

    def __init__(self, username: str, password: str) -> None:
        self.username = self.name = username
        self.password = password
        self.is_token = False
        self.expires_at: float | None = None
        name = username.encode()
        # The length keeps ("a", "bc") apart from ("ab", "c").
        secret = b"%d:%b%b" % (len(name), name, password.encode())
        self.digest = hashlib.blake2b(secret, key=_DIGEST_KEY, digest_size=16).digest()
        self._virtual_host = ""
        self._key = Key("", self.digest)

    @classmethod
    def of_token(cls, token: str, name: str, expires_at: float | None) -> "Credentials":
        """Make credentials of a bearer token. RabbitMQ's OAuth 2 back end takes it as password."""
        credentials = cls("", token)
        credentials.name = name
        credentials.is_token = True
        credentials.expires_at = expires_at
        return credentials

    def key(self, virtual_host: str) -> Key:
        """Return what the login to this virtual host is found by."""
        if virtual_host != self._virtual_host:  # the same ones are often used for one only
            self._key = Key(virtual_host, self.digest)
            self._virtual_host = virtual_host
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Credentials of {self.name!r}>"


class Outcome(enum.Enum):
    """How a request ended. The value names it in figures and logs; see ``TABLE``."""

    CONFIRMED = "confirmed"
    BAD_REQUEST = "bad-request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    CROSS_SITE = "cross-site"
    SIGNATURE_INVALID = "signature-invalid"
    VIRTUAL_HOST_NOT_FOUND = "virtual-host-not-found"
    EXCHANGE_NOT_FOUND = "exchange-not-found"
    NO_ROUTE = "no-route"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    REQUEST_TIMEOUT = "request-timeout"
    LENGTH_REQUIRED = "length-required"
    TOO_LARGE = "too-large"
    UNKNOWN_CODING = "unknown-coding"
    HEADERS_TOO_LARGE = "headers-too-large"
    TOO_MANY_FAILURES = "too-many-failures"
    BROKER_UNAVAILABLE = "broker-unavailable"
    BROKER_BLOCKED = "broker-blocked"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting-down"
    NACKED = "nacked"
    UNCONFIRMED = "unconfirmed"
    INTERNAL_ERROR = "internal-error"


class Row(NamedTuple):
    """How a client is told an outcome; people read ``meaning`` and ``remedy`` in /docs."""

    status: int
    title: str
    meaning: str
    remedy: str
    unknown: bool = False  # none or one copy exists; otherwise none
    retry_after: int | None = None  # seconds, where no setting says otherwise
    type: str = ""  # the end of the problem's type, where that is not the outcome's value

    @property
    def retryable(self) -> bool:
        """Return whether the same request may succeed later."""
        return self.status in (408, 429, 503, 504)


TABLE: dict[Outcome, Row] = {
    Outcome.CONFIRMED: Row(
        204,
        "Published",
        "The broker has taken responsibility for exactly one copy of the message.",
        "Nothing is left to do.",
    ),
    Outcome.BAD_REQUEST: Row(
        400,
        "The request is malformed",
        "The path, the form, a field, a property or the JSON is not valid. The detail says which "
        "one, and why.",
        "Correct the request. The same request will be refused again.",
    ),
    Outcome.UNAUTHORIZED: Row(
        401,
        "The credentials are missing, malformed or refused",
        "The request has no Authorization header, its header cannot be read, or the broker refused "
        "the credentials.",
        "Check the user name and password, or get a new token. They are the broker's: "
        "rabbitmqctl authenticate_user checks them.",
    ),
    Outcome.FORBIDDEN: Row(
        403,
        "The user may not do this",
        "The broker knows the user, but does not allow it to use this virtual host, to write to "
        "this exchange or topic, or to set user_id to another name. An internal exchange takes no "
        "messages from clients. guest may publish from this machine only. A page may be "
        "restricted to other networks.",
        "Set the permission (rabbitmqctl set_permissions, set_topic_permissions), or use "
        "another user. HTTPServer.pages.networks says who may see the pages.",
    ),
    Outcome.CROSS_SITE: Row(
        403,
        "A page of another site may not do this",
        "A browser sent the request for a page of another origin, perhaps with stored credentials "
        "and without its user's knowledge (CSRF). Or the page used a host name for this gateway "
        "that another site can own (DNS rebinding).",
        "If the page is yours, add its origin to HTTPServer.cors.origins. If the host name is "
        "yours, add it to HTTPServer.hosts.",
    ),
    Outcome.SIGNATURE_INVALID: Row(
        403,
        "The webhook's signature is not valid",
        "The request to a webhook endpoint has no signature, its signature does not match any of "
        "the endpoint's secrets, or it is too old.",
        "Check that the sender and Webhooks.verify have the same secret, and that both clocks are "
        "right.",
    ),
    Outcome.VIRTUAL_HOST_NOT_FOUND: Row(
        404,
        "The virtual host does not exist",
        "The broker has no virtual host of that name.",
        "Check the first part of the path. In a path, the default virtual host / is %2f.",
    ),
    Outcome.EXCHANGE_NOT_FOUND: Row(
        404,
        "The exchange does not exist",
        "The virtual host has no exchange of that name.",
        "Check the second part of the path, or declare the exchange in RabbitMQ. The gateway "
        "declares nothing.",
    ),
    Outcome.NO_ROUTE: Row(
        404,
        "No queue took the mandatory message",
        "The exchange exists, but no queue took the message: no queue is bound to the exchange for "
        "this routing key, or the node of the queue is down. The broker reports this for mandatory "
        "messages only. It drops others.",
        "Check the routing key and the bindings, and whether the node of a classic queue runs.",
    ),
    Outcome.NOT_FOUND: Row(
        404,
        "There is no such page",
        "The gateway serves nothing at this path.",
        "Publish a message to /virtual-host/exchange/routing-key, and a batch to "
        "/virtual-host/exchange.",
    ),
    Outcome.METHOD_NOT_ALLOWED: Row(
        405,
        "The method is not allowed here",
        "The path exists, but it does not take this method.",
        "Use a method that the Allow header lists. POST publishes a message.",
    ),
    Outcome.REQUEST_TIMEOUT: Row(
        408,
        "The request did not arrive in time",
        "The headers took too long to arrive, or the body stopped arriving.",
        "Send the request again, without pauses.",
    ),
    Outcome.LENGTH_REQUIRED: Row(
        411,
        "The request does not say how long its body is",
        "The request has a Content-Type, or more bytes follow its headers, but it has neither a "
        "Content-Length nor a Transfer-Encoding. In HTTP such a request has no body, so the "
        "gateway would have to publish an empty message.",
        "Send a Content-Length (0 for an empty message), or Transfer-Encoding: chunked.",
    ),
    Outcome.TOO_LARGE: Row(
        413,
        "The body is too large",
        "The request's body, or the message, is larger than the limit of this gateway or of the "
        "broker.",
        "Send less, or raise HTTPServer.max_body_bytes (and the broker's max_message_size).",
    ),
    Outcome.UNKNOWN_CODING: Row(
        415,
        "The Content-Encoding is not supported",
        "The gateway cannot decompress the form or batch, or it was compressed more than once. "
        "Any other body is published as it is, with any Content-Encoding.",
        "Send a Content-Encoding that the response's Accept-Encoding lists, or none. zstd and br "
        "need libraries: the operator installs the extra compression.",
        type="bad-request",
    ),
    Outcome.TOO_MANY_FAILURES: Row(
        429,
        "These credentials were refused a moment ago",
        "The broker refused exactly these credentials a moment ago, so the gateway did not ask it "
        "again.",
        "Check the credentials. After Retry-After the gateway asks the broker again.",
        retry_after=2,
    ),
    Outcome.HEADERS_TOO_LARGE: Row(
        431,
        "The request's headers are too large",
        "The request line and the headers have too many bytes or too many fields.",
        "Send fewer, or raise HTTPServer.max_header_bytes and max_header_fields.",
    ),
    Outcome.INTERNAL_ERROR: Row(
        500,
        "Internal error",
        "The gateway has a bug. The log has the error under the request's id. The outcome says "
        "whether the message may have been published.",
        "Please report the bug, with the lines of the log.",
    ),
    Outcome.BROKER_UNAVAILABLE: Row(
        503,
        "The broker is unavailable",
        "The gateway had no connection before the deadline: the broker cannot be reached, the "
        "virtual host is down, or a limit of connections is reached. Or the broker's authorisation "
        "back end failed, so that the broker could not check permissions.",
        "Try again after Retry-After. /readyz and /stats show the state of the broker.",
        retry_after=1,
    ),
    Outcome.BROKER_BLOCKED: Row(
        503,
        "The broker blocks publishers",
        "The broker is short of memory or disk space (a resource alarm) and blocks all publishers. "
        "This message was not sent to it.",
        "Try again after Retry-After. Consume from the broker's queues, or give it more memory or "
        "disk space.",
        retry_after=5,
    ),
    Outcome.OVERLOADED: Row(
        503,
        "The gateway is overloaded",
        "A limit of this gateway is reached: messages or bytes that wait, or connections.",
        "Try again after Retry-After, with fewer requests at once, or add backends.",
        retry_after=1,
    ),
    Outcome.SHUTTING_DOWN: Row(
        503,
        "This backend is shutting down",
        "The backend is stopping, and did not send the message to the broker.",
        "Try again. Another backend, or its successor, will publish the message.",
        retry_after=1,
    ),
    Outcome.NACKED: Row(
        503,
        "The broker did not take the message",
        "At least one queue rejected the message (nack), usually because the queue is full. Other "
        "queues may have it.",
        "Consume from the queue. If you send the message again, other queues can get a second "
        "copy. With a message_id, consumers can detect that.",
        unknown=True,
        retry_after=1,
    ),
    Outcome.UNCONFIRMED: Row(
        504,
        "The broker has not confirmed the message",
        "The message was sent to the broker, but no confirm came before the deadline, or before "
        "the connection was lost. Or the broker returned a mandatory message that it may have "
        "delivered or kept: one to direct reply-to, or with the header x-delay. There is one copy "
        "of the message, or none.",
        "If you send the message again, there can be a second copy. With a message_id, consumers "
        "can detect that.",
        unknown=True,
    ),
}


def type_of(outcome: Outcome) -> str:
    """Return the problem's type, which links to a section of the page /docs."""
    return f"/docs#{TABLE[outcome].type or outcome.value}"


def is_unknown(outcome: Outcome, *, handed_over: bool = False) -> bool:
    """Return whether a copy of the message may exist, although it was not confirmed.

    ``handed_over`` says whether a byte of it was given to the transport. It decides over a
    fault of ours only: everything else that can be unknown has a row of its own.
    """
    return TABLE[outcome].unknown or (outcome is Outcome.INTERNAL_ERROR and handed_over)


def problem(
    outcome: Outcome, detail: str, *, handed_over: bool = False, request_id: bytes = b""
) -> Problem:
    """Return the problem document of an outcome. ``handed_over`` is as for ``is_unknown``."""
    row = TABLE[outcome]
    return Problem(
        type_of(outcome),
        row.title,
        row.status,
        str(detail) or f"{row.title}.",
        "unknown" if is_unknown(outcome, handed_over=handed_over) else "not-published",
        row.retryable,
        request_id.decode(),
    )


def printable(text: str, longest: int = 1024) -> str:
    """Return the text as a plain ``str``, with an escape for what is not printable.

    Control characters, line ends, and characters that change the direction of text could
    forge log lines, or command the terminal that shows them. A text that is longer than
    ``longest`` characters is cut.
    """
    text = str(text) if len(text) <= longest else text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


FAULT = Public("Internal error. The log has the details.")
STOPPING = Public("This backend is shutting down.")


class RequestError(Exception):
    """A refusal that is known before the broker is asked; ``detail`` is for the client."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


@overload
def bad_request(detail: Public) -> RequestError: ...
@overload
def bad_request(detail: str, mistake: Mistake) -> RequestError: ...
def bad_request(detail: str, mistake: Mistake | None = None) -> RequestError:
    """Return the error of a malformed request.

    A ``detail`` that is not public needs the ``mistake`` that others read instead.
    """
    return RequestError(Outcome.BAD_REQUEST, Quoting(detail, mistake) if mistake else detail)
