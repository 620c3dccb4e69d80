"""Logins that wait for their turn, fair between addresses. Decisions only, no I/O."""

import itertools
import random
from typing import Generic, TypeVar

T = TypeVar("T")

DRAWN = 3  # logins of an address, of which the oldest is next


class Lots(Generic[T]):
    """A set from which one is drawn at random. Every operation takes constant time."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._places: dict[T, int] = {}  # of each in the list

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Add what is not in it yet."""
        if item not in self._places:
            self._places[item] = len(self._items)
            self._items.append(item)

    def discard(self, item: T) -> None:
        """Remove it if it is there; the last one takes its place."""
        place = self._places.pop(item, None)
        if place is not None:
            last = self._items.pop()
            if place < len(self._items):
                self._items[place] = last
                self._places[last] = place

    def draw(self, count: int = 1) -> list[T]:
        """Return ``count`` of them, perhaps one several times. They stay. There must be one."""
        return random.choices(self._items, k=count)  # noqa: S311 - not for secrecy


class LoginQueue(Generic[T]):
    """Admits ``places`` logins at a time, and draws the next one by lot.

    First an address is drawn and then one of its logins, so a storm from one address delays
    the others little. In the order of arrival, the logins of a storm would all be served just
    too late. By lot alone, a few would wait long without need. So the oldest of some is next.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._under_way: set[T] = set()
        self._address_of: dict[T, str] = {}  # of those that wait
        self._number_of: dict[T, int] = {}  # in the order of arrival
        self._numbers = itertools.count()
        self._addresses: Lots[str] = Lots()
        self._waiting: dict[str, Lots[T]] = {}

    @property
    def waiting(self) -> int:
        """Return how many wait for their turn."""
        return len(self._address_of)

    @property
    def under_way(self) -> int:
        """Return how many have a place."""
        return len(self._under_way)

    def enter(self, login: T, address: str) -> None:
        """Let a login wait for its turn."""
        self._address_of[login] = address
        self._number_of[login] = next(self._numbers)
        self._addresses.add(address)
        self._waiting.setdefault(address, Lots()).add(login)

    def leave(self, login: T) -> None:
        """Give its place to another one; or let it wait no more."""
        self._under_way.discard(login)
        address = self._address_of.pop(login, None)
        if address is not None:
            del self._number_of[login]
            lots = self._waiting[address]
            lots.discard(login)
            if not lots:
                del self._waiting[address]
                self._addresses.discard(address)

    def next(self) -> T | None:
        """Give a place to one that waits, and return it; None: no place is free, or none waits."""
        if self.under_way >= self._places or not self.waiting:
            return None
        [address] = self._addresses.draw()
        login = min(self._waiting[address].draw(DRAWN), key=self._number_of.__getitem__)
        self.leave(login)
        self._under_way.add(login)
        return login

    def draw(self, address: str) -> T | None:
        """Return one that waits at this address, which goes on waiting."""
        return self._waiting[address].draw()[0] if address in self._waiting else None
