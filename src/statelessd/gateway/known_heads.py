"""What a publish request says before its body, and how the next one is known to say the same.

A program sends one head again and again, but for the length of the body: on one
connection, or each time on a new one, as PHP does, or behind a proxy on any of
those that it keeps, and with an id of the request besides. To compare it takes a
tenth of a microsecond, to find it among others two; to parse and check it takes
ten, which is half of all that a publish costs here.
"""

import re
from collections.abc import Callable, Sequence

import msgspec

from ..message import Credentials, Message
from .request import Target

LENGTH = b"\r\ncontent-length: "
END = b"\r\n\r\n"
MOST_DIGITS = 10

# Heads are known by heart, up to so many of so many bytes.
KNOWN_HEADS = 1024
KNOWN_SIZE = 2048

# An X-Request-ID that is taken over: it goes into answers and logs as it is.
REQUEST_ID = rb"[A-Za-z0-9._~:/+=@-]{1,128}"
_ID_LINE = re.compile(rb"\r\nx-request-id: (" + REQUEST_ID + rb")\r", re.IGNORECASE)

NOWHERE = Target("", "", "")
NOBODY = Credentials("", "")


def _unreadable(_: bytes) -> Message:
    raise AssertionError("a request that was decided by its head has no message")


class Head(msgspec.Struct):
    """What is known of a request once its head was checked.

    ``read``: makes the message of a body. ``wait``: seconds for the publish.
    ``extra``: headers of the answer that others lack.
    """

    headers: dict[bytes, bytes]
    keep_alive: bool
    target: Target = NOWHERE
    credentials: Credentials = NOBODY
    extra: Sequence[tuple[bytes, bytes]] = ()
    read: Callable[[bytes], Message] = _unreadable
    wait: float = 0.0

    def __repr__(self) -> str:
        return f"<Head of a request to {self.target!r}>"  # the headers have the password


class Repeat(msgspec.Struct, frozen=True):
    """The bytes of a head that was read, and what they are before and after the body's length."""

    head: Head
    whole: bytes
    size: int  # of the body that came with it
    before: bytes
    after: bytes

    @classmethod
    def of(cls, head: Head, whole: bytes, size: int) -> "Repeat | None":
        """Return the head whose bytes are ``whole``, and whose body had ``size`` bytes.

        Return None if it tells the length of the body in an unusual form.
        """
        at = whole.lower().find(LENGTH) + len(LENGTH)
        digits = b"%d\r\n" % size
        if at < len(LENGTH) or not whole.startswith(digits, at):
            return None
        return cls(head, whole, size, whole[:at], whole[at + len(digits) - 2 :])

    def __repr__(self) -> str:
        return f"<Repeat of {self.head!r}>"

    def body_of(self, data: bytes) -> bytes | None:
        """The body, if ``data`` is one whole request with this head, and nothing else."""
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
    """The heads that a backend was last sent by whatever client: the oldest is forgotten."""

    def __init__(self) -> None:
        self._repeats: dict[bytes, Repeat] = {}

    def add(self, head: Head, whole: bytes, size: int) -> None:
        """Know that whoever sends this head again means the same; as for ``Repeat.of``."""
        divided = _divide(whole)
        if divided is None:
            return
        name, whole, request_id = divided
        if request_id:  # the next request with this head brings another one
            others = {n: value for n, value in head.headers.items() if n != b"x-request-id"}
            head = msgspec.structs.replace(head, headers=others)
        repeat = Repeat.of(head, whole, size)
        if repeat is None or repeat.whole.lower().count(b"\r\nx-request-id:") > 1:
            return  # of several ids the last one counts
        self._repeats.pop(name, None)
        if len(self._repeats) >= KNOWN_HEADS:
            del self._repeats[next(iter(self._repeats))]
        self._repeats[name] = repeat

    def find(self, data: bytes) -> tuple[Repeat, bytes, bytes] | None:
        """If ``data`` is one whole request with a head that is known: that, its body and its id.

        The id, of the header ``X-Request-ID``, is empty where there is none.
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
    """A head's name, which is it without the body's length; the request without its id; the id.

    The id is the value of X-Request-ID in its usual spellings: proxies give each request
    one of its own. One that is spelt in another way stays in the name. None: it is no
    whole head, or a large one, or has no length.
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
    at = data.find(b"ength: ", 0, end)  # however the header's name is capitalised
    if at < 0:
        return None
    return data[:at] + data[data.find(b"\r", at) : end], data, request_id
