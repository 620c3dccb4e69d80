"""``GET /openapi.json`` for machines, and ``GET /docs`` for people, from the same description."""

import functools

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..gateway.items import JSON
from ..message import TABLE, Outcome, problem
from .openapi_document import document, webhooks
from .page import Page, root_of

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"


@functools.cache
def _encoded(more: bytes) -> bytes:
    whole = document() | msgspec.json.decode(more)
    return msgspec.json.format(msgspec.json.encode(whole), indent=1)


class OpenAPI(Page):
    """Serves the description as JSON."""

    async def get(self, request: Request) -> Response:
        endpoints = webhooks(request.state.gateway.router.webhooks)
        more = msgspec.json.encode({"webhooks": endpoints} if endpoints else {})
        return Response(_encoded(more), media_type=JSON, headers={"cache-control": "no-cache"})


class Docs(Page):
    """Renders ``docs.html``; each problem's type leads to a section of it."""

    async def get(self, request: Request) -> Response:
        page = request.state.templates.get_template("docs.html").render(
            root=root_of(request),
            api=document(),
            webhooks=webhooks(request.state.gateway.router.webhooks),
            problems=[
                (outcome.value, row, problem(outcome, ""))
                for outcome, row in TABLE.items()
                if outcome is not Outcome.CONFIRMED
            ],
        )
        headers = {"cache-control": "no-cache", "content-security-policy": POLICY}
        return HTMLResponse(page, headers=headers)
