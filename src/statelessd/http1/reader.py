"""Bytes of a client become requests: httptools, fed up to the end of one request at a time.

httptools tells nobody where in its input it is, so it gets no more than it may work on: up
to the end of a head, and then up to where the body may end. Drive it in this order::

    read_head  until ``request`` is there
    read_body  until ``complete``
    begin      for the next request
"""

from typing import Any

import httptools

from ..message import Outcome
from .errors import Unreadable, malformed
from .fields import Fields, check_coding, merge_repeated, without_upgrade
from .limits import Limits

END = b"\r\n\r\n"  # of a head, and of a body in chunks
LINE_ENDS = b"\r\n"  # which may stand between two requests (RFC 9112 section 2.2)
FRAGMENT = ord("#")  # begins one, which is not a part of a request target

# Lengths of a body that no header says in bytes.
CHUNKED = -1
UNTOLD = -2  # it has no length, and only the end of the stream tells whether one follows


class Request:
    """The head of a request.

    ``url``: as it was sent; ``path`` and ``query``: of it, still percent-encoded.
    ``fields``: the header fields with names in lower case, in their order; ``headers``: by
    name, of which the last one counts. ``raw``: the bytes of the head; empty if it came in
    pieces, or if they do not tell the whole meaning. ``is_last``: no request follows it.
    """

    __slots__ = (
        "expects_continue", "fields", "headers", "is_last", "length", "method", "path", "query",
        "raw", "url", "version",
    )  # fmt: skip

    method: str
    url: bytes
    path: bytes
    query: bytes
    fields: Fields
    headers: dict[bytes, bytes]
    version: str
    is_last: bool
    length: int  # of the body in bytes, or CHUNKED or UNTOLD
    expects_continue: bool
    raw: bytes

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path!r}>"  # the headers have the password


class Reader:
    """The requests of one connection. What it raises is Unreadable, and its end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser: Any = httptools.HttpRequestParser(self)
        self.begin()

    def begin(self) -> None:
        """Expect the head of another request."""
        self.request: Request | None = None
        self.complete = False  # the request has been read to its end
        self.url = b""
        self._fields: Fields = []
        self._size = 0  # bytes of the head; then of what came since the last piece of the body
        self._left = 0  # bytes of the body that are still to come, or CHUNKED
        self._tail = b""  # the last bytes, which may be the beginning of END
        self._pieces: list[bytes] = []
        self._keep_alive = self._has_head = False

    def close(self) -> None:
        """Let go of the parser, which refers to this object."""
        self._parser = None

    # Head

    def read_head(self, data: bytes, at: int) -> int:
        """Read on from ``at`` to the end of the head, or of ``data``; return where that is.

        Where a head begins, ``data[at]`` is not a line end.
        """
        end = self._end_of_lines(data, at)
        begins = not self._size
        self._size += end - at
        if self._size > self._limits.max_head_bytes:
            raise self._too_large()
        piece = data if end - at == len(data) else data[at:end]
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._ignore_upgrade()
            begins = False
        except httptools.HttpParserError as error:
            raise malformed(f"The request is not HTTP/1.1: {error}.") from None
        if self._has_head:
            self._finish_head(piece if begins else b"")
        return end

    def _end_of_lines(self, data: bytes, at: int) -> int:
        """Return where the next END ends, or ``data``; END may have begun in an earlier read."""
        tail = self._tail
        if tail:
            found = (tail + data[at : at + 3]).find(END)
            if found >= 0:
                self._tail = b""
                return at + found + len(END) - len(tail)
        found = data.find(END, at)
        if found >= 0:
            self._tail = b""
            return found + len(END)
        self._tail = (tail + data[max(at, len(data) - 3) :])[-3:]
        return len(data)

    def _ignore_upgrade(self) -> None:
        """Serve the request as if it had not asked for another protocol (RFC 9110 section 7.8).

        The parser takes what follows for that protocol, so the head goes through a new one
        without the wish.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            raise malformed("This is not a proxy.")
        head = without_upgrade(method, self.url, version, self._fields)
        self._parser = httptools.HttpRequestParser(self)
        self.url, self._fields = b"", []
        self._has_head = self.complete = False
        self._parser.feed_data(head)

    def _finish_head(self, raw: bytes) -> None:
        parser, fields = self._parser, self._fields
        if len(fields) > self._limits.max_head_fields:
            raise self._too_large()
        headers = dict(fields)
        # HTTP/1.0 can only be kept alive by a Connection header.
        kept_alive = self._keep_alive and b"connection" not in headers
        version = "1.1" if kept_alive else parser.get_http_version()
        if len(headers) != len(fields) or b"host" not in headers:
            fields = merge_repeated(fields, headers, version)
        request = Request()
        request.method = method = parser.get_method().decode()
        request.url = self.url
        request.path, _, request.query = self._target().partition(b"?")
        request.fields, request.headers, request.raw = fields, headers, raw
        request.version = version
        # HTTP/1.0 cannot tell where a response without Content-Length ends.
        request.is_last = not self._keep_alive or version != "1.1"
        length = headers.get(b"content-length")
        if length is not None:
            request.length = int(length)
        elif b"transfer-encoding" in headers:
            check_coding(headers[b"transfer-encoding"], version)
            request.length = CHUNKED
        else:
            request.length = UNTOLD if request.is_last and method == "POST" else 0
        request.expects_continue = (
            headers.get(b"expect", b"").lower() == b"100-continue" and version != "1.0"
        )
        self.request = request
        self._left = request.length
        self._size = 0
        self._fields = []  # trailers from here on

    def _target(self) -> bytes:
        """Return path and query; a target in absolute form has a scheme and host before them."""
        url = self.url
        if url.startswith(b"/"):
            return url.partition(b"#")[0] if FRAGMENT in url else url
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            raise malformed("The request target is malformed.") from None
        path: bytes = parsed.path or b"/"
        return path if parsed.query is None else path + b"?" + parsed.query

    def _too_large(self) -> Unreadable:
        limits = self._limits
        return Unreadable(
            Outcome.HEADERS_TOO_LARGE,
            f"The request line and headers exceed {limits.max_head_bytes} bytes "
            f"or {limits.max_head_fields} fields.",
        )

    # Body

    def read_body(self, data: bytes, at: int) -> int:
        """Read on from ``at`` to where the body may end, or to the end of ``data``."""
        if self._left == CHUNKED:
            end = self._end_of_lines(data, at)
        else:
            end = min(len(data), at + self._left)
            self._left -= end - at
        try:
            self._parser.feed_data(data if end - at == len(data) else memoryview(data)[at:end])
        except httptools.HttpParserError as error:
            raise malformed(f"The request is not HTTP/1.1: {error}.") from None
        if self._left == CHUNKED:
            self._bound_lines(end - at)
        return end

    def _bound_lines(self, size: int) -> None:
        """Raise Unreadable for trailers, or the extension of a chunk, that have no end."""
        self._size = 0 if self._pieces else self._size + size
        trailers = sum(len(name) + len(value) + 4 for name, value in self._fields)
        if max(self._size, trailers) > self._limits.max_head_bytes:
            raise self._too_large()

    def take(self) -> bytes:
        """Return what was read of the body since it was last taken."""
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # What httptools calls

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come through here as well. They are not headers (RFC 9110 section
        # 6.5.1), because no proxy has checked them. They only count.
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = True
