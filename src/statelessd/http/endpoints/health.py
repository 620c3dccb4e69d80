"""``GET /healthz``: this process lives; ``GET /readyz``: it takes publishes."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .page import Page, gateway_of


def _answer(status: int, document: dict[str, Any]) -> Response:
    headers = {"cache-control": "no-store"}
    if status == 503:
        headers["retry-after"] = "1"
    body = msgspec.json.encode(document)
    return Response(body, status, headers=headers, media_type="application/json")


class Health(Page):
    """That this answers is the answer."""

    async def get(self, request: Request) -> Response:
        return _answer(200, {"status": "alive"})


class Readiness(Page):
    """503 while draining. The broker's state is told and changes nothing.

    A balancer that takes us away for the broker's sake hides the answers that say so.
    """

    async def get(self, request: Request) -> Response:
        gateway = gateway_of(request)
        status = "draining" if gateway.draining else "ready"
        document = {"status": status, "broker": gateway.publisher.broker_state()}
        return _answer(503 if gateway.draining else 200, document)
