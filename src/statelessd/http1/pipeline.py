"""What a client sends ahead of its turn.

Requests of one connection are answered in their order (RFC 9112 section 9.3.2), because
the next one is not even parsed before the response to the last one has ended. So the
number of unanswered requests is at most one, and what a connection holds besides is the
rest of one read: reading is paused while something waits here. Whoever counts the bytes
that are held counts ``size``.
"""


class Pipeline:
    """The bytes that wait for their turn."""

    __slots__ = ("_at", "_data")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0  # what comes before was worked on

    @property
    def size(self) -> int:
        """The bytes that wait."""
        return len(self._data) - self._at

    def hold(self, data: bytes, at: int = 0) -> None:
        """Keep ``data`` from ``at`` on, behind what waits already."""
        if self.size:
            self._data, self._at = self._data[self._at :] + data[at:], 0
        else:
            self._data, self._at = data, at

    def take(self) -> tuple[bytes, int]:
        """Return what waits: bytes, and where in them it begins; nothing waits afterwards."""
        found = self._data, self._at
        self.clear()
        return found

    def clear(self) -> None:
        """Let go of what waits."""
        self._data, self._at = b"", 0
