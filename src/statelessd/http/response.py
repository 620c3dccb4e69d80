"""Outcome -> answer: the table of DESIGN section 2.2, and nowhere else."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from ..message import Outcome

PROBLEM_JSON = b"application/problem+json"


class Row(NamedTuple):
    """What a client is told of an outcome. ``title`` never changes from case to case.

    ``meaning`` and ``remedy`` are for people who read /docs.
    """

    status: int
    title: str
    meaning: str
    remedy: str
    retryable: bool = False
    unknown: bool = False  # none or one copy exists; otherwise none
    retry_after: int | None = None  # seconds, where no setting says otherwise


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
        "A field, the path, the form, a property or the JSON is not as it has to be. "
        "The detail says which and why.",
        "Correct the request; the same one will be refused again.",
    ),
    Outcome.UNAUTHORIZED: Row(
        401,
        "The credentials are missing, malformed or refused",
        "The request has no Authorization header, one that cannot be read, or credentials that "
        "the broker did not take.",
        "Check the user name and password, or get a new token. They are the broker's: "
        "rabbitmqctl authenticate_user tells whether it knows them.",
    ),
    Outcome.FORBIDDEN: Row(
        403,
        "The user may not do this",
        "The broker knows the user and lets it not use the virtual host, not write to the "
        "exchange or topic, or not give another's name as user_id; or the exchange is internal; "
        "or guest came from another host. Or it is a page, and for other networks.",
        "Have the permission set (rabbitmqctl set_permissions, set_topic_permissions), or use "
        "another user. HTTPServer.pages.networks says who may see the pages.",
    ),
    Outcome.CROSS_SITE: Row(
        403,
        "A page of another site may not do this",
        "A browser sent the request for a page of another origin, perhaps with credentials that "
        "it keeps, and perhaps without its user's knowledge.",
        "If that page is yours, name its origin in HTTPServer.cors.origins.",
    ),
    Outcome.VIRTUAL_HOST_NOT_FOUND: Row(
        404,
        "The virtual host does not exist",
        "The broker has no virtual host of that name.",
        "Check the first part of the path; the broker's default virtual host is %2f.",
    ),
    Outcome.EXCHANGE_NOT_FOUND: Row(
        404,
        "The exchange does not exist",
        "The virtual host has no exchange of that name.",
        "Check the second part of the path, or declare the exchange; nothing is declared from "
        "here.",
    ),
    Outcome.NO_ROUTE: Row(
        404,
        "No queue took the mandatory message",
        "The exchange exists, and no queue took the message: none is bound to it for this routing "
        "key, or the queue's node is down. Only mandatory messages are told so; others are "
        "dropped by the broker.",
        "Check the routing key and the bindings, and whether the node of a classic queue runs.",
    ),
    Outcome.NOT_FOUND: Row(
        404,
        "There is no such page",
        "Nothing is served at this path.",
        "Messages go to /virtual-host/exchange/routing-key, batches to /virtual-host/exchange.",
    ),
    Outcome.METHOD_NOT_ALLOWED: Row(
        405,
        "The method is not allowed here",
        "The path exists, and does not take this method.",
        "The Allow header says which it takes; messages are published with POST.",
    ),
    Outcome.REQUEST_TIMEOUT: Row(
        408,
        "The request did not arrive in time",
        "The headers took too long, or the body stood still for too long.",
        "Send it again, and faster.",
        retryable=True,
    ),
    Outcome.LENGTH_REQUIRED: Row(
        411,
        "The request does not say how long its body is",
        "The request has a Content-Type, or bytes behind its head, but neither a Content-Length "
        "nor a Transfer-Encoding. HTTP takes such a request for one without a body, so an empty "
        "message would have been published.",
        "Send a Content-Length (0 for an empty message), or Transfer-Encoding: chunked.",
    ),
    Outcome.TOO_LARGE: Row(
        413,
        "The body is too large",
        "The request's body, or the message, is larger than this gateway or the broker takes.",
        "Send less, or raise HTTPServer.max_body_bytes (and the broker's max_message_size).",
    ),
    Outcome.TOO_MANY_FAILURES: Row(
        429,
        "These credentials were just refused, too often",
        "The broker refused exactly these credentials a moment ago and was not asked again.",
        "Check the credentials; after Retry-After the broker is asked again.",
        retryable=True,
        retry_after=2,
    ),
    Outcome.HEADERS_TOO_LARGE: Row(
        431,
        "The request's headers are too large",
        "The request line and headers have too many bytes or fields.",
        "Send fewer, or raise HTTPServer.max_header_bytes and max_header_fields.",
    ),
    Outcome.INTERNAL_ERROR: Row(
        500,
        "A fault of this program",
        "Something failed that should not have. The log has it under the request's id. The "
        "outcome says whether the message may have been published.",
        "Please report it, with what the log says.",
    ),
    Outcome.BROKER_UNAVAILABLE: Row(
        503,
        "There is no connection to the broker",
        "No connection could be had before the deadline: the broker cannot be reached, the "
        "virtual host is down, or a limit of connections has been reached.",
        "Try again after Retry-After. /readyz and /stats tell how the broker is reached.",
        retryable=True,
        retry_after=1,
    ),
    Outcome.BROKER_BLOCKED: Row(
        503,
        "The broker takes no messages for now",
        "The broker is short of memory or disk and blocks all publishers. This message was not "
        "handed to it.",
        "Try again after Retry-After; let the broker's queues be consumed, or give it room.",
        retryable=True,
        retry_after=5,
    ),
    Outcome.OVERLOADED: Row(
        503,
        "Too much is in flight here",
        "A limit of this gateway has been reached: messages or bytes that wait, or connections.",
        "Try again after Retry-After, with fewer requests at once; or add backends.",
        retryable=True,
        retry_after=1,
    ),
    Outcome.SHUTTING_DOWN: Row(
        503,
        "This backend is shutting down",
        "The backend ends, and did not hand the message over.",
        "Try again; another backend, or its successor, will take it.",
        retryable=True,
        retry_after=1,
    ),
    Outcome.NACKED: Row(
        503,
        "The broker did not take the message",
        "At least one queue rejected the message, mostly because it is full; others may have it.",
        "Let the queue be consumed. Sending it again can make a second copy in other queues: "
        "give messages a message_id if consumers should be able to tell.",
        retryable=True,
        unknown=True,
        retry_after=1,
    ),
    Outcome.UNCONFIRMED: Row(
        504,
        "The broker has not confirmed the message",
        "The message was handed to the broker, and no confirm came before the deadline, or "
        "before the connection was lost. There is one copy of it or none.",
        "Sending it again can make a second copy: give messages a message_id if consumers should "
        "be able to tell.",
        retryable=True,
        unknown=True,
    ),
}


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document (RFC 9457) with three members of our own."""

    type: str
    title: str
    status: int
    detail: str
    outcome: str
    retryable: bool
    request_id: str = ""


