"""One client connection: bytes go in, requests go to handlers, responses come out in order.

Its state is one of ``states``. Its parts are ``reader`` (bytes to requests), ``pipeline``
(bytes that wait for their turn), ``flow`` (back-pressure), ``timeouts``, ``response`` and
``lingering`` (what comes behind the last response).
"""

import asyncio
import logging
from typing import Any, Final

from ..message import FAULT, Outcome, Public, RequestError
from . import probes
from .flow import FlowControl
from .handler import RequestHandler
from .lingering import Linger
from .pipeline import Pipeline
from .reader import LINE_ENDS, TOO_MUCH, UNTOLD, Reader, Request
from .response import CONTINUE, IN_STEP, Response, Turn
from .shared import Shared
from .states import (
    CLOSED,
    IDLE,
    LINGERING,
    READING_BODY,
    READING_HEAD,
    RESPONDING,
    WAITING,
    State,
)
from .timeouts import Wait, Watch, wait_of

logger = logging.getLogger(__name__)

TURN: Final = 64  # pieces of bodies that are read before other connections have their turn
HEAD: Final = 4  # pieces that a head, and what becomes of it, cost at least
TOO_MANY = Public("Too many client connections are open.")


class Connection(asyncio.Protocol, Turn):
    """One client connection, as asyncio, responses and the server call it."""

    __slots__ = (
        "_half_closed", "_handler", "_linger", "_reader", "_request_handler", "_response",
        "_watch", "flow", "has_asked", "lingers", "pipeline", "progress", "shared", "state",
        "transport",
    )  # fmt: skip

    transport: asyncio.Transport
    flow: FlowControl
    _handler: Any

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        shared.places.accepted += 1
        self.pipeline = Pipeline(shared.budget)
        self.state: State = IDLE
        self.progress = 0  # changes with everything that restarts a time-out
        self.has_asked = False  # something of a request has come
        self.lingers = False  # after the response more of the request may come
        # The request under way, or the last one.
        self._response: Response | None = None
        self._request_handler: RequestHandler | None = None
        # These are made when they are needed. Many connections never need them.
        self._reader: Reader | None = None
        self._watch: Watch | None = None
        self._linger: Linger | None = None
        self._half_closed = False  # the client sends no more, and may still read

    def __repr__(self) -> str:
        half_closed = ", half-closed" if self._half_closed else ""
        return f"<Connection {self.state.value}{half_closed}>"

    # The transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.flow = FlowControl(transport)
        shared = self.shared
        self._handler = shared.make_handler(self)
        if not shared.places.take(self):
            self.lingers = True  # its request may be on the way
            self._refuse(RequestError(Outcome.OVERLOADED, TOO_MANY))

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.places.leave(self)
        self.state = self.state.to(CLOSED)
        self.pipeline.clear()
        self._stop_lingering()
        self.flow.resume_writing()
        if self._reader is not None:
            self._reader.close()
        response, self._response = self._response, None
        if response is not None and not response.complete:
            response.complete = True
            if self._request_handler is not None:
                self._request_handler.on_lost()
        self._request_handler = None
        self._handler = None  # which refers to this object

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self.progress += 1
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self.shared.places.received += len(data)
        state = self.state
        if state is IDLE:
            if not self._handler.shortcut(data):
                self._work(data, 0)
        elif state is READING_HEAD or state is READING_BODY:
            self._work(data, 0)
        else:
            self._put_aside(data, 0)

    def eof_received(self) -> bool:
        """Keep our half open for a response that is due.

        ``nc -N`` closes its half and waits for the response. A client that hung up looks the
        same until it is sent something, when its host resets the connection.
        """
        response = self._response
        if self.state is not RESPONDING or response is None or self.is_tls:
            return False  # asyncio's TLS ends both directions at once
        response.keep_alive = False  # the last one: no request comes behind it
        if not self._half_closed:
            self._half_closed = True
            self._ask_whether_it_reads()
        return True

    @property
    def is_tls(self) -> bool:
        """Return whether the connection is encrypted."""
        return self.transport.get_extra_info("sslcontext") is not None

    # Requests

    def begin(self, handler: RequestHandler, keep_alive: bool) -> Response:
        """Begin the response to a request that its handler has read, and return it."""
        self.state = self.state.to(RESPONDING)
        self.progress += 1
        self.has_asked = True
        self._request_handler = handler
        response = self._response = Response(self, keep_alive)
        return response

    def _work(self, data: bytes, at: int) -> None:
        """Read one request after the other, until one has to be answered before the next."""
        reader = self._reader
        if reader is None:
            reader = self._reader = Reader(self.shared.limits, self.shared.budget)
        left = TURN
        try:
            while at < len(data):
                state = self.state
                if left <= 0 and (state is IDLE or state is READING_BODY):
                    self._hold(data, at)
                    self.shared.turns.wait(self._go_on)
                    return
                left -= 1 if state is READING_BODY else HEAD
                if state is READING_BODY:
                    if not reader.complete:
                        begin = at
                        at, piece = reader.read_body(data, at)
                        self.progress += 1
                        response, handler = self._response, self._request_handler
                        if response is None or handler is None or response.complete:
                            self._discard(at - begin)
                        elif piece:
                            handler.on_body(piece)
                elif state is READING_HEAD or (state is IDLE and not self.flow.write_paused):
                    if state is IDLE:
                        if data[at] in LINE_ENDS:
                            at = reader.skip_line_ends(data, at)
                            continue
                        self.progress += 1
                        self.has_asked = True
                    at = reader.read_head(data, at)
                    if reader.request is not None:
                        self._begin(reader.request)
                    elif state is IDLE:
                        self.state = state.to(READING_HEAD)
                else:
                    self._put_aside(data, at)
                    return
                if reader.complete and self.state is READING_BODY:
                    at = self._end_request(data, at)
        except RequestError as error:
            self._refuse(error)
        except Exception:
            logger.exception("reading a request failed")
            self._refuse(RequestError(Outcome.INTERNAL_ERROR, FAULT))

    def _begin(self, request: Request) -> None:
        self.state = self.state.to(READING_BODY)
        self.progress += 1
        keep_alive = not request.is_last and self.shared.limits.keep_alive
        response = self._response = Response(self, keep_alive)
        if request.length == UNTOLD:
            self.lingers = True
        self._request_handler = self._handler.on_head(request, response)

    def _end_request(self, data: bytes, at: int) -> int:
        """Note that the request was read, and return how far.

        That is more than the head if the length of the body is UNTOLD.
        """
        response, handler = self._response, self._request_handler
        if self.lingers and response is not None:
            rest, at = data[at:].lstrip(LINE_ENDS), len(data)
            if rest:
                self._give_late(response, rest)
            elif not self.is_tls and probes.has_bytes(self.transport):
                return at  # they come with the next read
            if self.state is not READING_BODY:
                return at
        self.progress += 1
        if response is not None and response.complete:
            if self.shared.draining or not response.keep_alive:
                self.close()  # it was answered before it was read
            else:
                self.state = self.state.to(IDLE)
                self._stop_lingering()
        elif handler is not None:
            self.state = self.state.to(RESPONDING)
            handler.on_end()
        return at

    # What comes before its turn, or too late

    def _put_aside(self, data: bytes, at: int) -> None:
        """Keep what must wait for its turn; discard what nobody will ask for."""
        response = self._response
        if self.state is LINGERING or self.state is CLOSED:
            self._discard(len(data) - at)
        elif response is None or response.complete or response.keep_alive:
            self._hold(data, at)
        else:
            self._give_late(response, data[at:])

    def _give_late(self, response: Response, data: bytes) -> None:
        """Take what comes behind the last request: bytes of its body if it is UNTOLD."""
        response.close_after()
        request, rest = self._request, data.lstrip(LINE_ENDS)
        is_untold = request is not None and request.length == UNTOLD
        if is_untold and rest and self._request_handler is not None:
            self._request_handler.on_body(rest)
        if not response.complete and (rest or not is_untold):
            self.flow.hold_back(True)  # the client can read the response before we read on

    def _hold(self, data: bytes, at: int) -> None:
        """Keep the rest of ``data`` for later. If there is no room, let no request follow."""
        response = self._response
        if self.pipeline.hold(data, at):
            if self.state is not READING_BODY and self.state is not WAITING:
                self.state = self.state.to(WAITING)
        elif response is None or response.complete or self.state is READING_BODY:
            self._refuse(RequestError(Outcome.OVERLOADED, TOO_MUCH))
            return
        else:
            response.close_after()
        self.flow.hold_back(True)

    def _go_on(self) -> None:
        """Work on what waits, if its turn has come."""
        if self.flow.write_paused:
            return
        if self.state is WAITING:
            if self._response is not None and not self._response.complete:
                return
            self.state = self.state.to(IDLE)
        self.flow.hold_back(False)
        if self.pipeline.size:
            self._work(*self.pipeline.take())

    def _discard(self, size: int) -> None:
        self.progress += 1
        if self._linger is not None:
            self._linger.discard(size)

    # Responses

    def goes_on(self) -> bool:
        """Return whether another request may follow the one under way, as it stands now."""
        if self.shared.draining and not self.pipeline.size:
            return False
        request = self._request
        return not (self.state is READING_BODY and request and request.expects_continue)

    def is_in_step(self) -> bool:
        """Return whether what is unread of the request is little, and sure to come."""
        request = self._request
        if self.state is not READING_BODY or request is None:
            return True
        return 0 <= request.length <= IN_STEP and not (request.expects_continue and request.length)

    def takes_continue(self) -> bool:
        """Return whether the client waits to be asked for the body; it is asked once."""
        request = self._request
        if request is None or not request.expects_continue:
            return False
        request.expects_continue = False
        return True

    @property
    def _request(self) -> Request | None:
        return None if self._reader is None else self._reader.request

    def ended(self, keep_alive: bool) -> None:
        """Go on after a response has ended; ``keep_alive`` says if another request may follow."""
        self.progress += 1
        state = self.state
        if keep_alive:
            if state is RESPONDING:
                self.state = state.to(IDLE)
            if self.flow.read_paused:
                self.flow.resume_reading()  # whatever room the handler had
                self._go_on()
        elif state is not CLOSED:
            self._leave(state is READING_BODY or self.lingers)

    def expect_more(self) -> None:
        """Note that after the response more of the request may come."""
        self.lingers = True

    def want_body(self) -> None:
        """Read on, because the handler has room for more of the body."""
        if self.state is READING_BODY:
            self.flow.resume_reading()

    def _refuse(self, error: RequestError) -> None:
        """Refuse a malformed request when its turn comes, and end the connection."""
        response, handler = self._response, self._request_handler
        if self.state is not READING_BODY or response is None or handler is None:
            response, handler = Response(self, False), None
            self._response = response
        elif response.complete:
            response.close_after()
            self._leave(True)
            return
        response.close_after()
        self.state = self.state.to(RESPONDING)
        if handler is not None:
            if handler.on_refused(error) or response.complete:
                return
            handler.on_lost()
            if response.started:
                response.complete = True
                self._leave(True)
                return
        url = b"" if self._reader is None else self._reader.url
        self._request_handler = self._handler.on_refused(response, error, url)

    # The end

    def _leave(self, may_arrive: bool) -> None:
        """Close. If the client may still be sending, read what it sends first.

        Closing a socket with unread data resets it, and the client would lose the response
        (RFC 9112 section 9.6). Over TLS asyncio cannot close one half. So there the client
        is told the end by the response alone, until its request is read or it is silent.
        """
        self.pipeline.clear()
        flow = self.flow
        if flow.read_paused:
            flow.hold_back(False)
            flow.resume_reading()
        if not ((may_arrive or self.shared.draining) and self._may_linger(may_arrive)):
            self.close()
        elif not self.is_tls:
            self.state = self.state.to(LINGERING)
            self.transport.write_eof()
        elif self.lingers or self.state is not READING_BODY:
            self.state = self.state.to(LINGERING)
        elif self._response is not None:
            self._response.keep_alive = False  # it closes at the end of the body

    def _may_linger(self, may_arrive: bool) -> bool:
        """Begin to discard what comes, if there is a reason and a place for it."""
        if self._linger is None:
            self._linger = Linger.begin(self, self.shared, may_arrive, self.is_tls)
        return self._linger is not None

    def _stop_lingering(self) -> None:
        if self._linger is not None:
            self._linger = None
            self.shared.lingering.discard(self)

    def close(self) -> None:
        """Close once everything is written."""
        self.state = self.state.to(CLOSED)
        self._stop_lingering()
        self.transport.close()

    def abort(self) -> None:
        """Close at once, and drop what is not written yet."""
        self.transport.abort()

    # Time

    def check_timeouts(self, now: float) -> None:
        """End what takes too long; the server calls this a few times a second."""
        if self._half_closed:
            if probes.was_reset(self.transport):
                self.transport.abort()
                return
        elif self.flow.read_paused and not self.flow.write_paused:
            # The end of the stream is not read, though the client may read.
            self._half_closed = probes.polls(self.transport, probes.ENDED)
            if self._half_closed:
                self._ask_whether_it_reads()
        if self._is_discarding(now):
            return
        if self.state is IDLE and self._request_handler is not None:
            # An idle connection holds nothing of its last request.
            self._request_handler = self._response = None
            self._handler.on_idle()
            if self._reader is not None:
                self._reader.reset()
        flow = self.flow
        is_stuck = flow.write_paused or self.transport.is_closing()
        wait = wait_of(self.state, self.has_asked, flow.read_paused, is_stuck)
        watch = self._watch
        if watch is None:
            watch = self._watch = Watch()
        if watch.has_expired(wait, self.progress, now, self.shared.seconds[wait]):
            event = probes.WRITABLE if wait is Wait.READER else probes.READABLE
            if not (watch.respite() and probes.polls(self.transport, event)):
                self._expire(wait)

    def _is_discarding(self, now: float) -> bool:
        """Return whether what comes is discarded, and end that if it takes too long."""
        response, linger = self._response, self._linger
        if linger is None:
            # A body that comes at once, behind its early response, needs no place.
            if self.state is not READING_BODY or response is None or not response.complete:
                return False
            if not self._may_linger(True):
                self.close()
        elif linger.is_over(now, self.transport):
            if self.is_tls:
                self.close()
            else:
                self.transport.abort()
        return True

    def _expire(self, wait: Wait) -> None:
        if self.state is IDLE and wait is not Wait.READER:
            self.close()  # nothing was asked
        elif wait in (Wait.HEAD, Wait.BODY):
            late = Public(f"The request's {wait.value} took too long.")
            self._refuse(RequestError(Outcome.REQUEST_TIMEOUT, late))
        else:
            self.transport.abort()

    def _ask_whether_it_reads(self) -> None:
        """Send an interim response. The host of a client that is gone answers with a reset."""
        response, request = self._response, self._request
        # Inside a response it would become a part of it, and HTTP/1.0 does not know it.
        is_old = request is not None and request.version == "1.0"
        if not is_old and not (response and response.started):
            self.transport.write(CONTINUE)

    # The server

    @property
    def has_pending(self) -> bool:
        """Return whether a request has begun to arrive, or waits for its response."""
        if self.state is READING_BODY:
            return self._response is not None and not self._response.complete
        return self.state in (READING_HEAD, RESPONDING, WAITING)

    def drain(self) -> None:
        """Let a request end that would go on for long."""
        if self._request_handler is not None and self.has_pending:
            self._request_handler.on_drain()

    def shutdown(self) -> None:
        """End now, or with the response that is due."""
        response = self._response
        if self.state is IDLE:
            # If something can be read, the response to that will be the last.
            if not probes.polls(self.transport, probes.READABLE):
                self._leave(False)
        elif self.state in (READING_BODY, RESPONDING, WAITING) and response is not None:
            if response.complete:
                self._leave(True)  # answered, though its body has not come
            else:
                response.keep_alive = False

    def addresses(self) -> tuple[Any, Any]:
        """Return the addresses of this end and of the client's, as the loop knows them."""
        transport = self.transport
        return transport.get_extra_info("sockname"), transport.get_extra_info("peername")
