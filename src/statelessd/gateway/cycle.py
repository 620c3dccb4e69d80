"""One publish request under way: from its head to its answer."""

from collections.abc import Callable

from ..broker.publish import Publish
from ..message import Outcome
from .known_heads import Head

MOST_PIECES = 64  # of a body, until they become one

# Lengths of a body that no header says in bytes.
CHUNKED = -1
UNTOLD = -2  # there is no length, and whether a body follows cannot be told from the head


class PublishCycle:
    """One publish request, as uvicorn's pipeline and our callbacks see it.

    ``decided``: the answer, where it is known before its turn has come.
    """

    __slots__ = (
        "complete", "decided", "disconnected", "expects", "extra", "head", "keep_alive",
        "length", "message_event", "method", "options", "pieces", "publish", "request_id",
        "reserved", "response_complete", "size", "started", "started_at", "without_document",
        "write",
    )  # fmt: skip

    def __init__(self, write: Callable[["PublishCycle", Outcome, str], None], head: Head) -> None:
        self.write = write
        self.head = head
        self.keep_alive = head.keep_alive
        self.extra = head.extra
        self.without_document = False  # it was a HEAD request
        self.options = False  # it was an OPTIONS request
        self.method = "POST"
        self.request_id = b""
        self.decided: tuple[Outcome, str] | None = None
        self.publish: Publish | None = None
        self.pieces: list[bytes | bytearray] = []  # of the body
        self.length = 0  # of the body, as announced, or CHUNKED or UNTOLD
        self.size = 0  # of the body, so far
        self.reserved = 0  # bytes counted with the publisher while they arrive
        self.expects = False
        self.complete = False  # the request has been read
        self.started = False  # its turn has come
        self.started_at = 0  # nanoseconds, of a clock that only goes on
        # What uvicorn looks at.
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NOBODY_WAITS

    @property
    def is_plain(self) -> bool:
        """It was read in one go and given to the broker: another with this head would be, too."""
        return self.started and self.decided is None and not self.expects and not self.reserved

    def add(self, piece: bytes) -> None:
        """More of the body. Of many small pieces, no object each is kept."""
        pieces = self.pieces
        pieces.append(piece)
        if len(pieces) > MOST_PIECES:
            whole = pieces[0] if isinstance(pieces[0], bytearray) else bytearray(pieces[0])
            whole += b"".join(pieces[1:])
            self.pieces = [whole]

    def take(self) -> bytes:
        """The body, which is not kept here any longer."""
        pieces, self.pieces = self.pieces, []
        return b"".join(pieces)  # of one piece of bytes it is that piece

    def settled(self, outcome: Outcome, detail: str) -> None:
        """The publisher's word."""
        self.write(self, outcome, detail)


class _NoEvent:
    """No task waits on a publish."""

    def set(self) -> None:
        pass


_NOBODY_WAITS = _NoEvent()
