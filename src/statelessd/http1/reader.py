"""Turns a client's bytes into requests with httptools, one request at a time.

httptools does not report its position in the input. So it only gets the bytes that it may
handle: up to the end of a head, then up to where the body may end. The order of calls::

    read_head  until ``request`` is there; also where the next request begins
    read_body  until ``complete``
"""

import re
from typing import Any, Final

import httptools

from ..message import Mistake, Outcome, Public, RequestError, bad_request
from .budget import Budget
from .chunks import Chunks
from .fields import Fields, check_coding, expects_continue, merge_repeated, without_upgrade
from .limits import Limits

END: Final = b"\r\n\r\n"  # ends a head, and the trailers behind chunks
LINE_ENDS: Final = b"\r\n"  # which may stand between two requests (RFC 9112 section 2.2)
FRAGMENT: Final = ord("#")  # begins one, which is not a part of a request target
MOST_PIECES: Final = 64  # of a request target, until they become one
SMALL: Final = 4 * 1024  # bytes of a head that may wait for its body without counting in the budget
LONGEST_LENGTH: Final = 20  # digits of a Content-Length, with leading zeros
TOO_MUCH = Public("Too many bytes of requests are waiting.")

_NO_LINE_END = re.compile(rb"[^%b]" % LINE_ENDS)

# Lengths of a body that no header field gives in bytes.
CHUNKED: Final = -1
UNTOLD: Final = -2  # it has no length, and only what follows tells whether there is one

VERSIONS = ("1.0", "1.1")

_may_follow = re.compile(rb"[\r\n]*(?:[A-Z][A-Z-]*(?: |\Z)|\Z)").match  # it may be a request


class Request:
    """The head of a request.

    ``url`` is as it was sent; ``path`` and ``query`` are its parts, still percent-encoded.
    ``fields`` has the header fields in order, with names in lower case; ``headers`` has the
    last one of each name. ``raw`` has the bytes of the head. It is empty if the head came in
    pieces, or if its bytes do not have the whole meaning. ``is_last`` says that no request
    follows.
    """

    __slots__ = (
        "expects_continue", "fields", "has_length", "headers", "is_last", "length", "method",
        "path", "query", "raw", "url", "version",
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
    has_length: bool  # it says where its body ends (RFC 9112 section 6.3)
    expects_continue: bool
    raw: bytes

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path!r}>"  # the headers have the password


