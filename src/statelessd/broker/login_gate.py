"""Which sessions may log in now, and how much may wait for logins that may never succeed.

A login costs RabbitMQ milliseconds of CPU, and anybody can cause one with an invented name.
So few are under way at a time. Users whom the broker has let in before have places of their
own, because they must come back quickly after a restart of the broker.
"""

import asyncio
from typing import Protocol

from ..message import Key, Outcome, Public
from .login_queue import LoginQueue
from .pending import Publish
from .statistics import ConnectionCounters, SessionStatistics

MOST_KNOWN = 10_000  # logins that are remembered, by their keys
AGAIN = 4  # times as many places for users whom the broker has let in before
SHARE = 4  # the messages of strangers may be one in so many, and so may their bytes
FEWEST = 64  # messages of strangers, however few there may be in all
TOO_MANY = Public("Too many messages are waiting for logins that the broker has not accepted yet.")


class Sender(Protocol):
    """A client that wants to publish."""

    def address(self) -> str:
        """Return where it is, as far as is known. It is asked only before a first login."""


class Waiter(Protocol):
    """A session, as the gate sees it.

    ``address`` is that of its first message; None if the broker has let the login in before.
    ``waiting`` has the messages that wait for the login, in order.
    """

    key: Key
    address: str | None
    waiting: dict[Publish, None]

    @property
    def is_forgiven(self) -> bool:
        """Return whether the login was refused so long ago that it may be tried again."""

    def log_in(self) -> None:
        """Begin the login, because it is its turn."""

    def emptied(self) -> None:
        """Note that no message waits any more."""


class SessionOwner(Protocol):
    """Finds the sessions, and learns how their logins went."""

    def statistics_of(self, virtual_host: str, username: str) -> SessionStatistics: ...
    def make_room(self, session: Waiter) -> bool: ...
    def refused(self, session: Waiter) -> None: ...
    def forget(self, session: Waiter) -> None: ...


class Crowd:
    """What the messages cost that wait for first logins, by address. Bytes, and some for each."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.total = 0
        self.by_address: dict[str, int] = {}
        self._limit = max_bytes // SHARE
        self._each = max(1, max_bytes // max(max_messages, SHARE * FEWEST))

    def cost(self, publish: Publish) -> int:
        """Return what a message costs."""
        return publish.size + self._each

    def add(self, address: str, cost: int) -> None:
        """Count what a message costs from now on."""
        self.total += cost
        self.by_address[address] = self.by_address.get(address, 0) + cost

    def remove(self, address: str, cost: int) -> None:
        """Count it no more."""
        self.total -= cost
        self.by_address[address] -= cost
        if not self.by_address[address]:
            del self.by_address[address]

    def has_room(self, cost: int) -> bool:
        """Return whether a message may come in; one may be as large as it likes."""
        return not self.total or self.total + cost <= self._limit

    def heaviest(self, address: str, cost: int) -> str:
        """Return which address would hold most if ``cost`` came from this one."""
        most = max(self.by_address, key=self.by_address.__getitem__)
        mine = self.by_address.get(address, 0) + cost
        return address if mine >= self.by_address[most] else most


class FirstMessages(dict[Publish, None]):
    """The messages, in order, that wait for a session's first login. They count in the crowd."""

    def __init__(self, crowd: Crowd, session: Waiter) -> None:
        self._crowd, self._session = crowd, session
        self._address = session.address or ""

    def __setitem__(self, publish: Publish, value: None) -> None:
        super().__setitem__(publish, value)
        self._crowd.add(self._address, self._crowd.cost(publish))

    def pop(self, publish: Publish, default: None = None) -> None:  # type: ignore[override]
        """Let a message wait no more, if it does."""
        if publish in self:
            del self[publish]
            self._crowd.remove(self._address, self._crowd.cost(publish))
            if not self:
                self._session.emptied()


class LoginGate:
    """Admits logins: ``places`` first ones at a time, and more of users whom the broker knows."""

    def __init__(
        self,
        places: int,
        crowd: Crowd,
        counters: ConnectionCounters,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._first: LoginQueue[Waiter] = LoginQueue(places)
        self._again: LoginQueue[Waiter] = LoginQueue(AGAIN * places)
        self._queue_of: dict[Waiter, LoginQueue[Waiter]] = {}
        self._known: dict[Key, None] = {}  # those that logged in last come last
        self._crowd = crowd
        self._counters = counters
        self._loop = loop
        self._is_due = False

    @property
    def waiting(self) -> int:
        """Return how many logins wait for their turn."""
        return self._first.waiting + self._again.waiting

    @property
    def under_way(self) -> int:
        """Return how many logins are under way."""
        return self._first.under_way + self._again.under_way

    def knows(self, key: Key) -> bool:
        """Return whether the broker has let the login in, and has not refused it since."""
        return key in self._known

    def let_in(self, key: Key) -> None:
        """Remember that the broker has let the login in."""
        self._known.pop(key, None)
        self._known[key] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def refused(self, key: Key) -> None:
        """Treat the login as one that nobody knows, because the broker has refused it."""
        self._known.pop(key, None)

    # Turns

    def enter(self, session: Waiter) -> None:
        """Let a session log in when it is its turn, which may be now."""
        queue = self._again if session.address is None else self._first
        self._queue_of[session] = queue
        queue.enter(session, session.address or "")
        self._admit()

    def leave(self, session: Waiter) -> None:
        """Let others have the turn or the place of a session."""
        self._queue_of.pop(session).leave(session)
        if not self._is_due:
            # Not now, because the session is changing its state.
            self._is_due = True
            self._loop.call_soon(self._admit)

    def _admit(self) -> None:
        self._is_due = False
        for queue in (self._again, self._first):
            while (session := queue.next()) is not None:
                session.log_in()

    # What waits for first logins

    def messages(self, session: Waiter) -> dict[Publish, None]:
        """Return what holds the messages of a session until it has logged in."""
        return {} if session.address is None else FirstMessages(self._crowd, session)

    def admit(self, session: Waiter, publish: Publish) -> bool:
        """Return whether a message may wait for the session's login, or else refuse it.

        If there is no room, the address that holds most of it loses logins that wait. If that
        is the session's own, the message has to go.
        """
        if self._makes_room(session.address, publish):
            return True
        self._counters.refusals["logins"] += 1
        publish.refuse(Outcome.OVERLOADED, TOO_MANY)
        session.emptied()
        return False

    def _makes_room(self, address: str | None, publish: Publish) -> bool:
        if address is None:
            return True
        crowd, cost = self._crowd, self._crowd.cost(publish)
        while not crowd.has_room(cost):
            heaviest = crowd.heaviest(address, cost)
            victim = None if heaviest == address else self._first.draw(heaviest)
            if victim is None or not victim.waiting:
                return False
            for each in list(victim.waiting):
                self._counters.refusals["logins"] += 1
                each.leave_queue()
                # Soon, because an answer to a client may bring its next message.
                self._loop.call_soon(each.refuse, Outcome.OVERLOADED, TOO_MANY)
        return True
