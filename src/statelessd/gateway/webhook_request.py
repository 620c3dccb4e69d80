"""One request to a webhook endpoint, from its head to its response."""

import asyncio
import logging
import time
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from ..broker.pending import Publish
from ..http1.budget import TOO_MANY_BODIES, Holding
from ..http1.reader import UNTOLD, Request
from ..http1.response import Response
from ..http1.states import RESPONDING
from ..message import FAULT, TABLE, Message, Outcome, Public, RequestError
from ..webhooks.delivery import Delivery, Draft, Reply
from . import cloud_events
from . import response as answers
from .admission import too_large
from .defaults import stamps_of
from .gateway import Gateway
from .publishing import MORE_CAME, MOST_PIECES, Asker, Body
from .request import from_event, options
from .slices import at_once
from .target import Target
from .webhook import HANDSHAKE, WebhookEndpoint

if TYPE_CHECKING:  # it needs OpenTelemetry
    from .tracing import PublishSpan

logger = logging.getLogger(__name__)

AT_ONCE = 32 * 1024  # bytes of a body that is verified without a pause
TOO_MANY = Public("Too many requests to this webhook endpoint are in progress.")
# What the broker says of an endpoint's account or target. The sender did nothing wrong, and
# cannot correct it. It has to send the request again later.
OPERATORS = frozenset(
    {
        Outcome.UNAUTHORIZED, Outcome.TOO_MANY_FAILURES, Outcome.FORBIDDEN,
        Outcome.VIRTUAL_HOST_NOT_FOUND, Outcome.EXCHANGE_NOT_FOUND,
    }
)  # fmt: skip
NOT_YOURS = Public("This endpoint cannot publish now. The gateway's operator has to correct that.")


