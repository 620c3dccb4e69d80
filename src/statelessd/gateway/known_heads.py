"""Heads of publish requests that were seen before, so that they need not be parsed again.

A program sends the same head again and again, with another length of the body. It does so
on one connection, or on a new one each time as PHP does. A proxy sends it on any of its
connections, and adds an id of the request. Comparing a head is much cheaper than parsing
and checking it (docs/development/decisions/0006-known-heads.md).
"""

import re
from collections.abc import Sequence
from typing import Final

from ..message import Credentials
from .request import MessageReader
from .target import Target

LENGTH: Final = b"\r\ncontent-length: "
END: Final = b"\r\n\r\n"
MOST_DIGITS: Final = 10

# How many heads are known, and the most bytes that one may have.
KNOWN_HEADS: Final = 1024
KNOWN_SIZE: Final = 2048

# An X-Request-ID that is used: it goes into responses and logs without a change.
REQUEST_ID = rb"[A-Za-z0-9._~:/+=@-]{1,128}"
_ID_LINE = re.compile(rb"\r\nx-request-id: (" + REQUEST_ID + rb")\r", re.IGNORECASE)

NOWHERE: Final = Target("", "", "")
NOBODY: Final = Credentials("", "")
UNREADABLE: Final = MessageReader()  # of a request that is decided by its head


class Head:
    """What is known about a request after its head was checked.

    ``reader`` makes the message of a body. ``wait`` is the time for the publish in seconds.
    ``extra`` holds header fields that only this response gets.
    """

    __slots__ = ("credentials", "extra", "headers", "keep_alive", "reader", "target", "wait")

    def __init__(
        self, headers: dict[bytes, bytes], keep_alive: bool, target: Target = NOWHERE
    ) -> None:
        self.headers = headers
        self.keep_alive = keep_alive
        self.target = target
        self.credentials = NOBODY
        self.extra: Sequence[tuple[bytes, bytes]] = ()
        self.reader = UNREADABLE
        self.wait = 0.0

    def with_headers(self, headers: dict[bytes, bytes]) -> "Head":
        """Return the same with other headers."""
        made = Head(headers, self.keep_alive, self.target)
        made.credentials = self.credentials
        made.extra = self.extra
        made.reader = self.reader
        made.wait = self.wait
        return made

    def __repr__(self) -> str:
        return f"<Head of a request to {self.target!r}>"  # the headers have the password


class Repeat:
    """The bytes of a head: all of them, and those before and after the body's length."""

    __slots__ = ("after", "before", "head", "size", "whole")

    def __init__(self, head: Head, whole: bytes, size: int, before: bytes, after: bytes) -> None:
        self.head = head
        self.whole = whole
        self.size = size  # of the body that came with it
        self.before = before
        self.after = after

    @classmethod
    def of(cls, head: Head, whole: bytes, size: int) -> "Repeat | None":
        """Return the head whose bytes are ``whole``, and whose body had ``size`` bytes.

        Return None if the length of the body has an unusual form.
        """
        at = whole.lower().find(LENGTH) + len(LENGTH)
        digits = b"%d\r\n" % size
        if at < len(LENGTH) or not whole.startswith(digits, at):
            return None
        return cls(head, whole, size, whole[:at], whole[at + len(digits) - 2 :])

    def __repr__(self) -> str:
        return f"<Repeat of {self.head!r}>"

    def body_of(self, data: bytes) -> bytes | None:
        """Return the body if ``data`` is exactly one whole request with this head."""
        whole, size = self.whole, len(data)
        if data.startswith(whole):
            return data[len(whole) :] if size - len(whole) == self.size else None
        if not data.startswith(self.before):
            return None
        at = len(self.before)
        end = data.find(b"\r", at, at + MOST_DIGITS)
        digits = data[at:end]
        if not digits.isdigit() or not data.startswith(self.after, end):
            return None
        start = end + len(self.after)
        return data[start:] if size - start == int(digits) else None


class KnownHeads:
    """The last heads that a backend got from any client. The oldest is forgotten."""

    def __init__(self) -> None:
        self._repeats: dict[bytes, Repeat] = {}

    def add(self, head: Head, whole: bytes, size: int) -> None:
        """Remember a head; ``whole`` and ``size`` are as in ``Repeat.of``."""
        divided = _divide(whole)
        if divided is None:
            return
        name, whole, request_id = divided
        if request_id:  # the next request with this head has another id
            others = {n: value for n, value in head.headers.items() if n != b"x-request-id"}
            head = head.with_headers(others)
        repeat = Repeat.of(head, whole, size)
        if repeat is None or repeat.whole.lower().count(b"\r\nx-request-id:") > 1:
            return  # of several ids the last one counts, and it would be part of the name
        self._repeats.pop(name, None)
        if len(self._repeats) >= KNOWN_HEADS:
            del self._repeats[next(iter(self._repeats))]
        self._repeats[name] = repeat

    def find(self, data: bytes) -> tuple[Repeat, bytes, bytes] | None:
        """Return the known head, the body and the id if ``data`` is exactly one such request.

        The id is the value of ``X-Request-ID``, or empty.
        """
        divided = _divide(data)
        if divided is None:
            return None
        name, data, request_id = divided
        repeat = self._repeats.get(name)
        if repeat is None:
            return None
        body = repeat.body_of(data)
        return None if body is None else (repeat, body, request_id)


def _divide(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return the name of a head, the request without its id, and the id.

    The name is the head without the body's length. The id is the value of X-Request-ID in
    its usual spellings, because proxies give each request one; in another spelling it stays
    in the name. Return None if the head is not whole, is large or has no length.
    """
    end = data.find(END, 0, KNOWN_SIZE)
    if end < 0:
        return None
    request_id = b""
    at = data.find(b"\r\nX-Request-I", 0, end)
    if at < 0:
        at = data.find(b"\r\nx-request-i", 0, end)
    if at >= 0 and (found := _ID_LINE.match(data, at)) is not None:
        request_id = found[1]
        start, stop = found.span(1)
        data = data[:start] + data[stop:]
        end -= stop - start
    at = data.find(b"ength: ", 0, end)  # any usual capitalisation of the field's name
    if at < 0:
        return None
    return data[:at] + data[data.find(b"\r", at) : end], data, request_id
