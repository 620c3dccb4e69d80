"""Outcome -> answer: the table of DESIGN section 2.2, and nowhere else."""

from http import HTTPStatus
from typing import NamedTuple

import msgspec

from ..message import Outcome

PROBLEM_JSON = b"application/problem+json"


class Row(NamedTuple):
    """What a client is told of an outcome. ``title`` never changes from case to case."""

    status: int
    title: str
    retryable: bool = False
    unknown: bool = False  # none or one copy exists; otherwise none
    retry_after: int | None = None  # seconds, where no setting says otherwise


TABLE: dict[Outcome, Row] = {
    Outcome.CONFIRMED: Row(204, "Published"),
    Outcome.BAD_REQUEST: Row(400, "The request is malformed"),
    Outcome.UNAUTHORIZED: Row(401, "The credentials are missing, malformed or refused"),
    Outcome.FORBIDDEN: Row(403, "The user may not do this"),
    Outcome.VIRTUAL_HOST_NOT_FOUND: Row(404, "The virtual host does not exist"),
    Outcome.EXCHANGE_NOT_FOUND: Row(404, "The exchange does not exist"),
    Outcome.NO_ROUTE: Row(404, "No queue took the mandatory message"),
    Outcome.NOT_FOUND: Row(404, "There is no such page"),
    Outcome.METHOD_NOT_ALLOWED: Row(405, "The method is not allowed here"),
    Outcome.REQUEST_TIMEOUT: Row(408, "The request did not arrive in time", retryable=True),
    Outcome.TOO_LARGE: Row(413, "The body is too large"),
    Outcome.TOO_MANY_FAILURES: Row(
        429, "These credentials were just refused, too often", retryable=True, retry_after=2
    ),
    Outcome.HEADERS_TOO_LARGE: Row(431, "The request's headers are too large"),
    Outcome.INTERNAL_ERROR: Row(500, "A fault of this program"),
    Outcome.BROKER_UNAVAILABLE: Row(
        503, "There is no connection to the broker", retryable=True, retry_after=1
    ),
    Outcome.BROKER_BLOCKED: Row(
        503, "The broker takes no messages for now", retryable=True, retry_after=5
    ),
    Outcome.OVERLOADED: Row(503, "Too much is in flight here", retryable=True, retry_after=1),
    Outcome.SHUTTING_DOWN: Row(503, "This backend is shutting down", retryable=True, retry_after=1),
    Outcome.NACKED: Row(
        503, "The broker did not take the message", retryable=True, unknown=True, retry_after=1
    ),
    Outcome.UNCONFIRMED: Row(
        504, "The broker has not confirmed the message", retryable=True, unknown=True
    ),
}


class Problem(msgspec.Struct, frozen=True):
    """A problem document (RFC 9457) with two members of our own."""

    type: str
    title: str
    status: int
    detail: str
    outcome: str
    retryable: bool


_encode = msgspec.json.Encoder().encode


def problem(outcome: Outcome, detail: str, *, handed_over: bool = False) -> bytes:
    """The document, as JSON. ``handed_over`` matters to a fault of ours only."""
    row = TABLE[outcome]
    unknown = row.unknown or (outcome is Outcome.INTERNAL_ERROR and handed_over)
    return _encode(
        Problem(
            f"/docs#{outcome.value}",
            row.title,
            row.status,
            detail or f"{row.title}.",
            "unknown" if unknown else "not-published",
            row.retryable,
        )
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


def render(
    outcome: Outcome,
    detail: str,
    *,
    keep_alive: bool,
    date: bytes,
    allow: str = "POST",
    handed_over: bool = False,
    head: bool = False,
    retry_after: int | None = None,
) -> bytes:
    """A whole HTTP/1.1 response; ``date`` in the form of RFC 9110 section 5.6.7.

    ``head``: the answer to a HEAD request, without the document.
    """
    status = TABLE[outcome].status
    lines = [
        b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()),
        b"date: " + date,
        b"server: statelessd",
    ]
    if not keep_alive:
        lines.append(b"connection: close")
    document = b""
    if outcome is not Outcome.CONFIRMED:  # RFC 9110 8.6: a 204 has no Content-Length
        document = problem(outcome, detail, handed_over=handed_over)
        fields = headers(outcome, allow=allow, retry_after=retry_after)
        lines += [name + b": " + value for name, value in fields]
        lines.append(b"content-length: %d" % len(document))
    return b"\r\n".join((*lines, b"", b"" if head else document))
