"""One publish request, from its head to its response."""

import asyncio
import logging
from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, Protocol

from ..broker.pending import Publish
from ..http1.budget import TOO_MANY_BODIES, Holding
from ..http1.handler import RequestHandler
from ..http1.reader import UNTOLD, Request
from ..http1.response import Response
from ..http1.states import RESPONDING
from ..message import FAULT, TABLE, Message, Outcome, Public, RequestError
from . import response as answers
from .access import AccessLog
from .admission import too_large
from .client_address import Client
from .gateway import Gateway
from .known_heads import NOWHERE, Head
from .request import Steps

if TYPE_CHECKING:
    from .tracing import PublishSpan

logger = logging.getLogger(__name__)

clock: Final = perf_counter_ns  # nanoseconds

MOST_PIECES: Final = 64  # of a body, until they become one
CONFIRMED: Final = Outcome.CONFIRMED
SHUTTING_DOWN: Final = Outcome.SHUTTING_DOWN
MORE_CAME = Public("Bytes follow the request's head, which has no Content-Length.")


class Body:
    """The body of a request that comes in several pieces."""

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.size = 0
        self.pieces: list[bytes | bytearray] = []

    def join(self) -> None:
        """Join small pieces, so that memory does not hold an object for each."""
        pieces = self.pieces
        whole = pieces[0] if isinstance(pieces[0], bytearray) else bytearray(pieces[0])
        whole += b"".join(pieces[1:])
        self.pieces = [whole]


class Asker(Protocol):
    """The handler of the connection that a request came on, as the request sees it."""

    __slots__ = ()

    gateway: Gateway
    url: bytes  # of a request that could not be read

    def peer(self) -> Client:
        """Return the address and port of the other end, if it has any."""

    def remember(self, publish: "PublishRequest", request: Request, size: int) -> None:
        """Remember this head."""


