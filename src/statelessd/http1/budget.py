"""The memory that senders may hold before the broker has let them in."""

from typing import Protocol

from ..message import Public

TOO_MANY_BODIES = Public("Too many request bodies are arriving at once.")


class Budget:
    """Bytes that all connections of a backend hold for senders who are not verified.

    Heads in pieces, requests ahead of their turn, and bodies that are arriving all count
    here. Code that keeps bytes takes room for them first, and gives it back when it drops
    them or hands them on. A sender is verified while the broker has a connection open for the
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


class Account(Protocol):
    """Where the bytes of a request count: in a ``Budget``, or among those of messages."""

    def take(self, size: int) -> bool:
        """Count ``size`` more bytes. Return False and count nothing if there is no room."""

    def give_back(self, size: int) -> None:
        """Count ``size`` bytes no more."""


class Holding:
    """The bytes that one owner holds now, in an account. ``hold(0)`` gives all of them back."""

    __slots__ = ("_account", "size")

    def __init__(self, account: Account) -> None:
        self._account = account
        self.size = 0  # bytes

    def hold(self, size: int) -> bool:
        """Hold ``size`` bytes in all. Return False and change nothing if there is no room."""
        more = size - self.size
        if more > 0 and not self._account.take(more):
            return False
        if more < 0:
            self._account.give_back(-more)
        self.size = size
        return True