class WebhookRequest:
    """The ``RequestHandler`` of one request. ``request`` is None if it could not be read."""

    def __init__(
        self,
        client: Asker,
        endpoint: WebhookEndpoint,
        response: Response,
        request: Request | None,
        headers: dict[bytes, bytes],
    ) -> None:
        self._gateway: Gateway = client.gateway
        self._endpoint = endpoint
        self._response = response
        self._request = request
        self._headers = headers
        self._started_at = perf_counter_ns()
        self._request_id = client.gateway.request_id(headers)
        self._has_place = False  # one of ``max_in_flight``
        self._body = Body()
        self._holding = Holding(client.gateway.budget)  # the body, until its sender is verified
        self._verifying: asyncio.Task[None] | None = None
        self._publish: Publish | None = None
        self._message_id: str | None = None
        self._success: Reply | None = None
        self._span: PublishSpan | None = None

    @property
    def _method(self) -> str:
        return "POST" if self._request is None else self._request.method

    # What the connection calls

    def begin(self, request: Request) -> None:
        """Admit the request, or refuse it before its body is read. Answer what has no body."""
        endpoint, response = self._endpoint, self._response
        self._gateway.statistics.began(request.method)
        try:
            if request.method != "POST":
                delivery = self._delivery(b"")
                made = at_once(endpoint.protocol.receive(delivery, endpoint.secrets))
                self._take(made, delivery, self._gateway.loop.time())
                return
            self._gateway.admission.admit_webhook(
                self._headers, endpoint.settings.max_body_bytes, is_signed=endpoint.is_signed
            )
        except Exception as error:
            self._failed(error)
            return
        if endpoint.in_flight >= endpoint.settings.max_in_flight:
            self._refuse(Outcome.OVERLOADED, TOO_MANY)
            return
        endpoint.in_flight += 1
        self._has_place = True
        if request.expects_continue:
            response.send_continue()

    def on_body(self, piece: bytes) -> None:
        """Take the next piece. Refuse a body that is too large, or comes where none may."""
        request, body = self._request, self._body
        if self._response.complete:
            return
        if request is None or request.length == UNTOLD:
            if self._publish is None or not self._publish.handed_over:
                self._withdraw()
                self._refuse(Outcome.LENGTH_REQUIRED, MORE_CAME)
            return
        body.size += len(piece)
        body.pieces.append(piece)
        if len(body.pieces) > MOST_PIECES:
            body.join()
        limit = self._endpoint.settings.max_body_bytes
        if body.size > limit:  # in chunks: it was not announced
            self._failed(too_large(limit))
        elif (body.size > AT_ONCE or body.size != request.length) and not self._holding.hold(
            body.size
        ):
            self._refuse(Outcome.OVERLOADED, TOO_MANY_BODIES)

    def on_end(self) -> None:
        """Verify the request, and publish its message."""
        endpoint, gateway = self._endpoint, self._gateway
        deadline = gateway.loop.time() + endpoint.settings.timeout
        pieces, self._body = self._body.pieces, Body()
        delivery = self._delivery(bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces))
        del pieces
        if len(delivery.body) > AT_ONCE:
            self._verifying = gateway.slices.start(self._verify(delivery, deadline))
            return
        try:
            made = at_once(endpoint.protocol.receive(delivery, endpoint.secrets))
            self._holding.hold(0)
            self._take(made, delivery, deadline)
        except Exception as error:
            self._failed(error)

    def on_refused(self, error: RequestError) -> bool:
        self._failed(error)
        return True

    def on_drain(self) -> None:
        """Do nothing, because a publish has a deadline of its own."""

    def on_lost(self) -> None:
        """Withdraw the message if it was not handed over."""
        self._withdraw()
        self._leave()
        if self._span is not None:
            self._span.end(None, self._request_id)

    # The way to the broker and back

    def _delivery(self, body: bytes) -> Delivery:
        request = self._request
        if request is None:
            raise AssertionError("a request that could not be read is refused")
        target = request.path + b"?" + request.query if request.query else request.path
        return Delivery(request.method, target, request.headers, body, time.time())

    async def _verify(self, delivery: Delivery, deadline: float) -> None:
        """Verify a large body while the event loop serves others, and publish it."""
        endpoint = self._endpoint
        try:
            steps = endpoint.protocol.receive(delivery, endpoint.secrets)
            made = await self._gateway.slices.run(steps)
            self._holding.hold(0)
            self._take(made, delivery, deadline)
        except Exception as error:
            self._failed(error)

    def _take(self, made: Draft | Reply, delivery: Delivery, deadline: float) -> None:
        """Give the message to the publisher, or answer a handshake."""
        endpoint, gateway = self._endpoint, self._gateway
        if isinstance(made, Reply):
            self._reply(made, HANDSHAKE)
            return
        message = self._message(made, delivery)
        self._success = endpoint.protocol.answer_to_success(delivery)
        self._publish = gateway.publisher.publish(
            endpoint.virtual_host, endpoint.credentials, message, deadline, self._settled, self
        )

    def _message(self, draft: Draft, delivery: Delivery) -> Message:
        """Return the message of a verified request: its body, bit for bit."""
        headers, defaults = self._headers, self._gateway.defaults
        given = {
            "content_type": draft.content_type,
            "content_encoding": draft.content_encoding,
            "message_id": draft.message_id,
            "headers": draft.headers,
            "timestamp": str(draft.timestamp),
            "mandatory": str(self._endpoint.settings.mandatory),
        }
        fields: dict[str, Any] = {name: value for name, value in given.items() if value}
        if cloud_events.is_event(headers, headers.get(b"content-type", b"")):
            event = from_event(headers, defaults)
            fields = {**event, **fields, "headers": {**event["headers"], **draft.headers}}
        if (tracer := self._gateway.tracer) is not None:
            endpoint = self._endpoint
            target = Target(endpoint.virtual_host, endpoint.exchange, draft.routing_key)
            self._span = tracer.begin(headers, target, self._started_at)
            self._span.sized(len(delivery.body))
        made = options(fields, defaults, stamps_of(headers, defaults, self._span))
        self._message_id = fields.get("message_id")
        return made.message(self._endpoint.exchange, draft.routing_key, delivery.body)

    def address(self) -> str:
        """Return who is asking, for first logins: the endpoint, for all its senders."""
        return f"webhook {self._endpoint.name}"

    def _settled(self, outcome: Outcome, detail: str) -> None:
        """Answer with what the broker made of the message."""
        if outcome is Outcome.CONFIRMED and self._success is not None:
            self._end_span(outcome)
            self._reply(self._success, outcome.value)
        elif outcome in OPERATORS:
            reason = f"{outcome.value}: {detail}"
            self._refuse(Outcome.BROKER_UNAVAILABLE, NOT_YOURS, reason)
        else:
            self._refuse(outcome, detail)

    # The answer

    def _failed(self, error: Exception) -> None:
        """Answer a request that is refused here, or that a fault of ours has ended."""
        if isinstance(error, RequestError):
            self._refuse(error.outcome, error.detail)
            return
        logger.error("the webhook %s failed", self._request_id.decode(), exc_info=error)
        self._refuse(Outcome.INTERNAL_ERROR, FAULT)

    def _refuse(self, outcome: Outcome, detail: str, reason: str = "") -> None:
        """Answer with a problem. The log has ``reason`` instead of the detail, if there is one."""
        if self._response.complete:
            return
        gateway, endpoint = self._gateway, self._endpoint
        handed_over = self._publish is not None and self._publish.handed_over
        keep_alive = self._keeps_alive() and outcome is not Outcome.SHUTTING_DOWN
        data = answers.render(
            outcome,
            detail,
            keep_alive=keep_alive,
            date=gateway.date,
            request_id=self._request_id,
            allow=", ".join(endpoint.protocol.methods),
            handed_over=handed_over,
            head=self._method == "HEAD",
            retry_after=gateway.retry_after.get(outcome),
        )
        gateway.failed(
            outcome,
            detail,
            handed_over=handed_over,
            request_id=self._request_id,
            reason=reason,
            **endpoint.about(),
        )
        self._end_span(outcome)
        self._end(data, TABLE[outcome].status, outcome.value, outcome.value, keep_alive)

    def _reply(self, reply: Reply, outcome: str) -> None:
        """Answer with what the endpoint says."""
        if self._response.complete:
            return
        fields, message_id = list(reply.fields), self._message_id
        # A template may have found anything. Only what cannot end a header field goes into one.
        if message_id is not None and message_id.isascii() and message_id.isprintable():
            fields.append((b"amqp-message-id", message_id.encode()))
        keep_alive = self._keeps_alive()
        data = answers.reply(
            reply.status,
            fields,
            reply.body,
            keep_alive=keep_alive,
            date=self._gateway.date,
            request_id=self._request_id,
            head=self._method == "HEAD",
        )
        self._end(data, reply.status, "", outcome, keep_alive)

    def _keeps_alive(self) -> bool:
        response = self._response
        connection = response.connection
        if connection.state is not RESPONDING and not connection.is_in_step():
            response.keep_alive = False
        return response.keeps_alive()

    def _end(self, data: bytes, status: int, problem: str, outcome: str, keep_alive: bool) -> None:
        """Count, log and write the response."""
        gateway, endpoint = self._gateway, self._endpoint
        self._leave()
        elapsed = perf_counter_ns() - self._started_at
        endpoint.outcomes[outcome] += 1
        gateway.statistics.answered(self._method, status, problem, elapsed, len(data))
        if gateway.access is not None and gateway.access.due():
            about, seconds = endpoint.about(), elapsed / 1e9
            gateway.access.log(
                self._request_id, self._method, "", status, outcome, seconds, **about
            )
        self._response.end(data, keep_alive)

    def _end_span(self, outcome: Outcome) -> None:
        if self._span is not None:
            host = None if self._publish is None else self._publish.host
            self._span.end(outcome, self._request_id, server=host)

    def _withdraw(self) -> None:
        """Let the message go unless it was handed over."""
        if self._verifying is not None:
            self._verifying.cancel()
        if self._publish is not None:
            self._gateway.publisher.cancel(self._publish)

    def _leave(self) -> None:
        """Hold nothing of the body, and free the place."""
        self._body = Body()
        self._holding.hold(0)
        if self._has_place:
            self._has_place = False
            self._endpoint.in_flight -= 1
