"""The response to one request, in its turn."""

import asyncio
from typing import Any, Protocol

from .flow import FlowControl
from .shared import Shared
from .states import State

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # RFC 9110 section 15.2.1
IN_STEP = 64 * 1024  # bytes of an unread body worth reading to keep a connection


class Turn(Protocol):
    """The connection whose turn it is to respond, as responses and handlers see it."""

    __slots__ = ()

    transport: asyncio.Transport
    flow: FlowControl
    shared: Shared
    state: State

    @property
    def is_tls(self) -> bool: ...
    def addresses(self) -> tuple[Any, Any]: ...
    def goes_on(self) -> bool: ...
    def is_in_step(self) -> bool: ...
    def takes_continue(self) -> bool: ...
    def ended(self, keep_alive: bool) -> None: ...
    def expect_more(self) -> None: ...
    def want_body(self) -> None: ...
    def close(self) -> None: ...


class Response:
    """The response to one request. After it is ``complete`` nobody may write.

    ``keep_alive`` says whether another request may follow. A handler may set it to false,
    but not to true. ``started`` says that a part was written.
    """

    __slots__ = ("complete", "connection", "keep_alive", "started")

    def __init__(self, connection: Turn, keep_alive: bool) -> None:
        self.connection = connection
        self.keep_alive = keep_alive
        self.complete = self.started = False

    def keeps_alive(self) -> bool:
        """Return whether the connection goes on after this response, if it ends now."""
        return self.keep_alive and self.connection.goes_on()

    def close_after(self) -> None:
        """Let no request follow, because more of this one may arrive."""
        self.keep_alive = False
        self.connection.expect_more()

    def send_continue(self) -> None:
        """Ask for the body, if the client waits for that (RFC 9110 section 10.1.1)."""
        if not self.started and self.connection.takes_continue():
            self.connection.transport.write(CONTINUE)

    def write(self, data: bytes) -> None:
        """Write a part of the response."""
        self.started = True
        self.connection.transport.write(data)

    def end(self, data: bytes, keep_alive: bool) -> None:
        """Write the rest of the response, or all of it. No other call follows.

        ``keep_alive`` is what ``keeps_alive`` returned when the head was written.
        """
        self.complete = True
        connection = self.connection
        connection.transport.write(data)
        connection.ended(keep_alive)
