"""The last requests and items of batches that did not succeed, for the dashboard.

Everybody who may see the dashboard can read them. So a detail is kept only if it is
``Public``. Of one that may quote the request, only the mistake is kept.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from ..message import Outcome, Public, Quoting, printable
from ..message import problem as problem_of

MOST = 100
LONGEST_NAME = 255  # characters: AMQP allows 255 bytes (section 4.2.5.3)
LONGEST_DETAIL = 300  # characters


class RecentError(msgspec.Struct, frozen=True):
    """What a client was told, when, and about which target."""

    time: float
    backend: str
    status: int
    type: str
    outcome: str
    detail: str
    virtual_host: str
    exchange: str
    user: str
    request_id: str
    endpoint: str = ""  # the name of a webhook endpoint


class RecentErrors:
    """The recent errors of one backend."""

    def __init__(self, backend: str, clock: Callable[[], float] = time.time) -> None:
        self._backend = backend
        self._clock = clock
        self._errors: deque[RecentError] = deque(maxlen=MOST)

    def add(
        self,
        outcome: Outcome,
        detail: str,
        *,
        handed_over: bool = False,
        virtual_host: str = "",
        exchange: str = "",
        user: str = "",
        request_id: bytes = b"",
        endpoint: str = "",
    ) -> None:
        """Add one; if there are too many, the oldest goes."""
        problem = problem_of(outcome, "", handed_over=handed_over)
        self._errors.append(
            RecentError(
                self._clock(),
                self._backend,
                problem.status,
                outcome.value,
                problem.outcome,
                printable(_for_all(detail), LONGEST_DETAIL),
                printable(virtual_host, LONGEST_NAME),
                printable(exchange, LONGEST_NAME),
                printable(user, LONGEST_NAME),
                request_id.decode(),
                endpoint,
            )
        )

    def __iter__(self) -> Iterator[RecentError]:
        """Iterate over them, the newest first."""
        return reversed(self._errors)


def _for_all(detail: str) -> str:
    """Return what others than the client may read of a detail."""
    if isinstance(detail, Quoting):
        return detail.mistake.value
    return detail if isinstance(detail, Public) else ""
