"""Who has a place among the client connections of a server.

Three kinds of connections are open, and each has a bound of its own:

- clients that may ask: ``limit`` of them;
- clients above the limit, which are told so. Of more than ``spare`` of them, the one that
  was told first is closed, so that each gets an answer;
- TLS handshakes: a quarter of the limit, and together with those who may ask no more than
  ``spare`` above it. Of more, the oldest gives way, because a client that means it is fast.
"""

from typing import Protocol

SPARE = 500
LEAST_HANDSHAKES = 10


class Open(Protocol):
    """An open connection, as its server sees it."""

    has_asked: bool

    @property
    def has_pending(self) -> bool: ...
    def check_timeouts(self, now: float) -> None: ...
    def drain(self) -> None: ...
    def shutdown(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Places:
    """The places of all client connections, and their counts; ``open`` has every connection."""

    def __init__(self, limit: int, spare: int = SPARE) -> None:
        self.limit = limit
        self.spare = spare
        self.open: set[Open] = set()
        self.accepted = 0  # connections
        self.refused_clients = 0  # above the limit of connections
        self.refused_handshakes = 0  # given up for later ones
        self.received = 0  # bytes
        self._refused: dict[Open, None] = {}  # the oldest first, as the next
        self._handshakes: dict[Open, None] = {}

    def __repr__(self) -> str:
        return (
            f"<Places: {self._taken} of {self.limit} taken, {len(self._refused)} refused, "
            f"{len(self._handshakes)} shaking hands>"
        )

    @property
    def has_handshakes(self) -> bool:
        """Return whether a client has connected and its TLS handshake is not complete."""
        return bool(self._handshakes)

    @property
    def _taken(self) -> int:
        return len(self.open) - len(self._refused) - len(self._handshakes)

    def take(self, connection: Open) -> bool:
        """Note that a client may ask from now on. Return False if it has to be told no."""
        self.open.add(connection)
        if len(self.open) <= self.limit or self._taken <= self.limit:
            return True
        self.refused_clients += 1
        self._refused[connection] = None
        self._keep(self._refused, self.spare)
        return False

    def begin(self, handshake: Open) -> None:
        """Note that a TLS handshake begins. Abort those that have to give way."""
        self.open.add(handshake)
        self._handshakes[handshake] = None
        most = min(max(LEAST_HANDSHAKES, self.limit // 4), self.limit + self.spare - self._taken)
        self.refused_handshakes += self._keep(self._handshakes, max(1, most))

    def leave(self, connection: Open) -> None:
        """Note that a connection or a handshake has ended, or a handshake is complete."""
        self.open.discard(connection)
        if self._refused:
            self._refused.pop(connection, None)
        if self._handshakes:
            self._handshakes.pop(connection, None)

    def fit(self, limit: int, spare: int) -> None:
        """Change the bounds. Connections above the new limit end when they have no request."""
        excess = self._taken - limit
        self.limit, self.spare = limit, spare
        if excess > 0:
            asking = self.open - self._refused.keys() - self._handshakes.keys()
            for connection in sorted(asking, key=lambda each: each.has_pending)[:excess]:
                connection.shutdown()

    def _keep(self, connections: dict[Open, None], most: int) -> int:
        """Abort the oldest ones above ``most``; return how many."""
        excess = list(connections)[: max(0, len(connections) - most)]
        for connection in excess:
            self.leave(connection)
            connection.abort()
        return len(excess)
