"""What has been counted for one (virtual host, user): plain integers on the hot path."""


class SessionStatistics:
    """Counts since the start; two passwords of one user add up."""

    __slots__ = (
        "channels_closed",
        "channels_opened",
        "connections_closed",
        "connections_opened",
        "publishes",
    )

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_closed = 0
        self.channels_opened = 0
        self.channels_closed = 0
        self.publishes = 0  # messages that the broker confirmed
