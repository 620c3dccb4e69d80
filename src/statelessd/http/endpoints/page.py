"""What all pages have in common."""

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from ...message import Outcome
from .. import response
from ..gateway import Gateway


def problem_response(outcome: Outcome, detail: str, *, allow: str = "") -> Response:
    """The problem document of an outcome, as an ASGI response."""
    answer = Response(response.problem(outcome, detail), status_code=response.TABLE[outcome].status)
    for name, value in response.headers(outcome, allow=allow):
        answer.headers[name.decode()] = value.decode()
    return answer


class Page(HTTPEndpoint):
    """GET and HEAD, and a problem document for the rest."""

    async def method_not_allowed(self, request: Request) -> Response:
        return problem_response(
            Outcome.METHOD_NOT_ALLOWED, "This page can only be read.", allow="GET, HEAD"
        )


def gateway_of(request: Request) -> Gateway:
    """The backend that this page is served by."""
    gateway: Gateway = request.state.gateway
    return gateway
