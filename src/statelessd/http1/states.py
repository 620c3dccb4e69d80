"""The states of a client connection, and the one table of its transitions.

    IDLE -> READING_HEAD -> READING_BODY -> RESPONDING -> IDLE
                                            |        ^
                                            v        | its turn has come
                                            WAITING -+

Requests are handled one at a time. Bytes that a client sends ahead of their turn wait in
the pipeline and are not parsed yet.
"""

import enum
from typing import Final


class IllegalTransitionError(Exception):
    """A transition that the table does not have: a fault of this program."""


class State(enum.Enum):
    """What a client connection is doing."""

    IDLE = "idle"  # between two requests, or before the first
    READING_HEAD = "reading head"
    READING_BODY = "reading body"  # the response may have begun, or even ended
    RESPONDING = "responding"  # the request was read; its response is due
    WAITING = "waiting for its turn"  # as before, and more of the client waits in the pipeline
    LINGERING = "lingering"  # the last response was sent; what still arrives is discarded
    CLOSED = "closed"  # the transport is closed, or closes once it has written everything

    after: tuple["State", ...]

    def to(self, following: "State") -> "State":
        """Return ``following``. Raise IllegalTransitionError if it cannot follow on this state."""
        if following not in self.after:
            raise IllegalTransitionError(f"{self.value} -> {following.value}")
        return following


IDLE: Final = State.IDLE
READING_HEAD: Final = State.READING_HEAD
READING_BODY: Final = State.READING_BODY
RESPONDING: Final = State.RESPONDING
WAITING: Final = State.WAITING
LINGERING: Final = State.LINGERING
CLOSED: Final = State.CLOSED

TRANSITIONS: dict[State, tuple[State, ...]] = {
    # RESPONDING: the handler knew the bytes, or a client is refused before it asks.
    # READING_BODY: the head came whole.
    IDLE: (RESPONDING, READING_BODY, READING_HEAD, WAITING, LINGERING, CLOSED),
    # RESPONDING: the head cannot be read, and is refused.
    READING_HEAD: (READING_BODY, RESPONDING, LINGERING, CLOSED),
    # IDLE: the response ended before the request did.
    READING_BODY: (RESPONDING, IDLE, LINGERING, CLOSED),
    RESPONDING: (IDLE, WAITING, LINGERING, CLOSED),
    WAITING: (IDLE, LINGERING, CLOSED),
    LINGERING: (CLOSED,),
    CLOSED: (CLOSED,),
}
for _state, _after in TRANSITIONS.items():
    _state.after = _after  # so that the hot path needs no dictionary
