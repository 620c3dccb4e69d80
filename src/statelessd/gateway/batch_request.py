"""``POST /<virtual-host>/<exchange>``: many messages in one request.

``application/json`` is read whole and answered with the result of each item, and so are
batches of CloudEvents.
``application/x-ndjson`` is published while it arrives, in bounded memory. It is answered
with a summary, or with a stream of results.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..http1.budget import TOO_MANY_BODIES, Account, Holding
from ..message import FAULT, Message, Mistake, Outcome, Public, RequestError, bad_request, problem
from ..parsing import json_steps
from ..parsing.decoding import Decoder, Plain, coding_of, decoder_of
from ..parsing.decoding import too_large as too_large_decoded
from ..parsing.nesting import deeper
from . import cloud_events
from .admission import too_large
from .batch import WINDOW_BYTES, Batch, BatchItem, Lines, ReorderBuffer, Result
from .defaults import Stamps, stamps_of
from .event_items import Events, LargeEvent
from .gateway import Gateway
from .items import JSON, NDJSON, id_of, read_item
from .known_heads import NOBODY, NOWHERE
from .large_items import LARGE, MAX_DEPTH, TOO_DEEP, LargeItem, array_items
from .request import content_type_of
from .router import Match
from .slices import SLICE, at_once

if TYPE_CHECKING:
    from .tracing import PublishSpan

logger = logging.getLogger(__name__)

MAX_FAILURES = 1000  # the most that a summary lists
# An item of the largest message, as base64 or with JSON's escapes, and the rest of it.
LINE_FACTOR, LINE_EXTRA = 2, 64 * 1024
SMALL = 4 * 1024  # bytes of an item that is read at once
# The text of what a batch holds: JSON's longest escape has six bytes for one.
MOST_HELD = 6 * WINDOW_BYTES
REFUSED = 8 * 1024  # what an item that failed counts among the bytes that became no message

_STREAM = re.compile(rb'(?:^|,)\s*results\s*=\s*"?stream"?\s*(?:[;,]|$)')
_STREAM_HEADERS = [
    (b"content-type", NDJSON.encode()),
    (b"preference-applied", b"results=stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep the results to itself
]
NO_BATCH = Public(
    f"The Content-Type of a batch must be {JSON}, {NDJSON} or {cloud_events.BATCH.decode()}."
)
_encode = msgspec.json.Encoder().encode

Text = bytes | LargeItem | LargeEvent | None
"""An item: a line, an element of an array, or a line that is too long."""

Found = tuple[str | int | None, Message]


class BatchRequest:
    """One batch, from its head to its answer, in the terms of ASGI.

    ``scope["state"]`` has the gateway, the request's id and the router's match. The fields
    for the access log are left there as ``logged``.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._state: dict[str, Any] = scope["state"]
        self._gateway: Gateway = self._state["gateway"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._largest = self._gateway.http_server.max_body_bytes  # a message's body, and JSON's
        self._target = NOWHERE
        self._credentials = NOBODY
        self._stamps: Stamps | None = None
        self._batch: Batch | None = None
        self._started_at = perf_counter_ns()
        self._span: PublishSpan | None = None
        self._gone = False  # the client hung up
        self.refused: Outcome | None = None  # the answer that the page gave instead
        self._is_array = False
        self._events: Events | None = None  # if it is a batch of CloudEvents
        account: Account = self._state.get("account", self._gateway.budget)
        self._holding = Holding(account)  # of what was received and is not published yet
        self._decoder: Decoder | Plain = Plain()
        self._allowance: Allowance | None = None  # of a compressed stream

    def cancel(self) -> None:
        """Send nothing more, because the client is gone."""
        if self._batch is not None:
            self._batch.cut(None)

    def address(self) -> str:
        """Return where the client is. The publisher asks before a first login."""
        return self._gateway.origin(self._scope["client"], self._scope["headers"])

    def report(self) -> None:
        """Leave for the access log how many messages were published."""
        batch = self._batch
        if batch is not None:
            is_complete = batch.published == batch.items
            outcome = Outcome.CONFIRMED.value if is_complete else "incomplete"
            self._state["logged"] |= {"outcome": outcome, "counts": batch.summary()}
        if self._span is not None:
            self._end_span(self._span)

    def _end_span(self, span: "PublishSpan") -> None:
        """End the span of the batch, with the outcome of the first item that failed."""
        batch = self._batch
        counts: dict[str, str | int] = {}
        outcome: Outcome | None = self.refused or Outcome.INTERNAL_ERROR
        if batch is not None:
            counts = {
                "messaging.batch.message_count": batch.items,
                "statelessd.batch.failed": batch.failed,
                "statelessd.batch.unknown": batch.unknown,
            }
            if self.refused is None:
                cut_short = None if batch.cut_short is None else batch.cut_short.outcome
                outcome = batch.first_failure or cut_short or Outcome.CONFIRMED
        if self.refused is None and (self._gone or (batch is not None and batch.gone)):
            outcome = None
        span.end(outcome, self._state["request_id"], attributes=counts)

    async def answer(self) -> None:
        """Publish and answer, or raise RequestError if nothing was published."""
        media_type, _ = content_type_of(self._headers)
        is_stream = media_type == NDJSON.encode()
        self._is_array = not is_stream
        match: Match = self._state["match"]
        self._credentials = self._gateway.admission.admit(
            self._headers,
            None if is_stream else self._largest,
            match.refusal,
            lambda: self._scope["client"],
            self._scope["headers"],
        )
        self._target = match.target or NOWHERE  # without a target there is a refusal
        self._state["logged"] = self._target.about(self._credentials)
        self._decoder = decoder_of(coding_of(self._headers))
        if media_type == cloud_events.BATCH:
            self._events = Events(self._scope["query_string"])
        elif not is_stream and media_type != JSON.encode():
            raise bad_request(NO_BATCH)
        tracer = self._gateway.tracer
        if tracer is not None:
            self._span = tracer.begin(self._headers, self._target, self._started_at, is_batch=True)
        self._stamps = stamps_of(self._headers, self._gateway.defaults, self._span, is_raw=False)
        prefer = self._headers.get(b"prefer", b"").lower()
        # Without chunks (HTTP/1.0) the end of a stream cannot be told from a lost connection.
        if is_stream and _STREAM.search(prefer) and self._scope["http_version"] != "1.0":
            await self._answer_with_results()
            return
        try:
            await (self._answer_with_summary() if is_stream else self._answer_array())
        except RequestError:
            raise
        except Exception:  # of ours
            if self._batch is None or not self._batch.may_be_published:
                raise
            logger.exception("the batch %s failed", self._state["request_id"].decode())
            self.cancel()
            raise RequestError(Outcome.UNCONFIRMED, FAULT) from None

    # The three forms of an answer

    async def _answer_array(self) -> None:
        try:
            body = await self._whole_body()
            if self._gone:
                return
            texts = await self._gateway.slices.run(self._items_of(body))
            items: list[BatchItem] = []
            batch = self._begin(items.append)
            await self._publish(batch, texts)
            del body, texts
            self._holding.hold(0)
            await batch.settle()
        finally:
            self._decoder = Plain()  # as in _publish_lines
            self._holding.hold(0)
        results = [item.result() for item in sorted(items, key=attrgetter("index"))]
        status = 200 if batch.published == batch.items else 207
        await self._respond({**batch.summary(), "results": results}, status)

    async def _answer_with_summary(self) -> None:
        failures: list[Result] = []  # the first; the others are counted

        def told(item: BatchItem) -> None:
            if item.outcome is not Outcome.CONFIRMED and len(failures) < MAX_FAILURES:
                failures.append(item.result())

        batch = self._begin(told)
        await self._publish_lines(batch)
        await batch.settle()
        left_out = batch.failed + batch.unknown - len(failures)
        failures.sort(key=attrgetter("index"))
        members = {"failures": failures, "failures_left_out": left_out}
        await self._respond({**batch.summary(), **members, **self._end(batch)})

    async def _answer_with_results(self) -> None:
        known = ReorderBuffer()
        batch = self._begin(known.add, keep=True)
        start = {"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS}
        await self._send(start)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_results(batch, known))
            try:
                await self._publish_lines(batch, answers=True)
                await batch.settle()
            finally:
                known.finish()
        if not batch.gone:
            last = _encode({**batch.summary(), **self._end(batch)}) + b"\n"
            await self._send({"type": "http.response.body", "body": last})

    async def _write_results(self, batch: Batch, known: ReorderBuffer) -> None:
        while items := await known.take():
            lines = b"".join([_encode(item.result()) + b"\n" for item in items])
            # While the client does not read, this waits; and as the items keep their
            # room until then, so does the publishing.
            await self._send({"type": "http.response.body", "body": lines, "more_body": True})
            batch.free(len(items))

    async def _respond(self, document: dict[str, Any], status: int = 200) -> None:
        if not self._gone:
            answer = Response(_encode(document), status, media_type=JSON)
            await answer(self._scope, self._receive, self._send)

    def _end(self, batch: Batch) -> dict[str, Any]:
        """Return the member that reports a body which did not come to its end, if so."""
        error = batch.cut_short
        if error is None:
            return {}
        batch.count_error(error.outcome, error.detail)
        request_id = self._state["request_id"]
        return {"error": problem(error.outcome, error.detail, request_id=request_id)}

    # Reading

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; it ends early if the client is gone."""
        more = True
        while more:
            message: Mapping[str, Any] = await self._receive()
            if message["type"] == "http.disconnect":
                self._gone = True
                self.cancel()
                return
            if message["body"]:
                yield message["body"]
            more = message["more_body"]

    async def _parts(self, kept: Callable[[], int]) -> AsyncIterator[bytes]:
        """Yield the body, decoded, in parts that each get a slice of their own.

        ``kept`` returns how many bytes of the parts before are kept. Raise RequestError if
        there is no room, or the body is not what its Content-Encoding says.
        """
        decoder = self._decoder
        async for piece in self._pieces():
            self._hold(kept() + decoder.held + len(piece))
            for part in decoder.feed(piece):
                self._hold(kept() + decoder.held + len(part))
                await self._gateway.slices.turn()
                yield part
                del part
            del piece
            self._hold(kept() + decoder.held)
        if not self._gone and (self._batch is None or self._batch.cut_short is None):
            decoder.end()

    def _hold(self, size: int) -> None:
        if not self._holding.hold(size):
            raise RequestError(Outcome.OVERLOADED, TOO_MANY_BODIES)

    async def _whole_body(self) -> bytearray:
        body = bytearray()
        async for part in self._parts(body.__len__):
            body += part
            if self._decoder.spent > self._largest:
                raise too_large_decoded(self._largest)
            if len(body) > self._largest:
                raise too_large(self._largest)
        return body

    def _items_of(self, body: bytearray) -> Generator[None, None, Iterator[Text]]:
        """Return the items of an array, which is refused as a whole if it is not valid."""
        limit = self._gateway.publish.max_batch
        try:
            spans = yield from array_items(body, limit)
        except json_steps.TooDeepError:
            raise bad_request(TOO_DEEP) from None
        except json_steps.TooManyError:
            raise RequestError(
                Outcome.TOO_LARGE,
                Public(f"The batch has more than {limit} items; {NDJSON} may have any."),
            ) from None
        except json_steps.MalformedError as error:
            raise bad_request(f"The batch is not valid JSON: {error}.", Mistake.JSON) from None
        large = LargeItem if self._events is None else partial(LargeEvent, self._events)
        return (
            large(body, start, end) if end - start > LARGE else bytes(body[start:end])
            for start, end in spans
        )

    def _item(self, batch: Batch, text: Text) -> Generator[None, None, Found]:
        """Return the item's id and message in steps, or raise RequestError."""
        if text is None:
            raise RequestError(Outcome.TOO_LARGE, Public("The line is too long for any message."))
        error = batch.cut_short
        if error is not None and self._is_array:  # all of it has come, so each item is told
            raise RequestError(error.outcome, error.detail)
        rest = self._target.exchange, batch.items, self._gateway.defaults, self._stamps
        if not isinstance(text, bytes):
            message = yield from text.read(*rest)
            found: Found = (text.id, message)
        else:
            for is_deeper in deeper(text, MAX_DEPTH):
                if is_deeper:
                    raise bad_request(TOO_DEEP)
                yield
            read = read_item if self._events is None else self._events.read
            found = read(text, *rest)
        if len(found[1].body) > self._largest:
            raise too_large(self._largest)
        return found

    # Publishing

    def _begin(self, told: Callable[[BatchItem], None], *, keep: bool = False) -> Batch:
        self._batch = Batch(
            self._gateway,
            self._target,
            self._credentials,
            self._gateway.wait(self._headers),
            told,
            sender=self,
            keep=keep,
            request_id=self._state["request_id"],
        )
        # The connection calls it when it ends, or when the body does before its time.
        self._state["cut"] = self._batch.cut
        return self._batch

    async def _publish_lines(self, batch: Batch, *, answers: bool = False) -> None:
        """Publish each line. ``answers`` says that the response has begun."""
        longest = LINE_FACTOR * self._largest + LINE_EXTRA
        lines = Lines(longest)
        if isinstance(self._decoder, Decoder):
            self._allowance = Allowance(longest + MOST_HELD, self._decoder, batch)
        try:
            async for part in self._parts(lambda: lines.size):
                if batch.gone or batch.cut_short is not None:
                    return
                await self._publish(batch, map(_owned, lines.feed(part)))
                del part
            if batch.cut_short is None and not batch.gone:  # else the last line may not be whole
                await self._publish(batch, map(_owned, lines.feed(b"\n")))
        except RequestError as error:  # of the body; an item that fails is no reason to end
            if not batch.items and not answers:
                raise
            batch.cut(error)
        finally:
            # This and the batch are a circle, in which the decoder's window would stay.
            self._decoder, self._allowance = Plain(), None
            self._holding.hold(0)

    async def _publish(self, batch: Batch, texts: Iterable[Text]) -> None:
        slices, allowance = self._gateway.slices, self._allowance
        end = perf_counter() + SLICE
        if allowance is not None:
            allowance.check()
        for text in texts:
            try:
                steps = self._item(batch, text)
                if isinstance(text, bytes) and len(text) <= SMALL:
                    item_id, message = at_once(steps)
                else:
                    item_id, message = await slices.run(steps)
            except RequestError as error:
                await batch.refuse(_id_of(text), error)
            else:
                text = None  # noqa: PLW2901 - it may be large, and is not needed any more
                await batch.publish(item_id, message)
            if batch.gone:
                return
            if perf_counter() > end:
                await slices.turn()
                end = perf_counter() + SLICE
                if allowance is not None:
                    allowance.check()


class Allowance:
    """How much of a compressed stream may become no message: ``limit`` bytes.

    A few bytes may become millions of blank or broken lines, or one line without an end.
    What was spent before a message was confirmed no longer counts. So a stream of messages
    may have any length, and it is paced by their confirms.
    """

    def __init__(self, limit: int, decoder: Decoder, batch: Batch) -> None:
        self._limit = limit
        self._decoder = decoder
        self._batch = batch
        self._confirmed = 0  # messages, when something was last looked at
        self._spent = 0  # bytes until then

    def check(self) -> None:
        """Raise RequestError if too much was decompressed in vain."""
        batch = self._batch
        spent = self._decoder.spent + REFUSED * (batch.failed + batch.unknown)
        if batch.published > self._confirmed:
            self._confirmed, self._spent = batch.published, spent
        if spent - self._spent > self._limit:
            detail = f"{self._limit} bytes were decompressed without a message that was confirmed."
            raise RequestError(Outcome.TOO_LARGE, Public(detail))


def _owned(line: bytes | bytearray | None) -> Text:
    if isinstance(line, bytearray):
        return LargeItem(line, 0, len(line)) if len(line) > LARGE else bytes(line)
    return line


def _id_of(text: Text) -> str | int | None:
    """Return the id of an item that was refused, if it can be known."""
    if isinstance(text, bytes):
        return id_of(text)
    return None if text is None else text.id
