"""Why connections to the broker end."""

import enum


class CloseReason(enum.Enum):
    """``label`` is the metric's, ``meaning`` the text of docs/reference/metrics.md about it.

    ``words`` are for the log, if it is the gateway that closes the connection.
    """

    IDLE = "idle", "it was not used for `Application.rabbitmq.idle_timeout`", "idle"
    REPLACED = (
        "replaced",
        "a new connection of the same login replaced it, after "
        "`Application.rabbitmq.reverify_after`",
        "replaced by a newer login",
    )
    EXPIRED = "expired", "its token had expired", "its token has expired"
    LIMIT = (
        "limit",
        "it was the least recently used one at the limit, and another login needed a place",
        "least recently used at the limit of connections",
    )
    FULL = (
        "full",
        "it was new, the limit was reached, and all other connections were busy",
        "all other connections are busy",
    )
    UNNEEDED = (
        "unneeded",
        "it was a login's second connection, which was not needed any more",
        "not needed any more",
    )
    SHUTDOWN = "shutdown", "this backend stopped", "shutting down"
    BROKER = "broker", "the broker closed it"
    STALLED = (
        "stalled",
        "messages were unconfirmed, and the broker did not answer for "
        "`Application.rabbitmq.stalled_timeout`, or did not open a channel in time",
    )
    MOVED = "moved", "its node confirmed nothing, and the login moved to another node"
    SILENT = "silent", "the broker sent nothing, not even heartbeats"
    NETWORK = "network", "it was lost, or failed in another way"

    def __init__(self, label: str, meaning: str, words: str = "") -> None:
        self.label = label
        self.meaning = meaning
        self.words = words
