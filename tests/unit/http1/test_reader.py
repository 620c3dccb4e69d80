"""Requests from bytes: whole, byte by byte, and with what comes behind them."""

import time

import pytest

from statelessd.http1.budget import Budget
from statelessd.http1.limits import Limits
from statelessd.http1.reader import CHUNKED, UNTOLD, Reader
from statelessd.message import Outcome, RequestError

NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"

# Bytes of one request -> method, path, query, version, length, is_last, body.
REQUESTS = {
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n": ("GET", b"/", b"", "1.1", 0, False, b""),
    b"HEAD /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n": ("HEAD", b"/a", b"b=c", "1.1", 0, False, b""),
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\r\n\r": (
        "POST", b"/a", b"", "1.1", 5, False, b"ab\r\n\r"),
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\n\r\n\r\n\r\n1;x=y\r\nb\r\n0\r\nT: v\r\n\r\n": (
        "POST", b"/a", b"", "1.1", CHUNKED, False, b"\r\n\r\nb"),
    b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": (
        "POST", b"/a", b"", "1.1", UNTOLD, True, b""),
    b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n": (
        "POST", b"/a", b"", "1.1", UNTOLD, True, b""),
    b"POST /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n": (
        "POST", b"/a", b"", "1.0", UNTOLD, True, b""),
    b"GET /a HTTP/1.0\r\n\r\n": ("GET", b"/a", b"", "1.0", 0, True, b""),
    b"GET http://h:1/a?b HTTP/1.1\r\nHost: x\r\n\r\n": ("GET", b"/a", b"b", "1.1", 0, False, b""),
    b"GET http://h/a HTTP/1.1\r\nHost: x\r\n\r\n": ("GET", b"/a", b"", "1.1", 0, False, b""),
    b"GET http://h HTTP/1.1\r\nHost: x\r\n\r\n": ("GET", b"/", b"", "1.1", 0, False, b""),
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n": ("OPTIONS", b"*", b"", "1.1", 0, False, b""),
    b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 2\r\n\r\nhi": ("POST", b"/a", b"", "1.1", 2, False, b"hi"),
}  # fmt: skip


def read(reader, data, at=0):
    """Return the request's body, and where the reader stopped; None if the body goes on."""
    body = b""
    while at < len(data) and reader.request is None:
        at = reader.read_head(data, at)
    while at < len(data) and not reader.complete:
        at, piece = reader.read_body(data, at)
        body += piece
    return body, at


def told(reader, body):
    request = reader.request
    return (request.method, request.path, request.query, request.version, request.length,
            request.is_last, body)  # fmt: skip


@pytest.mark.parametrize("data", REQUESTS)
class TestRequests:
    def test_whole(self, data):
        reader = Reader(Limits(), Budget(10**6))
        body, at = read(reader, data)
        assert (told(reader, body), at, reader.complete) == (REQUESTS[data], len(data), True)

    def test_byte_by_byte(self, data):
        reader, body = Reader(Limits(), Budget(10**6)), b""
        for number in range(len(data)):
            assert not reader.complete
            body += read(reader, data[number : number + 1])[0]
        assert (told(reader, body), reader.complete) == (REQUESTS[data], True)

    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    def test_nothing_behind_it_is_worked_on(self, data, size):
        reader, body = Reader(Limits(), Budget(10**6)), b""
        for start in range(0, len(data) + len(NEXT), size):
            piece = (data + NEXT)[start : start + size]
            more, at = read(reader, piece)
            body += more
            if reader.complete:
                assert start + at == len(data)
                break
        assert told(reader, body) == REQUESTS[data]


def test_the_bytes_of_a_head_are_kept_where_they_came_whole():
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    reader = Reader(Limits(), Budget(10**6))
    read(reader, NEXT + head + b"hi")
    read(reader, NEXT + head + b"hi", reader.read_head(NEXT + head, len(NEXT)))
    assert reader.request.raw == head
    reader = Reader(Limits(), Budget(10**6))
    read(reader, head[:5])
    read(reader, head[5:])
    assert reader.request.raw == b""


def test_a_request_shows_no_password():
    reader = Reader(Limits(), Budget(10**6))
    read(reader, b"GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Basic secret\r\n\r\n")
    assert repr(reader.request) == "<Request GET b'/a'>"


def chunk(size, number):
    """A chunk full of what looks like the end of a body, with its size in one of four forms."""
    line = (b"%x", b"%X", b"000%x", b"%x;a=b;c")[number % 4] % size
    return line + b"\r\n" + (b"\r\n0\r\n\r\n" * size)[:size] + b"\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 16, 100, 10_000])
def test_a_body_in_chunks_of_all_sizes_ends_where_it_ends(step):
    sizes = [*range(1, 40), 1, 1, 300, 15, 16, 4000, 17, 1]
    body = b"".join(chunk(size, number) for number, size in enumerate(sizes))
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for end in (b"0\r\n\r\n", b"000;x\r\n\r\n", b"0\r\nT: v\r\nU: w\r\n\r\n"):
        reader, found = Reader(Limits(), Budget(10**9)), b""
        data = head + body + end
        for start in range(0, len(data), step):
            assert not reader.complete
            piece = data[start : start + step]
            last = start + step >= len(data)
            more, at = read(reader, piece + NEXT if last else piece)
            found += more
            assert at == len(piece)
        assert reader.complete
        assert found == b"".join((b"\r\n0\r\n\r\n" * size)[:size] for size in sizes)


READ = 256 * 1024  # bytes; an event loop reads no more at once


@pytest.mark.parametrize(
    ("size", "body"),
    [
        pytest.param(READ, b"\r\n\r\n", id="ends inside a chunk"),
        pytest.param(READ, b"\r\n0\r\n\r\n", id="last chunks inside a chunk"),
        pytest.param(0, b"1\r\nx\r\n", id="small chunks"),
        pytest.param(0, b"2\r\n\r\n\r\n", id="small chunks of line ends"),
        pytest.param(0, b"1;a\r\nx\r\n", id="small chunks with extensions"),
        pytest.param(0, b"10\r\n" + b"\r\n" * 9, id="chunks of sixteen bytes"),
    ],
)
def test_no_body_in_chunks_takes_long(size, body):
    """One read has 256 KiB of it. A call of the parser for each line takes 100 ms of CPU.

    The reference takes 10 ms there, and more on a processor that is shared with others.
    """
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    if size:
        head += b"%x\r\n" % size
    body *= READ // len(body)

    def seconds():
        reader = Reader(Limits(), Budget(10**9))
        read(reader, head)
        begun = time.process_time()
        read(reader, body)
        return time.process_time() - begun

    def reference():
        begun = time.process_time()
        for _ in map(str, range(90_000)):
            pass
        return time.process_time() - begun

    both = [(seconds(), reference()) for _ in range(8)]
    assert min(s for s, _ in both) < 6 * min(r for _, r in both)


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"nonsense\r\n\r\n", Outcome.BAD_REQUEST),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", Outcome.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\n\r\n", Outcome.BAD_REQUEST),
        (b"GET /" + b"a" * 200, Outcome.HEADERS_TOO_LARGE),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h\r\n"
            b"Transfer-Encoding: x\r\n\r\n",
            Outcome.BAD_REQUEST,
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 5 + b"\r\n", Outcome.HEADERS_TOO_LARGE),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_cannot_be_read(data, outcome, size):
    reader = Reader(Limits(max_head_bytes=100, max_head_fields=5), Budget(10**6))
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.raises(RequestError) as error:
        [read(reader, piece) for piece in pieces]
    assert error.value.outcome is outcome
