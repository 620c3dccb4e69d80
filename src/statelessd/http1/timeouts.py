"""The time-outs of a client connection.

No request has a timer. The server checks all connections a few times a second instead.
"""

import enum

from .limits import Limits
from .states import IDLE, READING_BODY, RESPONDING, WAITING, State


class Wait(enum.Enum):
    """What a connection waits for; the value is for people."""

    REQUEST = "next request"
    HEAD = "head"
    BODY = "body"
    HANDLER = "response"  # which has a deadline of its own
    READER = "reader"  # the client does not read its responses


def seconds(limits: Limits) -> dict[Wait, float]:
    """Return how long each wait may be."""
    return {
        Wait.REQUEST: limits.idle_timeout,
        Wait.HEAD: limits.head_timeout,
        Wait.BODY: limits.body_timeout,
        Wait.HANDLER: float("inf"),
        Wait.READER: limits.body_timeout,
    }


def wait_of(state: State, has_asked: bool, read_paused: bool, is_stuck: bool) -> Wait:
    """Return what a connection waits for.

    ``has_asked``: something of a request has come. ``is_stuck``: what was written cannot
    leave.
    """
    if is_stuck:
        return Wait.READER
    if state is RESPONDING or state is WAITING or read_paused:
        return Wait.HANDLER  # the client waits for us
    if state is READING_BODY:
        return Wait.BODY
    return Wait.REQUEST if state is IDLE and has_asked else Wait.HEAD


class Watch:
    """The wait that the last check of a connection saw."""

    __slots__ = ("_expires_at", "_respited", "_seen")

    def __init__(self) -> None:
        self._seen: tuple[Wait, int] | None = None
        self._expires_at = 0.0
        self._respited: tuple[Wait, int] | None = None

    def has_expired(self, wait: Wait, progress: int, now: float, seconds: float) -> bool:
        """Return whether the same wait, without progress, has lasted for ``seconds``."""
        seen = (wait, progress)
        if seen != self._seen:
            self._seen = seen
            self._expires_at = now + seconds
        return now >= self._expires_at

    def respite(self) -> bool:
        """Return whether this wait may last until the next check, which is allowed once.

        After a pause of the whole process, timers run before bytes that came in time.
        """
        if self._respited == self._seen:
            return False
        self._respited = self._seen
        return True
