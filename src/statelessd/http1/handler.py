"""The interface between a connection and what answers its requests.

For each request whose head can be read, a connection calls ``on_head`` of its handler. It
returns a handler of this request. Until the response has ended, the connection calls that
one in this order::

    on_head  (on_body)*  on_end
                |           |
                +-----+-----+----- on_refused   the rest cannot be read, or came too late
                                   on_drain     the server stops
                                   on_lost      the client is gone; no call follows

``on_body`` may still follow on ``on_end`` where ``request.length`` is UNTOLD.
"""

from typing import Protocol

from ..message import RequestError
from .reader import Request
from .response import Response


class RequestHandler(Protocol):
    """Answers one request."""

    __slots__ = ()

    def on_body(self, piece: bytes) -> None:
        """Take the next piece of the body."""

    def on_end(self) -> None:
        """Take note that the request has been read."""

    def on_refused(self, error: RequestError) -> bool:
        """Take note that no more of the body comes. Return whether this handler still answers."""

    def on_drain(self) -> None:
        """Come to an end, because the server stops."""

    def on_lost(self) -> None:
        """Take note that the client is gone."""


class Handler(Protocol):
    """Decides what answers the requests of one connection."""

    __slots__ = ()

    def shortcut(self, data: bytes) -> bool:
        """Take the first bytes of a request and return True, or leave them.

        A handler that takes them begins the response with ``connection.begin``.
        """

    def on_head(self, request: Request, response: Response) -> RequestHandler:
        """Return the handler of this request, which may have been answered already."""

    def on_idle(self) -> None:
        """Drop what was kept of the last request, because the connection has become idle."""

    def on_refused(
        self,
        response: Response,
        error: RequestError,
        url: bytes,
        headers: dict[bytes, bytes] | None = None,
    ) -> RequestHandler:
        """Answer a request that cannot be read.

        ``url`` is empty, and ``headers`` is None, if that was not read either.
        """
