"""The seam to uvicorn: its httptools protocol, with publishes answered from the callbacks.

A publish never becomes an ASGI request: no scope, no task, no receive and
send, which would cost as much as all the rest. Whatever else is asked for goes
on to uvicorn's own RequestResponseCycle and the ASGI application.

Here the bytes of a connection become requests; in ``answers`` outcomes become
answers, ``turns`` keeps them in order, ``lifetime`` ends what takes too long.
uvicorn is pinned to a minor version because of these four modules.
"""

import asyncio
import logging
from time import perf_counter_ns
from typing import Any

import httptools
from uvicorn.config import Config as UvicornConfig
from uvicorn.server import ServerState

from ..message import FAULT, Outcome, Public, RequestError, bad_request
from .admission import GUEST, TOO_MANY_BODIES, too_large
from .answers import MORE_CAME, Answering
from .client_address import Client
from .cycle import CHUNKED, UNTOLD, PublishCycle
from .fields import announces_body, check_coding, has_length, merge_repeated, without_upgrade
from .gateway import Gateway
from .known_heads import NOWHERE, Head, Repeat
from .lifetime import new_parser
from .request import message_reader
from .router import Match

logger = logging.getLogger(__name__)

TOO_MANY = Public("Too many connections are open here.")
FRAGMENT = ord("#")  # begins one, which is no part of a request target
MISSES = 20  # publishes with other heads, after which a connection is one that does not repeat
REJECTED_AT_ONCE = 1000  # connections above the limit that are still told so


class _EndOfConversation(Exception):  # noqa: N818 - no error: the parser is stopped with it
    """What a client sends behind its last request concerns nobody."""


