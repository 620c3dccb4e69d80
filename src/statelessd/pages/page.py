"""The base of all pages, their problem documents, and what they find in a request."""

import msgspec
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..gateway import response
from ..gateway.gateway import Gateway
from ..message import Outcome, Public, problem
from .monitoring import Monitoring

ABOUT = ("virtual_host", "exchange", "user")


def problem_response(scope: Scope, outcome: Outcome, detail: str, *, allow: str = "") -> Response:
    """Return the problem document of an outcome as an ASGI response."""
    state = scope["state"]
    document = problem(outcome, detail, request_id=state["request_id"])
    state["problem"] = outcome.value
    gateway: Gateway = state["gateway"]
    about = {name: value for name, value in state.get("logged", {}).items() if name in ABOUT}
    gateway.failed(outcome, detail, request_id=state["request_id"], **about)
    answer = Response(msgspec.json.encode(document), status_code=document.status)
    for name, value in response.headers(outcome, allow=allow):
        answer.headers[name.decode()] = value.decode()
    return answer


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for a path that no page has."""
    answer = problem_response(scope, Outcome.NOT_FOUND, Public("There is nothing at this path."))
    await answer(scope, receive, send)


READING = "GET, HEAD, OPTIONS"


class Page(HTTPEndpoint):
    """A page for GET, HEAD and OPTIONS; other methods get a problem document."""

    allowed = READING
    refusal = "This page supports GET and HEAD only."

    async def options(self, request: Request) -> Response:
        return Response(status_code=204, headers={"allow": self.allowed})

    async def method_not_allowed(self, request: Request) -> Response:
        return problem_response(
            request.scope, Outcome.METHOD_NOT_ALLOWED, Public(self.refusal), allow=self.allowed
        )


def root_of(request: Request) -> str:
    """Return the relative path from this page to ``/``, which a proxy may serve below a path."""
    raw_path: bytes = request.scope["raw_path"]
    return "../" * (raw_path.count(b"/") - 1)


def monitoring_of(request: Request) -> Monitoring:
    """Return the figures of the backend that serves this page."""
    monitoring: Monitoring = request.state.monitoring
    return monitoring
