"""How many messages a session holds at the moment."""


class Load:
    """The messages that wait in a session, or that the broker still has to settle.

    Nothing but ``take`` and ``give_back`` changes the number.
    """

    __slots__ = ("messages",)

    def __init__(self) -> None:
        self.messages = 0

    def take(self) -> None:
        """Count one more message."""
        self.messages += 1

    def give_back(self, count: int) -> None:
        """Count ``count`` messages less: they are settled, lost, withdrawn or another's."""
        self.messages -= count
