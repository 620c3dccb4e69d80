"""The order in which the broker's nodes are tried. Decisions only, no I/O.

Connections spread over the nodes. A node that could not be reached is tried after the
others, for a time that grows, by all sessions of a backend. A refused login says nothing
about the node, and is not reported here.
"""

import logging
import random
from collections.abc import Sequence
from typing import Any

from ..config.hosts import Host

logger = logging.getLogger(__name__)

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 10.0  # seconds for which a node that failed comes last
STALLED_BACK_OFF = 30.0  # likewise, for one that takes connections and confirms nothing
NEVER = float("-inf")

Resolved = tuple[int, Any]
"""What getaddrinfo(3) gives: an address family, and an address for a socket of it."""


def back_off(failures: int, first: float, longest: float) -> float:
    """Return the seconds to wait after so many failures in a row, doubled with each."""
    full = min(longest, first * 2.0 ** min(failures - 1, 10))
    # Sessions that failed together must not all come back at once.
    return full * random.uniform(0.5, 1.0)  # noqa: S311 - not for secrecy


class Standing:
    """Whether one place to connect to has served well. Times are loop times, in seconds."""

    def __init__(self) -> None:
        self.connections = 0  # of ours, open or being made
        self.failures = 0  # in a row
        self.failed_at = NEVER
        self.backs_off_until = NEVER
        self.stalled_until = NEVER

    def rank(self, now: float) -> tuple[bool, float, float]:
        """Return a key for sorting: the least used place first, and those that back off last."""
        chance = random.random()  # noqa: S311 - not for secrecy
        if self.backs_off_until > now:
            return True, self.failed_at, chance
        return False, self.connections, chance

    def back_off(self, now: float) -> None:
        """Place it after the others for a while."""
        pause = back_off(self.failures, FIRST_BACK_OFF, LONGEST_BACK_OFF)
        self.backs_off_until = max(self.stalled_until, now + pause)

    def begin(self, now: float) -> None:
        """Count a connection that is being made."""
        self.connections += 1
        if self.failures and self.backs_off_until <= now:
            self.back_off(now)  # one session finds out whether it is back, and not all

    def end(self) -> None:
        """Count it no more: the connection, or the attempt, is over."""
        self.connections -= 1

    def failed(self, now: float) -> None:
        """Note that it could not be reached, or did not do its work."""
        self.failures += 1
        self.failed_at = now
        self.back_off(now)

    def reached(self) -> None:
        """Note that it answers."""
        self.failures = 0
        self.backs_off_until = self.stalled_until


class Address(Standing):
    """One address of a node. Each ``begin`` needs an ``end``."""

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

    def is_down(self, now: float, reason: str, *, stalled: bool = False) -> None:
        """Note that it was not reached, or, ``stalled``, took messages and confirmed none."""
        if stalled:
            self.stalled_until = now + STALLED_BACK_OFF
        self.failed(now)
        self.node.failed_at_address(now, reason)

    def is_up(self) -> None:
        """Note that the broker has answered at the address."""
        self.reached()
        self.node.is_up()


class Node(Standing):
    """A host of the settings. Its name may have several addresses.

    ``up`` is false once attempts have failed at all of them, which is logged at ``level``.
    """

    def __init__(self, host: Host, level: int = logging.WARNING) -> None:
        super().__init__()
        self.host = host
        self._level = level
        self.up = True
        self._addresses: dict[Resolved, Address] = {}

    def __repr__(self) -> str:
        state = "up" if self.up else "down"
        return f"<Node {self.host}: {state}, {self.connections} connections>"

    def addresses(self, resolved: Sequence[Resolved], now: float) -> list[Address]:
        """Return the addresses that the name has now, in the order in which to try them."""
        known = self._addresses
        found = {each: known.get(each) or Address(self, each) for each in resolved}
        used = {each: a for each, a in known.items() if each not in found and a.connections}
        self._addresses = {**used, **found}
        return sorted(found.values(), key=lambda address: address.rank(now))

    def is_down(self, now: float, reason: str) -> None:
        """Note that no address could be reached, or that there is none."""
        self.failed(now)
        if self.up:  # once for each change of state, not for each attempt
            self.up = False
            logger.log(self._level, "cannot reach the broker's node %s: %s", self.host, reason)

    def failed_at_address(self, now: float, reason: str) -> None:
        """Note that one of the addresses failed; if all have, the node is down."""
        if all(address.backs_off_until > now for address in self._addresses.values()):
            self.stalled_until = max(
                self.stalled_until, min(a.stalled_until for a in self._addresses.values())
            )
            self.is_down(now, reason)

    def is_up(self) -> None:
        """Note that one of the addresses answers."""
        self.reached()
        if not self.up:
            self.up = True
            logger.log(self._level, "the broker's node %s is reachable again", self.host)


class Nodes(list[Node]):
    """All nodes that a backend may connect to."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        # A single node is the broker, and reachability logs its changes.
        level = logging.WARNING if len(hosts) > 1 else logging.DEBUG
        super().__init__(Node(host, level) for host in hosts)

    def in_order(self, now: float, avoid: Node | None = None) -> list[Node]:
        """Return all but ``avoid``, in the order in which to try them."""
        nodes = [node for node in self if node is not avoid]
        return sorted(nodes, key=lambda node: node.rank(now))
