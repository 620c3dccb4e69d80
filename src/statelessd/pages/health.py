"""``GET /healthz``: this process lives; ``GET /readyz``: it takes publishes."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .page import Page, monitoring_of


def _answer(status: int, document: dict[str, Any]) -> Response:
    headers = {"cache-control": "no-store"}
    if status == 503:
        headers["retry-after"] = "1"
    body = msgspec.json.encode(document)
    return Response(body, status, headers=headers, media_type="application/json")


class Health(Page):
    """The answer is that this process answers."""

    async def get(self, request: Request) -> Response:
        return _answer(200, {"status": "alive"})


class Readiness(Page):
    """503 while draining. The broker's state is shown; it counts only if a setting says so.

    A balancer that removes us because of the broker hides the answers that name the cause.
    """

    async def get(self, request: Request) -> Response:
        gateway = monitoring_of(request).gateway
        if gateway.draining:
            status, broker = "draining", gateway.publisher.broker_state()
        else:
            broker = await gateway.publisher.ask_broker()
            in_the_way = not broker.state.takes_publishes and gateway.http_server.ready_needs_broker
            status = "not-ready" if in_the_way else "ready"
        document = {"status": status, "broker": broker}
        return _answer(200 if status == "ready" else 503, document)
