"""``POST /<virtual-host>/<exchange>``: many messages in one request.

``application/json`` is read whole, and answered with every item's result.
``application/x-ndjson`` is published as it arrives, in memory that does not
grow with its length, and answered with a summary, or with a stream of results.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..message import Credentials, Message, Outcome, RequestError, bad_request, problem
from .admission import too_large
from .batch import TURN, Batch, BatchItem, Lines, ReorderBuffer, Result
from .defaults import Stamps, stamps_of
from .gateway import Gateway
from .items import JSON, NDJSON, id_of, read_item
from .nesting import deeper
from .request import Target
from .router import Match

MAX_FAILURES = 1000  # that a summary lists
MAX_DEPTH = 512  # of an item's JSON: what every Python's parser follows
# An item of the largest message, as base64 or with JSON's escapes, and the rest of it.
LINE_FACTOR, LINE_EXTRA = 2, 64 * 1024

_STREAM = re.compile(rb'(?:^|,)\s*results\s*=\s*"?stream"?\s*(?:[;,]|$)')
_TOO_DEEP = f"An item is nested more than {MAX_DEPTH} levels deep."
_encode = msgspec.json.Encoder().encode


class _Messages(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[msgspec.Raw]


class Failures:
    """What a summary tells of the items that were not confirmed: the first, and how many more."""

    def __init__(self) -> None:
        self._results: list[Result] = []
        self._left_out = 0

    def add(self, item: BatchItem) -> None:
        """The item has its outcome."""
        if item.outcome is Outcome.CONFIRMED:
            return
        if len(self._results) < MAX_FAILURES:
            self._results.append(item.result())
        else:
            self._left_out += 1

    def members(self) -> dict[str, Any]:
        """Of the summary."""
        failures = sorted(self._results, key=lambda result: result.index)
        return {"failures": failures, "failures_left_out": self._left_out}


class BatchRequest:
    """One batch, from its head to its answer; an ASGI application that is called once."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._gateway: Gateway = scope["state"]["gateway"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._batch: Batch | None = None
        self._reserved = 0
        self._whole = False  # all items are here, and each is told of
        self._gone = False  # the client hung up

    def cancel(self) -> None:
        """Nobody will read the answer."""
        if self._batch is not None:
            self._batch.cut(None)

    def tell_log(self) -> None:
        """Leave for the access log how it went."""
        batch = self._batch
        if batch is not None:
            is_complete = batch.published == batch.items
            outcome = Outcome.CONFIRMED.value if is_complete else "incomplete"
            self._scope["state"]["logged"] |= {"outcome": outcome, "counts": batch.summary()}

    async def answer(self) -> None:
        """Publish, and tell. Raises RequestError when nothing was."""
        match: Match = self._scope["state"]["match"]
        media_type = self._headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        is_stream = media_type == NDJSON.encode()
        credentials = self._gateway.admission.admit(
            self._headers,
            None if is_stream else self._gateway.http_server.max_body_bytes,
            match.refusal,
            lambda: self._scope["client"],
            self._scope["headers"],
        )
        target = match.target
        assert target is not None  # noqa: S101 - or there would have been a refusal
        self._scope["state"]["logged"] = {  # by the access log
            "virtual_host": target.virtual_host,
            "exchange": target.exchange,
            "user": credentials.name,
        }
        if self._headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise bad_request("A batch must not have a Content-Encoding.")
        if is_stream:
            await self._answer_stream(target, credentials)
        elif media_type == JSON.encode():
            try:
                await self._answer_whole(target, credentials)
            finally:
                self._gateway.publisher.release(self._reserved)
        else:
            raise bad_request(
                f"A batch is sent as {JSON} or {NDJSON}, and its Content-Type says so."
            )

    # application/json

    async def _answer_whole(self, target: Target, credentials: Credentials) -> None:
        body = await self._read()
        if body is None:
            return
        items = self._parse(body)
        self._whole = True
        known = ReorderBuffer()
        batch = self._begin(target, credentials, known.add)
        stamps = stamps_of(self._headers, self._gateway.defaults)
        try:
            for text in items:
                await _check_depth(bytes(text))
        except RequestError:
            self._batch = None  # it is refused as a whole
            raise
        for number, text in enumerate(items, 1):
            await self._publish(batch, text, target, stamps)
            if number % TURN == 0:
                await asyncio.sleep(0)
        await batch.settle()
        if batch.gone:
            return
        document = {**batch.summary(), "results": [item.result() for item in known.now()]}
        complete = batch.published == batch.items
        answer = Response(_encode(document), 200 if complete else 207, media_type=JSON)
        await answer(self._scope, self._receive, self._send)

    async def _read(self) -> bytes | None:
        """The body; None: the client is gone."""
        limit = self._gateway.http_server.max_body_bytes
        body = bytearray()
        async for piece in self._pieces():
            body += piece
            if len(body) > limit:
                raise too_large(limit)
            if not self._gateway.publisher.reserve(len(piece)):
                raise RequestError(Outcome.OVERLOADED, "Too many bodies arrive at once here.")
            self._reserved += len(piece)
        return None if self._gone else bytes(body)

    def _parse(self, body: bytes) -> list[msgspec.Raw]:
        try:
            if body.lstrip()[:1] == b"{":
                items = msgspec.json.decode(body, type=_Messages).messages
            else:
                items = msgspec.json.decode(body, type=list[msgspec.Raw])
        except msgspec.ValidationError as error:
            raise bad_request(
                f'A batch is an array of items, or {{"messages": [item, …]}}: {error}.'
            ) from None
        except RecursionError:
            raise bad_request(_TOO_DEEP) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise bad_request(f"The batch is not valid JSON: {error}.") from None
        limit = self._gateway.publish.max_batch
        if len(items) > limit:
            raise RequestError(
                Outcome.TOO_LARGE, f"The batch has more than {limit} items; {NDJSON} may have any."
            )
        return items

    # application/x-ndjson

    async def _answer_stream(self, target: Target, credentials: Credentials) -> None:
        stamps = stamps_of(self._headers, self._gateway.defaults)  # or a 400, before anything else
        prefer = self._headers.get(b"prefer", b"").lower()
        # Without chunks (HTTP/1.0) the end of a stream cannot be told from a lost connection.
        if _STREAM.search(prefer) and self._scope["http_version"] != "1.0":
            await self._answer_as_it_goes(target, credentials, stamps)
            return
        failures = Failures()
        batch = self._begin(target, credentials, failures.add)
        await self._publish_lines(batch, target, stamps)
        await batch.settle()
        if not batch.gone:
            document = {**batch.summary(), **failures.members(), **self._end(batch)}
            answer = Response(_encode(document), media_type=JSON)
            await answer(self._scope, self._receive, self._send)

    async def _answer_as_it_goes(
        self, target: Target, credentials: Credentials, stamps: Stamps | None
    ) -> None:
        known = ReorderBuffer()
        batch = self._begin(target, credentials, known.add, keep=True)
        headers = [
            (b"content-type", NDJSON.encode()),
            (b"preference-applied", b"results=stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would keep the results to itself
        ]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await self._send(start)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_results(batch, known))
            try:
                await self._publish_lines(batch, target, stamps)
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

    async def _publish_lines(self, batch: Batch, target: Target, stamps: Stamps | None) -> None:
        lines = Lines(LINE_FACTOR * self._gateway.http_server.max_body_bytes + LINE_EXTRA)
        async for piece in self._pieces():
            for number, line in enumerate(lines.feed(piece), 1):
                await self._publish(batch, line, target, stamps)
                if number % TURN == 0:
                    await asyncio.sleep(0)
            if batch.gone:
                return
        if batch.cut_short is None and not batch.gone:  # else the last line may not be whole
            for line in lines.end():
                await self._publish(batch, line, target, stamps)

    def _end(self, batch: Batch) -> dict[str, Any]:
        """What tells that the body did not come to its end."""
        if batch.cut_short is None:
            return {}
        error = batch.cut_short
        batch.tell_of(error.outcome, error.detail)
        request_id = self._scope["state"]["request_id"]
        return {"error": problem(error.outcome, error.detail, request_id=request_id)}

    # Both

    def _begin(
        self,
        target: Target,
        credentials: Credentials,
        told: Callable[[BatchItem], None],
        *,
        keep: bool = False,
    ) -> Batch:
        wait = self._gateway.wait(self._headers)
        request_id = self._scope["state"]["request_id"]
        self._batch = Batch(
            self._gateway, target, credentials, wait, told, keep=keep, request_id=request_id
        )
        # The connection tells through this when it ends, or when the body does before its time.
        self._scope["state"]["cut"] = self._batch.cut
        return self._batch

    async def _publish(
        self,
        batch: Batch,
        text: bytes | msgspec.Raw | None,
        target: Target,
        stamps: Stamps | None,
    ) -> None:
        """The next item; None for one that is too long."""
        try:
            if isinstance(text, bytes):  # a line; an array's items were looked at together
                await _check_depth(text)
            item_id, message = self._item(batch, text, target, stamps)
        except RequestError as error:
            await batch.refuse(None if text is None else id_of(text), error)
        else:
            await batch.publish(item_id, message)

    def _item(
        self,
        batch: Batch,
        text: bytes | msgspec.Raw | None,
        target: Target,
        stamps: Stamps | None,
    ) -> tuple[str | int | None, Message]:
        limit = self._gateway.http_server.max_body_bytes
        if batch.cut_short is not None and self._whole:
            raise batch.cut_short  # not one more, and each is told so
        if text is None:
            raise RequestError(Outcome.TOO_LARGE, "The line is too long for any message.")
        found = read_item(text, target.exchange, batch.items, self._gateway.defaults, stamps)
        if len(found[1].body) > limit:
            raise too_large(limit)
        return found

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives; it ends early when the client is gone."""
        more = True
        while more:
            message: Mapping[str, Any] = await self._receive()
            if message["type"] == "http.disconnect":
                self._gone = True  # and nobody is there to be told anything
                self.cancel()
                return
            if message["body"]:
                yield message["body"]
            more = message["more_body"]


async def _check_depth(text: bytes) -> None:
    """Raise RequestError if the item nests deeper than MAX_DEPTH; the event loop is not held."""
    for is_deeper in deeper(text, MAX_DEPTH):
        if is_deeper:
            raise bad_request(_TOO_DEEP)
        await asyncio.sleep(0)
