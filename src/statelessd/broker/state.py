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