MEMBERS = {
    "type": "Resolves to what it means and what to do.",
    "title": "The same for every problem of this type.",
    "status": "The HTTP status.",
    "detail": "What happened this time.",
    "outcome": "not-published: there is no copy of the message. unknown: there is none or one.",
    "retryable": "Whether the same request may succeed later.",
    "request_id": "As in X-Request-ID.",
}

_encode = msgspec.json.Encoder().encode


def type_of(outcome: Outcome) -> str:
    """The problem's type: a section of the page /docs."""
    return f"/docs#{outcome.value}"


def problem(
    outcome: Outcome, detail: str, *, handed_over: bool = False, request_id: bytes = b""
) -> Problem:
    """The document. ``handed_over`` matters to a fault of ours only."""
    row = TABLE[outcome]
    unknown = row.unknown or (outcome is Outcome.INTERNAL_ERROR and handed_over)
    return Problem(
        type_of(outcome),
        row.title,
        row.status,
        detail or f"{row.title}.",
        "unknown" if unknown else "not-published",
        row.retryable,
        request_id.decode(),
    )


def headers(
    outcome: Outcome, *, allow: str = "POST", retry_after: int | None = None
) -> list[tuple[bytes, bytes]]:
    """The headers that belong to the outcome, but for length and connection."""
    row = TABLE[outcome]
    retry_after = retry_after or row.retry_after
    fields = [(b"content-type", PROBLEM_JSON)]
    if outcome is Outcome.UNAUTHORIZED:
        fields.append((b"www-authenticate", b'Basic realm="statelessd"'))
    if outcome is Outcome.METHOD_NOT_ALLOWED:
        fields.append((b"allow", allow.encode()))
    if retry_after is not None:
        fields.append((b"retry-after", b"%d" % retry_after))
    return fields


def confirmed(date: bytes, *, keep_alive: bool) -> bytes:
    """The usual answer to a publish, up to the value of its X-Request-ID."""
    close = b"" if keep_alive else b"connection: close\r\n"
    start = b"HTTP/1.1 204 No Content\r\ndate: %b\r\nserver: statelessd\r\n%bx-request-id: "
    return start % (date, close)


def render(
    outcome: Outcome,
    detail: str,
    *,
    keep_alive: bool,
    date: bytes,
    request_id: bytes,
    allow: str = "OPTIONS, POST",
    handed_over: bool = False,
    head: bool = False,
    retry_after: int | None = None,
    extra: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A whole HTTP/1.1 response; ``date`` in the form of RFC 9110 section 5.6.7.

    ``head``: the answer to a HEAD request, without the document. ``extra``:
    headers that this request gets besides.
    """
    document = b""
    fields = [(b"x-request-id", request_id), *extra]
    if outcome is not Outcome.CONFIRMED:  # RFC 9110 8.6: a 204 has no Content-Length
        document = _encode(problem(outcome, detail, handed_over=handed_over, request_id=request_id))
        fields += headers(outcome, allow=allow, retry_after=retry_after)
        fields.append((b"content-length", b"%d" % len(document)))
    start = _start(TABLE[outcome].status, fields, keep_alive=keep_alive, date=date)
    return start if head else start + document


def options(
    fields: Sequence[tuple[bytes, bytes]], *, keep_alive: bool, date: bytes, request_id: bytes
) -> bytes:
    """The answer to OPTIONS where messages are published: what may be done there."""
    fields = [(b"x-request-id", request_id), (b"allow", b"OPTIONS, POST"), *fields]
    return _start(204, fields, keep_alive=keep_alive, date=date)


def _start(
    status: int, fields: Sequence[tuple[bytes, bytes]], *, keep_alive: bool, date: bytes
) -> bytes:
    lines = [
        b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()),
        b"date: " + date,
        b"server: statelessd",
        *(name + b": " + value for name, value in fields),
    ]
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join((*lines, b"", b""))