class Reader:
    """Reads the requests of one connection. After a RequestError it cannot be used."""

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self._limits = limits
        self._budget = budget
        self._held = 0  # bytes that count in it
        self._skipped = 0  # line ends since the last request
        self._urls: list[bytes] = []
        self._pieces: list[bytes] = []
        # What httptools calls.
        self.on_url = self._urls.append
        self.on_body = self._pieces.append
        self._parser: Any = httptools.HttpRequestParser(self)
        self._tail = b""  # the last bytes, which may be the beginning of END
        self._left = 0  # bytes of the body that are still to come, or CHUNKED
        self._trailers = self._trailer_fields = 0  # bytes, and their number
        self._chunks: Chunks  # of a body that has them
        self._keep_alive = False
        self.reset()

    def reset(self) -> None:
        """Forget the last request, before the next one begins."""
        self.request: Request | None = None  # once its head has been read
        self.complete = False  # the request has been read to its end
        if self._held:
            self._give_back()
        self._urls.clear()
        self._fields: Fields = []
        self._size = 0  # bytes of the head; then of what came since the last piece of the body
        self._has_head = False

    @property
    def url(self) -> bytes:
        """Return the request target, as far as it could be read."""
        return b"".join(self._urls)

    def close(self) -> None:
        """Let go of the parser, which refers to this object, and of what it has read."""
        self._parser = None
        self._give_back()

    def _hold(self, size: int) -> None:
        """Count ``size`` more bytes of a head. Raise RequestError if there is no room."""
        if not self._budget.take(size):
            raise RequestError(Outcome.OVERLOADED, TOO_MUCH)
        self._held += size

    def _give_back(self) -> None:
        self._budget.give_back(self._held)
        self._held = 0

    # Head

    def skip_line_ends(self, data: bytes, at: int) -> int:
        """Return where the line ends from ``at`` on are over, before the next request.

        Raise RequestError if there are more of them than a head may have bytes.
        """
        found = _NO_LINE_END.search(data, at)
        end = len(data) if found is None else found.start()
        skipped = self._skipped + end - at
        if skipped > self._limits.max_head_bytes:
            raise self._too_large()
        self._skipped = skipped if found is None else 0
        return end

    def read_head(self, data: bytes, at: int) -> int:
        """Read on from ``at`` to the end of the head, or of ``data``; return where that is.

        Where a head begins, ``data[at]`` is not a line end.
        """
        if self.request is not None:
            self.reset()
        end = data.find(END, at) + len(END)
        if self._tail or end < len(END):
            end = self._end_of_lines(data, at)
        begins = not self._size
        self._size += end - at
        if self._size > self._limits.max_head_bytes:
            raise self._too_large()
        piece = data if end - at == len(data) else data[at:end]
        try:
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                self._ignore_upgrade()
                begins = False
        except httptools.HttpParserError as error:
            raise bad_request(f"The request is not HTTP/1.1: {error}.", Mistake.HTTP) from None
        if self._has_head:
            self._finish_head(piece if begins else b"", data, end)
        else:
            if len(self._fields) > self._limits.max_head_fields:
                raise self._too_large()
            self._hold(end - at)
            if len(self._urls) > MOST_PIECES:
                self._urls[:] = [self.url]
        return end

    def _end_of_lines(self, data: bytes, at: int) -> int:
        """Return where the next END ends, or ``data``; END may have begun in an earlier read."""
        tail, self._tail = self._tail, b""
        found = (tail + data[at : at + 3]).find(END) if tail else -1
        if found >= 0:
            return at + found + len(END) - len(tail)
        found = data.find(END, at)
        if found >= 0:
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
            raise bad_request(Public("The gateway is not a proxy."))
        head = without_upgrade(method, self.url, version, self._fields)
        self.reset()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(head)

    def _finish_head(self, raw: bytes, data: bytes, end: int) -> None:
        parser, fields = self._parser, self._fields
        if len(fields) > self._limits.max_head_fields:
            raise self._too_large()
        if self._size > SMALL and not self._held:
            self._hold(self._size)
        headers = dict(fields)
        # HTTP/1.0 can only be kept alive by a Connection header.
        kept_alive = self._keep_alive and b"connection" not in headers
        version = "1.1" if kept_alive else parser.get_http_version()
        if version not in VERSIONS:
            raise bad_request(Public("The request's HTTP version is not 1.0 or 1.1."))
        if len(headers) != len(fields) or b"host" not in headers:
            fields = merge_repeated(fields, headers, version)
        request = self.request = Request()
        urls = self._urls
        request.url = url = urls[0] if len(urls) == 1 else b"".join(urls)
        if not url.startswith(b"/") or FRAGMENT in url:
            url = _target(url)
        request.path, _, request.query = url.partition(b"?")
        request.method = parser.get_method().decode()
        request.fields, request.headers, request.raw = fields, headers, raw
        request.version = version
        # HTTP/1.0 cannot tell where a response without Content-Length ends.
        request.is_last = not self._keep_alive or version != "1.1"
        request.expects_continue = (
            b"expect" in headers and expects_continue(headers) and version != "1.0"
        )
        length = headers.get(b"content-length")
        request.has_length = True
        if length is not None:
            if len(length) > LONGEST_LENGTH:
                raise bad_request(Public("The request's Content-Length is too long."))
            request.length = int(length)
        elif b"transfer-encoding" in headers:
            check_coding(headers[b"transfer-encoding"], version)
            request.length = CHUNKED
            self._chunks = Chunks()
        else:
            request.has_length = False
            request.length = 0
            if request.method == "POST" and (request.is_last or not _may_follow(data, end)):
                request.length, request.is_last = UNTOLD, True
        self._left = request.length
        self._size = self._trailers = self._trailer_fields = 0
        self._fields = []  # trailers from here on

    def _too_large(self) -> RequestError:
        limits = self._limits
        return RequestError(
            Outcome.HEADERS_TOO_LARGE,
            Public(
                f"The request line and headers exceed {limits.max_head_bytes} bytes "
                f"or {limits.max_head_fields} fields."
            ),
        )

    # Body

    def read_body(self, data: bytes, at: int) -> tuple[int, bytes]:
        """Read on from ``at`` to where the body may end, or to the end of ``data``.

        Return where that is, and what was read of the body.
        """
        left, end = self._left, len(data)
        if left != CHUNKED and end - at > left:
            end = at + left
        try:
            if left == CHUNKED:
                end = self._read_chunks(data, at)
            else:
                self._left = left - (end - at)
                self._parser.feed_data(data if end - at == len(data) else data[at:end])
        except httptools.HttpParserError as error:
            raise bad_request(f"The request is not HTTP/1.1: {error}.", Mistake.HTTP) from None
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return end, piece

    def _read_chunks(self, data: bytes, at: int) -> int:
        """Read on to the end of the body or of ``data``, and return where that is."""
        chunks, begin = self._chunks, at
        if not chunks.at_last:
            at = chunks.find_last(data, at)
            self._tail = LINE_ENDS  # of the line before the trailers
        end = self._end_of_lines(data, at) if chunks.at_last else at
        self._parser.feed_data(data[begin:end])
        self._bound_lines(end - begin)
        if self.complete and self._trailer_fields:
            # The parser takes a Connection among the trailers for a header.
            self._parser = httptools.HttpRequestParser(self)
        return end

    def _bound_lines(self, size: int) -> None:
        """Raise RequestError for trailers, or the extension of a chunk, that have no end."""
        self._size = 0 if self._pieces else self._size + size
        self._trailers += sum(len(name) + len(value) + 4 for name, value in self._fields)
        self._trailer_fields += len(self._fields)
        self._fields.clear()
        limits = self._limits
        if (
            max(self._size, self._trailers) > limits.max_head_bytes
            or self._trailer_fields > limits.max_head_fields
        ):
            raise self._too_large()

    # What httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come through here as well. They are not headers (RFC 9110 section
        # 6.5.1), because no proxy has checked them. They only count.
        if value[-1:] <= b" ":  # white space there is not a part of it (RFC 9112 section 5.1)
            value = value.rstrip(b" \t")
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()
        self._has_head = True

    def on_message_complete(self) -> None:
        self.complete = True


def _target(url: bytes) -> bytes:
    """Return path and query; a target in absolute form has a scheme and host before them."""
    if url.startswith(b"/"):
        return url.partition(b"#")[0]
    try:
        parsed: Any = httptools.parse_url(url)  # its types do not say that parts may be None
    except httptools.HttpParserInvalidURLError:
        raise bad_request(Public("The request target is malformed.")) from None
    path: bytes = parsed.path or b"/"
    query: bytes | None = parsed.query
    return path if query is None else path + b"?" + query
