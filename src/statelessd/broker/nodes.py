"""In which order the broker's nodes are to be tried: decisions only, no I/O.

Connections spread over the nodes. One that could not be reached is tried after
the others, for a while that grows; all sessions of a backend know of that. What
the broker says of somebody's login is no word on the node, and does not get here.
Times are the event loop's, in seconds.
"""

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..config.hosts import Host

logger = logging.getLogger(__name__)

FIRST_LEAVE, LONGEST_LEAVE = 0.5, 10.0  # seconds for which a node that failed comes last
STALLED_LEAVE = 30.0  # likewise, for one that takes connections and confirms nothing
NEVER = float("-inf")

Resolved = tuple[int, Any]
"""What getaddrinfo(3) gives: an address family, and an address for a socket of it."""


class Standing:
    """How things are with one place to connect to."""

    def __init__(self) -> None:
        self.connections = 0  # of ours, open or being made
        self.failures = 0  # in a row
        self.failed_at = NEVER
        self.last_until = NEVER
        self.stalled_until = NEVER

    def rank(self, now: float) -> tuple[bool, float, float]:
        """The lowest first: the least used, at random among equals; then the longest failed."""
        chance = random.random()  # noqa: S311 - not for secrecy
        if self.last_until > now:
            return True, self.failed_at, chance
        return False, self.connections, chance

    def take_leave(self, now: float) -> None:
        """Come last for a while."""
        longest = min(LONGEST_LEAVE, FIRST_LEAVE * 2 ** min(self.failures - 1, 10))
        # Jitter: the backends and their neighbours do not all come back to it at once.
        leave = longest * random.uniform(0.5, 1.0)  # noqa: S311 - not for secrecy
        self.last_until = max(self.stalled_until, now + leave)

    def begin(self, now: float) -> None:
        """A connection is being made."""
        self.connections += 1
        if self.failures and self.last_until <= now:
            self.take_leave(now)  # one session finds out whether it is back, and not all

    def end(self) -> None:
        """That connection, or the attempt, is over."""
        self.connections -= 1

    def failed(self, now: float) -> None:
        """It could not be reached."""
        self.failures += 1
        self.failed_at = now
        self.take_leave(now)

    def stalled(self, now: float) -> None:
        """It was reached, and did not do its work: that it takes another login means nothing."""
        self.stalled_until = now + STALLED_LEAVE
        self.failed(now)

    def reached(self) -> None:
        """It is there."""
        self.failures = 0
        self.last_until = self.stalled_until


Place = TypeVar("Place", bound=Standing)


def in_order(places: Iterable[Place], now: float) -> list[Place]:
    """All of them: what failed of late comes last, and is not left out."""
    return sorted(places, key=lambda place: place.rank(now))


class Address(Standing):
    """One address of a node; each ``begin`` wants an ``end``."""

    def __init__(self, node: "Node", resolved: Resolved) -> None:
        super().__init__()
        self.node = node
        self.family, self.address = resolved

    def begin(self, now: float) -> None:
        super().begin(now)
        self.node.begin(now)

    def end(self) -> None:
        super().end()
        self.node.end()

    def is_down(self, now: float, reason: str) -> None:
        """It could not be reached."""
        self.failed(now)
        self.node.failed_at_address(now, reason)

    def is_stalled(self, now: float, reason: str) -> None:
        """It took the connection, and nothing came of what was sent on it."""
        self.stalled(now)
        self.node.failed_at_address(now, reason)

    def is_up(self) -> None:
        """The broker has answered there."""
        self.reached()
        self.node.is_up()


class Node(Standing):
    """What the settings name: one node, or by a name with several addresses more of them.

    ``up``: false since the last attempt failed at all of its addresses.
    ``level``: of what is logged of that.
    """

    def __init__(self, host: Host, level: int = logging.WARNING) -> None:
        super().__init__()
        self.host = host
        self._level = level
        self.up = True
        self._addresses: dict[Resolved, Address] = {}

    def addresses(self, resolved: Sequence[Resolved], now: float) -> list[Address]:
        """Those that its name has now, in the order in which they are to be tried."""
        known = self._addresses
        found = {each: known.get(each) or Address(self, each) for each in resolved}
        used = {each: a for each, a in known.items() if each not in found and a.connections}
        self._addresses = {**used, **found}
        return in_order(found.values(), now)

    def is_down(self, now: float, reason: str) -> None:
        """None of its addresses could be reached, or it has none."""
        self.failed(now)
        if self.up:  # once for each change of state, not for each attempt
            self.up = False
            logger.log(self._level, "the broker's node %s is not reached: %s", self.host, reason)

    def failed_at_address(self, now: float, reason: str) -> None:
        """One of the addresses failed, and perhaps it was the last."""
        if all(address.last_until > now for address in self._addresses.values()):
            self.stalled_until = max(
                self.stalled_until, min(a.stalled_until for a in self._addresses.values())
            )
            self.is_down(now, reason)

    def is_up(self) -> None:
        """One of its addresses answers."""
        self.reached()
        if not self.up:
            self.up = True
            logger.log(self._level, "the broker's node %s is reached again", self.host)


class Nodes:
    """All that a backend may connect to."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        # Of a single one the log is told as of the broker, see reachability.
        level = logging.WARNING if len(hosts) > 1 else logging.DEBUG
        self._nodes = [Node(host, level) for host in hosts]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def in_order(self, now: float, avoid: Node | None = None) -> list[Node]:
        """Return all but ``avoid``, as they are to be tried for the next connection."""
        return in_order((node for node in self._nodes if node is not avoid), now)
