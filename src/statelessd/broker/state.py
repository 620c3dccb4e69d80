"""The states of sessions, channels and publishes."""

import enum


class SessionState(enum.Enum):
    """The states of a session."""

    IDLE = "idle"  # no connection, and nobody asks for one
    QUEUED = "queued"  # waits for its turn to log in
    CONNECTING = "connecting"
    OPEN = "open"
    ENDING = "ending"  # it was open, and its socket is about to go
    PAUSING = "pausing"  # backs off until the next attempt
    CLOSING = "closing"
    REFUSED = "refused"  # the broker refused the login, and is not asked again for a while
    ENDED = "ended"  # make a new one


class ChannelPhase(enum.Enum):
    """The life of a channel, in this order."""

    QUEUED = "queued"  # the connection has no room for another channel yet
    OPENING = "opening"
    FRESH = "fresh"  # open, nothing confirmed on it: one message at a time
    PIPELINED = "pipelined"
    GONE = "gone"


class PublishState(enum.Enum):
    """The life of a publish, in this order.

    Only a message that the broker certainly discarded goes back to waiting.
    """

    WAITING = "waiting"  # not one byte of it was given to the transport
    HANDED_OVER = "handed over"  # only the broker can settle it now
    SETTLED = "settled"  # answered: it is never sent from here on
