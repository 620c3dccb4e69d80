"""How long a client connection lives: its time-outs, and how it ends.

No request has a timer of its own: the backend walks all connections a few times
a second, and each looks at what it waits for.
"""

import abc
import asyncio
import fcntl
import select
import socket
import termios
from collections import deque
from typing import Any

import httptools
from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from ..message import Outcome, Public, RequestError
from .cycle import PublishCycle
from .gateway import Gateway, Waiting

OWN = ("parser", "pipeline")  # what uvicorn makes anew for each connection


class ClientConnection(HttpToolsProtocol):
    """What holds for a connection whatever is asked on it; ``refuse`` is the subclass's."""

    _active: Any = None  # the cycle whose turn it is, of either kind

    def __init__(
        self,
        gateway: Gateway,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # uvicorn's own constructor takes 5 us, most of it for what is alike in all connections.
        if gateway.connection_alike is None:
            alike = vars(HttpToolsProtocol(config, server_state, app_state, _loop))
            gateway.connection_alike = {n: v for n, v in alike.items() if n not in OWN}
        self.__dict__.update(gateway.connection_alike)
        self.parser = new_parser(self)
        self.pipeline = deque()
        self.gateway = gateway
        self._in_head = False
        self._progress = 0  # changes whenever something happened that restarts a time-out
        self._seen: tuple[Waiting, int] | None = None
        self._expires_at = 0.0
        self._deaf = False  # what arrives is discarded
        self._discarded = 0  # bytes
        self._goodbye = False
        self._half_closed = False
        self._respited: tuple[Waiting, int] | None = None  # the wait that was prolonged

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn does it, but for the addresses: most publishes do without."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.scheme = "https" if is_ssl(transport) else "http"

    def look_up_addresses(self) -> None:
        """Of both ends, once. The loop knows them; uvicorn makes two socket objects to ask."""
        if self.server is None:
            self.server = _address(self.transport.get_extra_info("sockname"))
            peer = _address(self.transport.get_extra_info("peername"))
            self.client = (peer[0], peer[1]) if peer and peer[1] is not None else None

    @abc.abstractmethod
    def refuse(self, error: RequestError) -> None:
        """Answer what cannot be read any further, in turn, and end the connection."""

    def shutdown(self) -> None:
        """uvicorn asks every connection to end: at once, or with the answer that is due."""
        waiting = self._waiting()
        if waiting is Waiting.REQUEST or self.has_not_asked:
            if not self._has_unread():  # else its last answer will end it
                self._say_goodbye(False)
        elif waiting is not Waiting.HEAD and self.cycle is not None:
            if not self._deaf:  # else its end is on its way, and not an abrupt one
                self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self._say_goodbye(True)  # answered, though its body has not come

    @property
    def has_not_asked(self) -> bool:
        """Nothing has come of the first request yet."""
        return self.cycle is None and not self._in_head and not self._deaf

    def _has_unread(self) -> bool:
        """A request waits in the socket for this loop's next turn."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))

    def _is_ready(self) -> bool:
        """Return whether the loop's next turn reads or writes something here."""
        poll = select.poll()
        events = select.POLLOUT if self.flow.write_paused else select.POLLIN
        poll.register(self.transport.get_extra_info("socket"), events)
        return bool(poll.poll(0))

    def _bytes_wait(self) -> bool:
        """Return whether bytes of the client wait in the socket; with TLS nobody can tell."""
        if self.scheme == "https":
            return False
        count = bytearray(4)
        fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, count)
        return any(count)

    def _is_between_requests(self) -> bool:
        """All that came was read and answered."""
        cycle: Any = self.cycle
        return not self._in_head and (
            cycle is None or (cycle.response_complete and not self._is_incomplete(cycle))
        )

    def has_pending(self) -> bool:
        """A request has begun to arrive, or waits for its answer."""
        return self._in_head or (self.cycle is not None and not self.cycle.response_complete)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn always closes
        """The client sends no more; whether it still reads is told by what it makes of a byte.

        ``nc -N`` closes its half and waits for the answer; a client that hung up
        looks the same until it is sent something, when its host resets the
        connection. An interim response (RFC 9110 section 15.2) asks at no cost.
        """
        cycle = self.cycle
        if cycle is None or self._deaf or self._in_head or not self.has_pending():
            return False
        if self.scheme == "https":
            return False  # asyncio's TLS ends both directions at once
        if self._is_incomplete(cycle):
            return False
        cycle.keep_alive = False  # the last one: there will be no request behind it
        if not self._half_closed:
            self._ask_whether_it_reads()
        return True

    def _ask_whether_it_reads(self) -> None:
        self._half_closed = True
        active = self._active
        # Within the answer of a page it would be a part of that.
        begun = not isinstance(active, PublishCycle) and active.response_started
        if not begun and self.parser.get_http_version() != "1.0":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _closed_unread(self) -> bool:
        """While requests wait in the pipeline, or a page has enough, no end is read either."""
        if not self.flow.read_paused or self.flow.write_paused:
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), select.POLLRDHUP)
        return bool(poll.poll(0))

    def _was_reset(self) -> bool:
        """A loop that has read the end no longer hears of a reset; the socket does."""
        connection = self.transport.get_extra_info("socket")
        return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def look_at_the_time(self, now: float) -> None:
        """Called a few times a second, so that no request needs a timer of its own."""
        if self._half_closed:
            if self._was_reset():
                self.transport.abort()
                return
        elif self._closed_unread():
            self._ask_whether_it_reads()
        waiting = self._waiting()
        seen = (waiting, self._progress)
        if seen != self._seen:
            self._seen = seen
            self._expires_at = now + self.gateway.timeouts.get(waiting, float("inf"))
        elif now >= self._expires_at:
            # After a pause of the whole process timers come before the bytes that were in
            # time. They get until the next look; what comes later does not.
            if self._respited != seen and self._is_ready():
                self._respited = seen
            else:
                self._expire(waiting)

    def _waiting(self) -> Waiting:
        if self._goodbye:
            return Waiting.GOODBYE
        if self.flow.write_paused or self.transport.is_closing():
            return Waiting.READER
        if self.flow.read_paused:
            return Waiting.ANSWER  # what is late now is late by our doing
        if self._in_head or self.cycle is None:
            return Waiting.HEAD
        if self._is_incomplete(self.cycle):
            return Waiting.BODY
        return Waiting.REQUEST if self.cycle.response_complete else Waiting.ANSWER

    def _expire(self, waiting: Waiting) -> None:
        late = RequestError(
            Outcome.REQUEST_TIMEOUT, Public(f"The request's {waiting.value} took too long.")
        )
        if waiting is Waiting.REQUEST or self.has_not_asked:
            self._say_goodbye(False)  # nothing was asked
        elif waiting in (Waiting.HEAD, Waiting.BODY):
            self.refuse(late)
        else:
            self.transport.abort()

    def _say_goodbye(self, unread: bool) -> None:
        """Close; where the client may still be sending, after reading what it sends.

        Closing a socket with unread data resets it, and the client would lose
        the answer (RFC 9112 section 9.6). Over TLS that is what a close does: it says
        close_notify, and reads on until the client has said it as well, or hung up.
        """
        self._deaf = self._goodbye = True
        self.flow.resume_reading()
        if unread and self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > self.gateway.http_server.max_body_bytes:
            self.transport.abort()

    @staticmethod
    def _is_incomplete(cycle: Any) -> bool:
        return not cycle.complete if isinstance(cycle, PublishCycle) else bool(cycle.more_body)


def new_parser(protocol: HttpToolsProtocol) -> httptools.HttpRequestParser:
    """Return a parser that calls the protocol back.

    Unlike uvicorn's it fails at bytes behind the last request of a connection, because
    they may be the body of a request without a length.
    """
    return httptools.HttpRequestParser(protocol)


def _address(info: Any) -> tuple[str, int | None] | None:
    """Host and port, or a Unix socket's path, as ASGI has them."""
    if isinstance(info, tuple):
        return info[0], info[1]
    return (info, None) if isinstance(info, str) else None