class GatewayProtocol(Answering):
    """One client connection."""

    def __init__(
        self,
        gateway: Gateway,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(gateway, config, server_state, app_state, _loop)
        self.url = b""
        self._max_head = gateway.http_server.max_header_bytes  # looked at for each header
        self._head_size = 0
        self._line_fed = 0  # bytes of whole reads within one head, or between pieces of a body
        self._body_came = False  # with the read at hand
        self._upgrading = False
        self._repeat: Repeat | None = None
        self._known: Repeat | None = None  # the last one that was found among the gateway's
        self._misses = 0  # publishes in a row that did not repeat the last one's head
        self._begun = 0  # requests, within the read at hand

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.gateway.statistics.accepted += 1
        above = len(self.connections) - self.gateway.http_server.max_connections
        if above > 0:
            self.gateway.statistics.refused_clients += 1
        if above > REJECTED_AT_ONCE:
            transport.abort()
        elif above > 0:
            self.refuse(RequestError(Outcome.OVERLOADED, TOO_MANY))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._deaf = True
        for cycle in self._unanswered():
            if isinstance(cycle, PublishCycle):
                self._release(cycle)
                if cycle.publish is not None:
                    self.gateway.publisher.cancel(cycle.publish)
            else:
                cycle.disconnected = True
                cycle.message_event.set()
                self._cut(cycle, None)
        self.pipeline.clear()
        self.cycle = self._active = None  # type: ignore[assignment]  # for they refer to us

    def data_received(self, data: bytes) -> None:
        self.gateway.statistics.received += len(data)
        repeat = self._repeat
        if repeat is not None:
            body = repeat.body_of(data)
            if body is not None and self._repeats(repeat.head, body):
                return
            self._repeat = None
        if self._deaf:
            self._discard(len(data))
            return
        between = self._is_between_requests()
        if between and self._misses < MISSES:
            known = self.gateway.heads.find(data)
            if known is not None:
                repeat, body, request_id = known
                if self._repeats(repeat.head, body, request_id):
                    # Where heads take turns it would be compared in vain.
                    self._repeat = repeat if repeat is self._known and not request_id else None
                    self._known = repeat
                    return
        head = self.headers if self._in_head else None
        self._begun = 0
        self._body_came = False
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._parser_stopped(error)
        else:
            if self._in_head:
                if self.headers is head:  # it began in an earlier read
                    self._bound_line(len(data))
            elif self.cycle is not None and self._is_incomplete(self.cycle):
                self._body_goes_on(self.cycle, len(data))
            elif between:
                self._note_head(data)

    def _repeats(self, head: Head, body: bytes, request_id: bytes = b"") -> bool:
        """The read was a publish with a head that is known: whether it is under way now.

        The hot path. The same bytes mean the same, and they were parsed and checked.
        The parser is between two requests, and stays there.
        """
        last = self.cycle
        if (last is not None and not (last.response_complete and last.keep_alive)) or self._deaf:
            return False
        if len(body) > self.gateway.http_server.max_body_bytes:
            return False
        self.gateway.statistics.began("POST")
        self._progress += 1
        self._misses = 0
        cycle = PublishCycle(self._answer, head)
        cycle.request_id = request_id
        cycle.complete = cycle.started = True
        cycle.started_at = perf_counter_ns()
        self.cycle = self._active = cycle  # type: ignore[assignment]  # as good as one, to uvicorn
        self._submit(cycle, body)
        return True

    def _note_head(self, data: bytes) -> None:
        """The read began between two requests and ended so: another may repeat its head."""
        cycle: Any = self.cycle
        if self._begun != 1 or not isinstance(cycle, PublishCycle) or not cycle.is_plain:
            return
        self._misses += 1
        if self._misses < MISSES:
            self._repeat = Repeat.of(cycle.head, data, cycle.size)
            if (
                cycle.head.credentials.username != GUEST  # who may not come from everywhere
                and self.parser.get_http_version() == "1.1"
            ):
                self.gateway.heads.add(cycle.head, data, cycle.size)

    def _feed(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                rest = upgrade.args[0]
            else:
                return
            # The request is served as if it had not asked for another protocol
            # (RFC 9110 section 7.8). The parser takes what follows for that
            # protocol, so the head goes through a new one without the wish.
            data = memoryview(data)[rest:]
            head = without_upgrade(
                self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
            )
            self.parser = new_parser(self)
            self.parser.feed_data(head)

    def _bound_line(self, size: int) -> None:
        """A line that never ends reaches no callback; the parser keeps it."""
        self._line_fed += size
        if self._line_fed > self._max_head:
            self.refuse(self._too_large_a_head())

    def _body_goes_on(self, cycle: Any, size: int) -> None:
        """More is to come of a body, of which this read brought some or nothing."""
        self._progress += 1
        if isinstance(cycle, PublishCycle) and cycle.length == UNTOLD:
            cycle.complete = True
            if cycle.started:
                self._submit_without_body(cycle)
            return
        if not self._body_came:  # but a chunk's extension, or trailers
            self._bound_line(size)
            return
        self._line_fed = 0
        if isinstance(cycle, PublishCycle) and cycle.decided is None:
            # Only such bodies are counted while they arrive: those that come at
            # once are counted when they are published.
            if self.gateway.publisher.reserve(cycle.size - cycle.reserved):
                cycle.reserved = cycle.size
            else:
                self._decide(cycle, Outcome.OVERLOADED, TOO_MANY_BODIES)

    # Head

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.keep_alive:
            raise _EndOfConversation
        self._in_head = True
        self._begun += 1
        self._head_size = self._line_fed = self._discarded = 0
        self._progress += 1
        self._upgrading = False
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._head_size += len(url)
        if self._head_size > self._max_head:
            raise self._too_large_a_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come through here as well. They are not headers (RFC 9110 section
        # 6.5.1): no proxy has checked them. They only count.
        if self._in_head:
            self.headers.append((name.lower(), value))
        self._head_size += len(name) + len(value) + 4
        if self._head_size > self._max_head:
            raise self._too_large_a_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._line_fed = 0
        if len(self.headers) > self.gateway.http_server.max_header_fields:
            raise self._too_large_a_head()
        headers = dict(self.headers)
        if len(headers) != len(self.headers) or b"host" not in headers:
            version = self.parser.get_http_version()
            self.headers = merge_repeated(self.headers, headers, version)
        if b"transfer-encoding" in headers:
            check_coding(headers[b"transfer-encoding"], self.parser.get_http_version())
        if b"upgrade" in headers and self.parser.should_upgrade():
            self._upgrading = True  # _feed learns of it next
            return
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise bad_request("This is no proxy.")
        path, _, query = self._target().partition(b"?")
        match = self.gateway.router.match(path)
        if not match.publishes or (match.page is not None and method != b"POST"):
            is_batch = method == b"POST" and match.is_batch
            if not (is_batch and announces_body(headers) and not has_length(headers)):
                self._begin_page(match)
                return
        self.gateway.statistics.began(method.decode())
        head = Head(headers, self._keep_alive(headers), match.target or NOWHERE)
        cycle = PublishCycle(self._answer, head)
        length = headers.get(b"content-length")
        if length is not None:
            cycle.length = int(length)
        elif b"transfer-encoding" in headers:
            cycle.length = CHUNKED
        elif method == b"POST" and (announces_body(headers) or self._is_last()):
            cycle.length = UNTOLD
            cycle.keep_alive = False  # a body would be taken for the next request
        if b"expect" in headers and self.parser.get_http_version() != "1.0":
            cycle.expects = headers[b"expect"].lower() == b"100-continue"
        if method == b"POST":
            self._check_head(cycle, match.refusal)
            if cycle.decided is None:
                head.read = message_reader(head.target, headers, query, self.gateway.defaults)
                head.wait = self.gateway.wait(headers)
        else:
            self._decide_without_publishing(cycle, method)
        self._enqueue(cycle)

    def _decide_without_publishing(self, cycle: PublishCycle, method: bytes) -> None:
        cors, headers = self.gateway.cors, cycle.head.headers
        cycle.method = method.decode()
        cycle.without_document = method == b"HEAD"
        cycle.options = method == b"OPTIONS"
        if cors.is_preflight(method, headers):
            cycle.extra = cors.preflight_headers(headers)
        elif b"origin" in headers:
            cycle.extra = cors.answer_headers(headers)
        cycle.decided = (Outcome.METHOD_NOT_ALLOWED, Public("Messages are published with POST."))

    def _target(self) -> bytes:
        """The path and query; a request target in absolute form has a scheme and host before."""
        if self.url.startswith(b"/"):
            return self.url.partition(b"#")[0] if FRAGMENT in self.url else self.url
        try:
            parsed = httptools.parse_url(self.url)
        except httptools.HttpParserInvalidURLError:
            raise bad_request("The request target is malformed.") from None
        self.url = parsed.path or b"/"
        if parsed.query is not None:
            self.url += b"?" + parsed.query
        return self.url

    def _keep_alive(self, headers: dict[bytes, bytes]) -> bool:
        if self.gateway.http_server.no_keep_alive or not self.parser.should_keep_alive():
            return False
        # Only with a Connection header can HTTP/1.0 get here, and it cannot tell
        # where a response without Content-Length ends.
        return b"connection" not in headers or self.parser.get_http_version() != "1.0"

    def _is_last(self) -> bool:
        """Return whether the client sends no further request, or speaks HTTP/1.0.

        Bytes that follow are then the body of this one, whatever its head says.
        """
        return self.parser.get_http_version() == "1.0" or not self.parser.should_keep_alive()

    def _check_head(self, cycle: PublishCycle, refusal: RequestError | None) -> None:
        """Decide whatever can be refused before the body is read."""
        gateway = self.gateway
        headers = cycle.head.headers
        if b"origin" in headers or b"sec-fetch-site" in headers or gateway.cors.is_strict:
            cycle.extra = cycle.head.extra = gateway.cors.answer_headers(headers)
        try:
            cycle.head.credentials = gateway.admission.admit(
                headers, gateway.http_server.max_body_bytes, refusal, self._peer, self.headers
            )
        except RequestError as error:
            cycle.decided = (error.outcome, error.detail)

    def _peer(self) -> Client:
        self.look_up_addresses()
        return self.client

    def _begin_page(self, match: Match) -> None:
        """Give the request to uvicorn: build its scope, which a publish does not need."""
        url, headers = self.url, self.headers
        self.look_up_addresses()
        super().on_message_begin()
        self.scope["state"]["match"] = match
        self.url = url
        self.headers.extend(headers)
        self.expect_100_continue = (b"expect", b"100-continue") in headers
        super().on_headers_complete()
        if self.gateway.http_server.no_keep_alive or self.gateway.draining:
            self.cycle.keep_alive = False

    # Body

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._upgrading:
            return
        self._body_came = True
        if not isinstance(cycle, PublishCycle):
            super().on_body(body)
            if cycle.response_complete:
                self._discard(len(body))
            return
        cycle.size += len(body)
        if cycle.decided is None:
            cycle.add(body)
            limit = self.gateway.http_server.max_body_bytes
            if cycle.size > limit:  # chunked: it was not announced
                error = too_large(limit)
                self._decide(cycle, error.outcome, error.detail)

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if self._upgrading:
            return
        if not isinstance(cycle, PublishCycle):
            super().on_message_complete()
            cycle.more_body = False  # also when it was answered before
        elif cycle.length == UNTOLD and cycle.decided is None:
            return  # the end of the read may show that a body follows
        else:
            cycle.complete = True
            self._progress += 1
            if cycle.started and cycle.decided is None:
                self._submit(cycle, cycle.take())
                return
        if cycle.response_complete and self.gateway.draining:
            cycle.keep_alive = False
            self._say_goodbye(False)  # it was answered before it was read

    # Answers

    def _start_publish(self, cycle: PublishCycle) -> None:
        cycle.started = True
        cycle.started_at = perf_counter_ns()
        if cycle.decided is not None:
            self._answer(cycle, *cycle.decided)
        elif cycle.complete and cycle.length == UNTOLD:
            self._submit_without_body(cycle)
        elif cycle.complete:
            self._submit(cycle, cycle.take())
        elif cycle.expects:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # RFC 9110 10.1.1

    def _submit(self, cycle: PublishCycle, body: bytes) -> None:
        head = cycle.head
        if cycle.reserved:
            self._release(cycle)
        try:
            message = head.read(body)
            if message.message_id is not None:
                cycle.extra = [*cycle.extra, (b"amqp-message-id", message.message_id.encode())]
            publish = self.gateway.publisher.publish(
                head.target.virtual_host,
                head.credentials,
                message,
                self.loop.time() + head.wait,
                cycle.settled,
            )
            if not cycle.response_complete:
                cycle.publish = publish
        except RequestError as error:
            self._answer(cycle, error.outcome, error.detail)
        except Exception:
            cycle.request_id = cycle.request_id or self.gateway.request_id(head.headers)
            logger.exception("the publish %s failed", cycle.request_id.decode())
            self._answer(cycle, Outcome.INTERNAL_ERROR, FAULT)

    def _submit_without_body(self, cycle: PublishCycle) -> None:
        """Publish an empty message, unless the client has sent more than the head by now."""
        if self._bytes_wait():
            self._decide(cycle, Outcome.LENGTH_REQUIRED, MORE_CAME)
        else:
            self._submit(cycle, b"")

    # What cannot be read

    def _parser_stopped(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if isinstance(cause, _EndOfConversation) or self._is_behind_the_last(cause):
            self._deaf = True
            self._more_came(self.cycle)
        elif isinstance(cause, RequestError):
            self.refuse(cause)
        elif isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
            logger.error("reading a request failed", exc_info=cause)
            self.refuse(RequestError(Outcome.INTERNAL_ERROR, FAULT))
        else:
            self.refuse(bad_request(f"The request is not HTTP/1.1: {error}."))

    def _is_behind_the_last(self, cause: BaseException | None) -> bool:
        """Return whether the parser found bytes behind a request that says Connection: close."""
        cycle: Any = self.cycle
        if cause is not None or cycle is None or cycle.keep_alive or self._in_head:
            return False
        is_untold = isinstance(cycle, PublishCycle) and cycle.length == UNTOLD
        return is_untold or not self._is_incomplete(cycle)

    def _too_large_a_head(self) -> RequestError:
        settings = self.gateway.http_server
        return RequestError(
            Outcome.HEADERS_TOO_LARGE,
            Public(
                f"The request line and headers exceed {settings.max_header_bytes} bytes "
                f"or {settings.max_header_fields} fields."
            ),
        )
