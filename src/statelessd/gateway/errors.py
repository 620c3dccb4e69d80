"""The one error of this layer."""

from ..message import Outcome


class RequestError(Exception):
    """A refusal that is known before the broker is asked; ``detail`` is for the client."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


def bad_request(detail: str) -> RequestError:
    """A 400: something in the request is not as it must be."""
    return RequestError(Outcome.BAD_REQUEST, detail)
