"""Where a session stands with its connection."""

import enum


class SessionState(enum.Enum):
    """What a session may be doing."""

    IDLE = "idle"  # no connection, and nobody asks for one
    CONNECTING = "connecting"
    OPEN = "open"
    ENDING = "ending"  # it was open, and its socket is about to go
    PAUSING = "pausing"  # until the next attempt
    CLOSING = "closing"
    REFUSED = "refused"  # the broker refused the login, and is not asked again for a while
    ENDED = "ended"  # make a new one


class ChannelPhase(enum.Enum):
    """The life of a channel, in order."""

    QUEUED = "queued"  # the connection has no room for another channel yet
    OPENING = "opening"
    FRESH = "fresh"  # open, nothing confirmed on it: one message at a time
    PIPELINED = "pipelined"
    GONE = "gone"


class PublishState(enum.Enum):
    """A publish only ever moves down this list, but for a message that the broker discarded."""

    WAITING = "waiting"  # not one byte of it was given to the transport
    HANDED_OVER = "handed over"  # only the broker's word settles it now
    SETTLED = "settled"  # answered: it is never sent from here on
