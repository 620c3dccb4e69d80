"""Why connections to the broker end."""

import enum


class CloseReason(enum.Enum):
    """``label`` is the metric's, ``meaning`` the text of docs/reference/metrics.md about it.

    ``words`` are for the log, if it is the gateway that closes the connection.
    """

    IDLE = "idle", "nobody used it for `Application.rabbitmq.idle_timeout`", "idle"
    REPLACED = (
        "replaced",
        "a new login took its place, after `Application.rabbitmq.reverify_after`",
        "replaced by a newer login",
    )
    EXPIRED = "expired", "its token's time was over", "its token has expired"
    LIMIT = (
        "limit",
        "it was the least recently used one, and another user needed a place",
        "the least recently used, at the limit",
    )
    FULL = (
        "full",
        "it was a new login, and all other connections were busy",
        "all other connections are busy",
    )
    UNNEEDED = (
        "unneeded",
        "it was a login's second connection, and the reason for a second one has passed",
        "not needed any more",
    )
    SHUTDOWN = "shutdown", "this backend stopped", "shutting down"
    BROKER = "broker", "the broker closed it"
    STALLED = (
        "stalled",
        "messages were unconfirmed, and the broker did not answer for "
        "`Application.rabbitmq.stalled_timeout`; or it did not open a channel in time",
    )
    MOVED = "moved", "its node confirmed nothing, and the login moved to another node"
    SILENT = "silent", "nothing was heard of the broker, not even heartbeats"
    NETWORK = "network", "it was lost, or broken in another way"

    def __init__(self, label: str, meaning: str, words: str = "") -> None:
        self.label = label
        self.meaning = meaning
        self.words = words
