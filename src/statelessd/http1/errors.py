"""The one error of this package."""

from ..message import Outcome


class Unreadable(Exception):
    """Bytes that cannot be read as a request, or not any further; ``detail`` is for the client."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


def malformed(detail: str) -> Unreadable:
    """Return the error of a request that is not as HTTP/1.1 has it."""
    return Unreadable(Outcome.BAD_REQUEST, detail)