class PublishRequest(RequestHandler):
    """The ``RequestHandler`` of a publish. ``request`` is None if the head is a known one."""

    __slots__ = (
        "_body", "_client", "_gateway", "_holding", "_publish", "_reading", "_span",
        "_started_at", "_whole", "extra", "head", "request", "request_id", "response",
    )  # fmt: skip

    response: Response

    def __init__(self, client: Asker, head: Head, request_id: bytes = b"") -> None:
        self._client = client
        self._gateway = client.gateway
        self._started_at = clock()
        self._publish: Publish | None = None
        self.head = head
        self.extra: Sequence[tuple[bytes, bytes]] = head.extra
        self.request_id = request_id
        self.request: Request | None = None
        self._body: Body | None = None
        self._whole = b""
        self._holding: Holding | None = None  # of a body that takes its time
        self._reading: asyncio.Task[None] | None = None  # decodes a large body
        self._span: PublishSpan | None = None

    # What the connection calls

    def on_body(self, piece: bytes) -> None:
        """Take the next piece. Refuse a body that is too large, or comes where none may."""
        request, body = self.request, self._body
        if request is None or request.length == UNTOLD:
            publish = self._publish
            if publish is not None and publish.handed_over:
                return  # it is too late to refuse the message
            if publish is not None:
                self._gateway.publisher.cancel(publish)
            self.answer(Outcome.LENGTH_REQUIRED, MORE_CAME)
            return
        if body is None:
            if len(piece) == request.length:
                self._whole = piece  # which is counted when it is published
                return
            body = self._body = Body()
        body.size += len(piece)
        body.pieces.append(piece)
        if len(body.pieces) > MOST_PIECES:
            body.join()
        gateway = self._gateway
        limit = gateway.max_body_bytes
        if body.size > limit:  # in chunks: it was not announced
            self.on_refused(too_large(limit))
        elif body.size != request.length:
            self._hold(body.size)

    def on_end(self) -> None:
        """Publish the message."""
        request, body, whole = self.request, self._body, self._whole
        if body is not None:
            whole = b"".join(body.pieces)
            self._drop_body()
        elif request is not None:
            self._client.remember(self, request, len(whole))
        self._whole = b""
        self.submit(whole)

    def on_refused(self, error: RequestError) -> bool:
        self._failed(error)
        return True

    def on_drain(self) -> None:
        """Do nothing, because a publish has a deadline of its own."""

    def on_lost(self) -> None:
        """Withdraw the message if it was not handed over."""
        self._drop_body()
        if self._reading is not None:
            self._reading.cancel()
        if self._publish is not None:
            self._gateway.publisher.cancel(self._publish)
        if self._span is not None:
            self._span.end(None, self.request_id)

    # The way to the broker and back

    def submit(self, body: bytes) -> None:
        """Publish the message that the head and the body make, or answer why not."""
        head, gateway = self.head, self._gateway
        deadline = gateway.loop.time() + head.wait
        try:
            if gateway.tracer is not None:
                self._span = gateway.tracer.begin(head.headers, head.target, self._started_at)
            made = head.reader.read(body, self._span)
            if not isinstance(made, Message):
                if self._hold(len(body)):
                    self._reading = gateway.slices.start(self._read(made, deadline))
            elif made.message_id is None and self._span is None:
                # As _give does. Most messages come here, and the call would cost them 1 %.
                self._publish = gateway.publisher.publish(
                    head.target.virtual_host, head.credentials, made, deadline, self.answer, self
                )
            else:
                self._give(made, deadline)
        except Exception as error:
            self._failed(error)

    async def _read(self, steps: Steps, deadline: float) -> None:
        """Decode a large body while the event loop serves others, and publish the message."""
        try:
            message = await self._gateway.slices.run(self._held(steps))
            self._drop_body()
            self._give(message, deadline)
        except Exception as error:
            self._failed(error)

    def _held(self, steps: Steps) -> Steps:
        """Do the steps, and hold the bytes that they need. Raise RequestError without room."""
        while True:
            try:
                size = next(steps)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if size is not None and not self._hold(size):
                raise RequestError(Outcome.OVERLOADED, TOO_MANY_BODIES)
            yield size

    def _give(self, message: Message, deadline: float) -> None:
        """Give the message to the publisher, which calls ``answer`` once."""
        head = self.head
        if message.message_id is not None:
            self.extra = [*self.extra, (b"amqp-message-id", message.message_id.encode())]
        if self._span is not None:
            self._span.sized(len(message.body))
        self._publish = self._gateway.publisher.publish(
            head.target.virtual_host, head.credentials, message, deadline, self.answer, self
        )

    def _failed(self, error: Exception) -> None:
        """Answer a request that is refused here, or that a fault of ours has ended."""
        if isinstance(error, RequestError):
            self.answer(error.outcome, error.detail)
            return
        self.request_id = self.request_id or self._gateway.request_id(self.head.headers)
        logger.error("the publish %s failed", self.request_id.decode(), exc_info=error)
        self.answer(Outcome.INTERNAL_ERROR, FAULT)

    def address(self) -> str:
        """Return where the client is. The publisher asks before a first login."""
        request, client = self.request, self._client
        fields = tuple(self.head.headers.items()) if request is None else request.fields
        return self._gateway.origin(client.peer(), fields)

    def answer(self, outcome: Outcome, detail: str) -> None:
        """Write the response unless it was written. The publisher reports its outcome here."""
        response = self.response
        if response.complete:
            return
        gateway = self._gateway
        if self._holding is not None:
            self._drop_body()
        connection = response.connection
        if connection.state is not RESPONDING and not connection.is_in_step():
            response.keep_alive = False
        keep_alive = response.keep_alive
        if gateway.draining or outcome is SHUTTING_DOWN:
            keep_alive = response.keeps_alive() and outcome is not SHUTTING_DOWN
        elapsed = clock() - self._started_at
        request_id = self.request_id or gateway.request_id(self.head.headers)
        if outcome is CONFIRMED and not self.extra:
            start = gateway.confirmed if keep_alive else gateway.confirmed_last
            data = start + request_id + b"\r\n\r\n"
            gateway.statistics.answered_confirmed(elapsed, len(data))
        else:
            data = self._render(outcome, detail, request_id, keep_alive, elapsed)
        if gateway.is_watched:
            self._watch(outcome, request_id, elapsed)
        response.end(data, keep_alive)

    def _render(
        self, outcome: Outcome, detail: str, request_id: bytes, keep_alive: bool, elapsed: int
    ) -> bytes:
        """Return a response other than a plain 204, and count it."""
        gateway = self._gateway
        handed_over = self._publish is not None and self._publish.handed_over
        status, kind = TABLE[outcome].status, outcome.value
        if self._method == "OPTIONS":
            status, kind = 204, ""
            data = answers.options(
                self.extra, keep_alive=keep_alive, date=gateway.date, request_id=request_id
            )
        else:
            data = answers.render(
                outcome,
                detail,
                keep_alive=keep_alive,
                date=gateway.date,
                request_id=request_id,
                handed_over=handed_over,
                head=self._method == "HEAD",
                retry_after=gateway.retry_after.get(outcome),
                extra=self.extra,
            )
            if outcome is CONFIRMED:
                kind = ""
            else:
                about = self.head.target.about(self.head.credentials)
                gateway.failed(
                    outcome, detail, handed_over=handed_over, request_id=request_id, **about
                )
        gateway.statistics.answered(self._method, status, kind, elapsed, len(data))
        return data

    @property
    def _method(self) -> str:
        return "POST" if self.request is None else self.request.method

    def _watch(self, outcome: Outcome, request_id: bytes, elapsed: int) -> None:
        """Let the access log and the span know of the answer, after so many nanoseconds."""
        access = self._gateway.access
        if access is not None and access.due():
            self._log(access, outcome, request_id, elapsed / 1e9)
        if self._span is not None:
            host = None if self._publish is None else self._publish.host
            self._span.end(outcome, request_id, server=host)

    def _log(self, access: AccessLog, outcome: Outcome, request_id: bytes, seconds: float) -> None:
        target = self.head.target
        path = self.request.url if self.request is not None else self._client.url
        is_options = self._method == "OPTIONS"
        access.log(
            request_id,
            self._method,
            "" if target is not NOWHERE else path.decode("latin-1").partition("?")[0],
            204 if is_options else TABLE[outcome].status,
            "options" if is_options else outcome.value,
            seconds,
            **target.about(self.head.credentials),
        )

    def _drop_body(self) -> None:
        """Drop the body, and hold no bytes for it any more."""
        self._body = None
        if self._holding is not None:
            self._holding.hold(0)

    def _hold(self, size: int) -> bool:
        """Hold so many bytes of a body. Answer and return False if there is no room for them."""
        if self._holding is None:
            head, gateway = self.head, self._gateway
            account = gateway.account(head.target.virtual_host, head.credentials)
            self._holding = Holding(account)
        has_room = self._holding.hold(size)
        if not has_room:
            self.answer(Outcome.OVERLOADED, TOO_MANY_BODIES)
        return has_room
