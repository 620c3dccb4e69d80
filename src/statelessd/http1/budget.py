"""The memory that senders may hold before the broker has let them in."""


class Budget:
    """Bytes that all connections of a backend hold for senders who are not verified.

    Heads in pieces, requests ahead of their turn, and bodies that are arriving all count
    here. Whoever holds bytes takes them first, and gives them back when they are dropped
    or handed on. A sender is verified while the broker has a connection open for the
    credentials of the request. The bytes of verified senders count among those of messages.
    """

    __slots__ = ("_limit", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0  # bytes

    def __repr__(self) -> str:
        return f"<Budget: {self.held} of {self._limit} bytes>"

    def take(self, size: int) -> bool:
        """Count ``size`` more bytes. Return False and count nothing if there is no room."""
        if self.held + size > self._limit:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        """Count ``size`` bytes no more."""
        self.held -= size
