"""The state of each login for the dashboard: since when it is so, and what it has done."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from ..message import printable
from .pending import WAITING, Publish
from .pool import Pool
from .session import Session
from .state import SessionState

CONNECTED = "connected"

# A login may have several sessions, because its password was changed or one replaces
# another. The state that comes first here counts.
STATES = {
    SessionState.OPEN: CONNECTED,
    SessionState.CONNECTING: "connecting",
    SessionState.QUEUED: "connecting",
    SessionState.PAUSING: "waiting",
    SessionState.CLOSING: "closing",
    SessionState.ENDING: "closing",
    SessionState.REFUSED: "refused",
    SessionState.IDLE: "idle",
    SessionState.ENDED: "closed",
}
ORDER = list(STATES)


class Login(msgspec.Struct):
    """A virtual host and a user, in printable form; others as in ``/stats``."""

    backend: str
    virtual_host: str
    user: str
    state: str
    since: float  # Unix time at which that state began
    publishes: int
    rate: float  # of publishes, a second
    queue_size: int  # messages that wait, as the next that are handed over
    in_flight: int
    channels: int  # open now
    reconnects: int  # after a connection that was lost
    last_error: str


def logins(backend: str, pool: Pool, active: Iterable[Publish]) -> list[Login]:
    """Return all logins that have a session, or figures from earlier."""
    by_login: dict[tuple[str, str], list[Session]] = {key: [] for key in pool.statistics}
    for session in pool.sessions():
        by_login.setdefault(session.login, []).append(session)
    waiting: Counter[tuple[str, str]] = Counter()
    in_flight: Counter[tuple[str, str]] = Counter()
    for publish in active:
        if publish.session is not None:
            counts = waiting if publish.state is WAITING else in_flight
            counts[publish.session.virtual_host, publish.session.username] += 1
    found = []
    for key, those in by_login.items():
        counted = pool.statistics.get(key) or those[0].statistics
        state, since = "closed", counted.ended_at
        if those:
            # Nearly always there is one, and a backend does this for all logins each second.
            leading = those[0] if len(those) == 1 else min(those, key=_rank)
            state, since = STATES[leading.state], leading.since
        last_error = counted.last_error
        for session in those:
            if session.statistics is not counted:
                last_error = max(last_error, session.statistics.last_error)
        found.append(
            Login(
                backend,
                printable(key[0]),
                printable(key[1]),
                state,
                since,
                counted.publishes,
                round(counted.rate, 2),
                waiting.get(key, 0),
                in_flight.get(key, 0),
                counted.channels_opened - counted.channels_closed,
                counted.reconnects,
                last_error[1],
            )
        )
    return found


def _rank(session: Session) -> tuple[int, float]:
    return ORDER.index(session.state), session.since
