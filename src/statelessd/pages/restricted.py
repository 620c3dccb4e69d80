"""Pages that HTTPServer.pages restricts to some networks, or to a listener of their own."""

import msgspec
from starlette.types import Receive, Scope, Send

from ..gateway.gateway import Gateway
from ..gateway.router import ASGIApp
from ..message import Outcome, RequestError
from .page import not_found, problem_response


class Restricted(msgspec.Struct, frozen=True):
    """A page that only those clients see whom the settings allow, with any method.

    A page of another site does not see it by DNS rebinding either, if the browser sends Origin.
    """

    page: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway: Gateway = scope["state"]["gateway"]
        try:
            gateway.admission.check_host(dict(scope["headers"]))
        except RequestError as error:
            await problem_response(scope, error.outcome, error.detail)(scope, receive, send)
            return
        if gateway.http_server.pages.listener not in (None, gateway.port):
            await not_found(scope, receive, send)
        elif not gateway.may_see_pages(scope["client"], scope["headers"]):
            detail = "Your address may not see this page: see HTTPServer.pages.networks."
            await problem_response(scope, Outcome.FORBIDDEN, detail)(scope, receive, send)
        else:
            await self.page(scope, receive, send)
