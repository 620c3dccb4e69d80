"""The last answers and items of batches that were no success, for people to look at.

They can be read by whoever sees the dashboard. So a detail is kept only where
it is a text of our own, or the broker's or the network's about a login or an
exchange: none that can quote what a client sent, be it a property, a header, a
routing key, or a part of a body.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from ..message import Outcome
from ..message import problem as problem_of

MOST = 100
LONGEST_NAME = 128  # characters, as the next
LONGEST_DETAIL = 300

ANY = ("",)
# What a detail may begin with to be kept.
KEPT: dict[Outcome, tuple[str, ...]] = {
    Outcome.BAD_REQUEST: (
        "The form has no field 'body'.",
        "A batch is sent as ",
        "The path names no virtual host;",
        "The properties and headers do not fit a frame ",
        "There must be one Host header.",
    ),
    Outcome.UNAUTHORIZED: (
        "The request has no Authorization header.",
        "The Authorization header is ",
        "The bearer token is malformed.",
        "The broker refused the ",
    ),
    Outcome.TOO_MANY_FAILURES: ("The broker refused the ",),
    Outcome.FORBIDDEN: (
        "The user guest may publish from this machine only.",
        "The broker says: access to exchange ",
        "The broker says: access to vhost ",
    ),
    Outcome.CROSS_SITE: (),
    Outcome.UNCONFIRMED: (
        "The broker did not confirm ",
        "The broker returned a message ",
        "The connection to the broker was lost: ",
    ),
    Outcome.VIRTUAL_HOST_NOT_FOUND: ANY,
    Outcome.EXCHANGE_NOT_FOUND: ANY,
    Outcome.NO_ROUTE: ANY,
    Outcome.NOT_FOUND: ANY,
    Outcome.METHOD_NOT_ALLOWED: ANY,
    Outcome.REQUEST_TIMEOUT: ANY,
    Outcome.LENGTH_REQUIRED: ANY,
    Outcome.TOO_LARGE: ANY,
    Outcome.HEADERS_TOO_LARGE: ANY,
    Outcome.BROKER_UNAVAILABLE: ANY,
    Outcome.BROKER_BLOCKED: ANY,
    Outcome.OVERLOADED: ANY,
    Outcome.SHUTTING_DOWN: ANY,
    Outcome.NACKED: ANY,
    Outcome.INTERNAL_ERROR: ANY,
}


class RecentError(msgspec.Struct, frozen=True):
    """What a client was told, when, and about what."""

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


class RecentErrors:
    """Of one backend."""

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
    ) -> None:
        """One more; the oldest may have to go."""
        problem = problem_of(outcome, "", handed_over=handed_over)
        self._errors.append(
            RecentError(
                self._clock(),
                self._backend,
                problem.status,
                outcome.value,
                problem.outcome,
                detail[:LONGEST_DETAIL] if detail.startswith(KEPT[outcome]) else "",
                virtual_host[:LONGEST_NAME],
                exchange[:LONGEST_NAME],
                user[:LONGEST_NAME],
                request_id.decode(),
            )
        )

    def __iter__(self) -> Iterator[RecentError]:
        """Newest first."""
        return reversed(self._errors)
