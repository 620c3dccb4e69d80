"""A bridge from requests to an ASGI application (https://asgi.readthedocs.io, HTTP 2.3).

An application that handles its body while it arrives may leave a function in
``scope["state"]["cut"]``. It is called with the reason if the body ends too early, and
with None if the client is gone. The application then writes the end of the response.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from http.client import responses
from typing import Any
from urllib.parse import unquote

from ..message import FAULT, STOPPING, Outcome, RequestError
from .budget import TOO_MANY_BODIES, Account, Holding
from .handler import Handler
from .reader import UNTOLD, Request
from .response import Response, Turn

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Application = Callable[
    [Scope, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]
]

HIGH_WATER = 64 * 1024  # bytes of a body that the application has not asked for yet
SHUTTING_DOWN = RequestError(Outcome.SHUTTING_DOWN, STOPPING)
WITHOUT_BODY = (204, 304)  # RFC 9110 sections 15.3.5, 15.4.5

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_NOT_A_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Bridge:
    """The application, and the tasks that answer its requests."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.tasks: set[asyncio.Task[None]] = set()

    def begin(
        self, request: Request, response: Response, handler: Handler, state: dict[str, Any]
    ) -> "ApplicationRequest":
        """Return what handles the request; ``handler`` answers what the application does not.

        The body counts in ``state["account"]`` until the application has it, and without one
        in the budget of senders who are not verified.
        """
        made = ApplicationRequest(request, response, handler, state)
        shared = response.connection.shared
        task = shared.loop.create_task(made.run(self._application, shared.turns.come()))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return made


class ApplicationRequest:
    """One request to the application: a ``RequestHandler``."""

    def __init__(
        self, request: Request, response: Response, handler: Handler, state: dict[str, Any]
    ) -> None:
        self._request = request
        self._response = response
        self._handler = handler
        self._scope = _scope(request, response.connection, state)
        self._body = bytearray()
        account: Account = state.get("account", response.connection.shared.budget)
        self._holding = Holding(account)
        self._more = True  # more of the body is to come
        self._told = False  # the application has the whole body
        self._gone = False  # nobody reads the response any more
        self._changed = asyncio.Event()
        self._chunked = False
        self._left: int | None = None  # bytes of the response; None: as many as come
        self._keep_alive = True

    # What the connection calls

    def on_body(self, piece: bytes) -> None:
        """Keep the piece until the application asks for it."""
        if self._request.length == UNTOLD:
            return  # to an application it is a request without a body
        if not self._holding.hold(len(self._body) + len(piece)):
            raise RequestError(Outcome.OVERLOADED, TOO_MANY_BODIES)
        self._body += piece
        if len(self._body) > HIGH_WATER:
            self._response.connection.flow.pause_reading()
        self._changed.set()

    def on_end(self) -> None:
        self._more = False
        self._changed.set()

    def on_refused(self, error: RequestError) -> bool:
        """Let the application write the end of the response if it has begun with the body."""
        if self._cut(error):
            return True
        if self._response.started:
            return False
        self._refuse(error)
        return True

    def on_drain(self) -> None:
        if self._cut(SHUTTING_DOWN):
            self._response.close_after()

    def on_lost(self) -> None:
        self._gone = True
        self._cut(None)
        self._changed.set()

    def _cut(self, error: RequestError | None) -> bool:
        """Tell an application that reads a stream that no more comes. Return whether it does."""
        cut = self._scope["state"].get("cut")
        if cut is None:
            return False
        cut(error)
        self.on_end()
        return True

    def _refuse(self, error: RequestError) -> None:
        """Answer instead of the application, with the request's own id."""
        self.on_lost()
        self._handler.on_refused(self._response, error, self._request.url, self._request.headers)

    # What the application calls

    async def run(self, application: Application, turn: Awaitable[None]) -> None:
        """Answer the request in its turn, whatever the application does."""
        response = self._response
        try:
            await turn
            await application(self._scope, self._receive, self._send)
        except Exception:
            logger.exception("the application failed")
        finally:
            self._body.clear()
            self._holding.hold(0)
        if self._gone or response.complete:
            return
        if response.started:
            logger.error("the application did not end its response")
            response.connection.close()
        else:
            response.keep_alive = False
            self._refuse(RequestError(Outcome.INTERNAL_ERROR, FAULT))

    async def _receive(self) -> Event:
        self._response.send_continue()
        while not self._is_over and (self._told or (self._more and not self._body)):
            self._changed.clear()
            await self._changed.wait()
        if self._is_over:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        self._holding.hold(0)
        self._told = not self._more
        self._response.connection.want_body()
        return {"type": "http.request", "body": body, "more_body": self._more}

    @property
    def _is_over(self) -> bool:
        return self._gone or self._response.complete

    async def _send(self, event: Event) -> None:
        await self._response.connection.flow.drain()
        if self._gone:
            return
        expected = "http.response.body" if self._response.started else "http.response.start"
        if self._response.complete or event["type"] != expected:
            raise RuntimeError(f"{event['type']} came instead of {expected}")
        if self._response.started:
            self._send_body(event.get("body", b""), more=event.get("more_body", False))
        else:
            if event["status"] < 300 and "cut" in self._scope["state"]:
                # It reads a stream while it answers. Within the response it would be too late.
                self._response.send_continue()
            self._start(event["status"], event.get("headers", ()))

    def _start(self, status: int, headers: Any) -> None:
        response = self._response
        self._keep_alive = response.keeps_alive()
        lines = [b"HTTP/1.1 %d %b" % (status, responses.get(status, "").encode())]
        lines.append(b"date: " + response.connection.shared.date)
        names = set()
        for name, value in headers:
            if not _NAME.fullmatch(name) or _NOT_A_VALUE.search(value):
                raise RuntimeError(f"{name!r}: {value!r} is not a header field")
            lines.append(name.lower() + b": " + value)
            names.add(name.lower())
            if name.lower() == b"content-length":
                self._left = int(value)
            elif name.lower() == b"connection" and b"close" in value.lower():
                self._keep_alive = False
        if self._request.method == "HEAD" or status in WITHOUT_BODY:
            self._left = 0
        elif self._left is None and self._request.version == "1.0":
            self._keep_alive = False  # the body ends with the connection
        elif self._left is None:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked")
        if not self._keep_alive and b"connection" not in names:
            lines.append(b"connection: close")
        response.write(b"\r\n".join((*lines, b"", b"")))

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._request.method == "HEAD":
            body = b""
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the response is not as long as its Content-Length")
        elif self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        if more:
            self._response.write(body)
        else:
            self._changed.set()
            self._response.end(body, self._keep_alive and self._response.keep_alive)


def _scope(request: Request, connection: Turn, state: dict[str, Any]) -> Scope:
    server, client = connection.addresses()
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "method": request.method,
        "scheme": "https" if connection.is_tls else "http",
        "path": unquote(request.path.decode("latin-1")),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": request.fields,
        "server": _address(server),
        "client": _address(client) if isinstance(client, tuple) else None,
        "state": state,
    }


def _address(found: Any) -> tuple[str, int | None] | None:
    """Return host and port, or a Unix socket's path, as ASGI has them."""
    if isinstance(found, tuple):
        return found[0], found[1]
    return (found, None) if isinstance(found, str) else None
