"""The bytes that a client sends ahead of their turn.

Requests of one connection are answered in their order (RFC 9112 section 9.3.2), because
the next one is not parsed before the response to the last one has ended. So at most one
request is unanswered. Besides that, a connection holds the rest of one read, because
reading is paused while bytes wait here. ``size`` is their number.
"""

from .budget import Budget


class Pipeline:
    """The bytes that wait for their turn. They count in the budget of all connections."""

    __slots__ = ("_at", "_budget", "_data")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._data = b""
        self._at = 0  # the bytes before were handled

    @property
    def size(self) -> int:
        """Return how many bytes wait."""
        return len(self._data) - self._at

    def hold(self, data: bytes, at: int = 0) -> bool:
        """Keep ``data`` from ``at`` on, behind the bytes that wait already.

        Return False, and drop all of them, if there is no room in the budget.
        """
        if self.size:
            data, at = self._data[self._at :] + data[at:], 0
        elif at > len(data) // 2:
            data, at = data[at:], 0  # which frees the part that was handled
        self.clear()
        if not self._budget.take(len(data)):
            return False
        self._data, self._at = data, at
        return True

    def take(self) -> tuple[bytes, int]:
        """Take all that waits: bytes, and the position in them at which it begins."""
        found = self._data, self._at
        self.clear()
        return found

    def clear(self) -> None:
        """Drop all that waits."""
        if self._data:
            self._budget.give_back(len(self._data))
        self._data, self._at = b"", 0
