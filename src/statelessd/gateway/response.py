"""The bytes of a response, from an outcome and its row of the table in ``message``."""

from collections.abc import Sequence
from http.client import responses

import msgspec

from ..message import TABLE, Outcome, problem
from ..parsing.decoding import ACCEPTED

CHALLENGE = b'Basic realm="statelessd", charset="UTF-8"'  # RFC 7617 section 2.1
PROBLEM_JSON = b"application/problem+json"
ACCEPT_ENCODING = (b"accept-encoding", ACCEPTED.encode())
_encode = msgspec.json.Encoder().encode


def headers(
    outcome: Outcome, *, allow: str = "POST", retry_after: int | None = None
) -> list[tuple[bytes, bytes]]:
    """Return the header fields that belong to the outcome, without length and connection."""
    row = TABLE[outcome]
    retry_after = retry_after or row.retry_after
    fields = [(b"content-type", PROBLEM_JSON)]
    if outcome is Outcome.UNAUTHORIZED:
        fields.append((b"www-authenticate", CHALLENGE))
    if outcome is Outcome.METHOD_NOT_ALLOWED:
        fields.append((b"allow", allow.encode()))
    if outcome is Outcome.UNKNOWN_CODING:
        fields.append(ACCEPT_ENCODING)
    if retry_after is not None:
        fields.append((b"retry-after", b"%d" % retry_after))
    return fields


def confirmed(date: bytes, *, keep_alive: bool) -> bytes:
    """Return the response to a confirmed publish, up to the value of its X-Request-ID."""
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
    """Return a whole response; ``head`` omits the document, and ``extra`` are further fields."""
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
    """Return the response to OPTIONS at a path where messages are published."""
    allow = (b"allow", b"OPTIONS, POST")
    fields = [(b"x-request-id", request_id), allow, ACCEPT_ENCODING, *fields]
    return _start(204, fields, keep_alive=keep_alive, date=date)


def reply(
    status: int,
    fields: Sequence[tuple[bytes, bytes]],
    document: bytes,
    *,
    keep_alive: bool,
    date: bytes,
    request_id: bytes,
    head: bool = False,
) -> bytes:
    """Return a whole response that is not a problem; ``head`` omits the document."""
    fields = [(b"x-request-id", request_id), *fields]
    if status != 204:  # RFC 9110 section 8.6
        fields.append((b"content-length", b"%d" % len(document)))
    start = _start(status, fields, keep_alive=keep_alive, date=date)
    return start if head or status == 204 else start + document


def _start(
    status: int, fields: Sequence[tuple[bytes, bytes]], *, keep_alive: bool, date: bytes
) -> bytes:
    lines = [
        b"HTTP/1.1 %d %b" % (status, responses.get(status, "").encode()),
        b"date: " + date,
        b"server: statelessd",
        *(name + b": " + value for name, value in fields),
    ]
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join((*lines, b"", b""))
