"""``POST /<virtual-host>/<exchange>``: the page that hands batches to the gateway."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from ..gateway.batch_request import BatchRequest
from ..message import RequestError
from ..parsing.decoding import ACCEPTED
from .page import Page, problem_response


class BatchPage(Page):
    """Hands POST requests to the gateway, and refuses other methods."""

    allowed = "OPTIONS, POST"
    takes_messages = True  # the router gives it the target of the path
    refusal = "Use POST to publish a batch."

    async def options(self, request: Request) -> Response:
        answer = await super().options(request)
        answer.headers["accept-encoding"] = ACCEPTED
        return answer

    async def dispatch(self) -> None:
        if self.scope["method"] != "POST":
            await super().dispatch()
            return
        request = BatchRequest(self.scope, self.receive, self.send)
        try:
            await request.answer()
        except RequestError as error:
            request.refused = error.outcome
            answer = problem_response(self.scope, error.outcome, error.detail)
            await answer(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            request.cancel()
            raise
        finally:
            request.report()
