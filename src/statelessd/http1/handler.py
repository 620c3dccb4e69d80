"""What ``http1`` asks of those who answer requests, in the order of the calls.

A connection calls, for each request whose head it could read, ``on_head`` of its handler,
which returns what handles this request. That one is told, while its response has not
ended::

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
    """One request, and whoever answers it."""

    def on_body(self, piece: bytes) -> None:
        """Take the next piece of the body."""

    def on_end(self) -> None:
        """The request has been read."""

    def on_refused(self, error: RequestError) -> bool:
        """No more of the body will come. Return whether this handler still answers."""

    def on_drain(self) -> None:
        """The server stops: a request that goes on for long has to end."""

    def on_lost(self) -> None:
        """The client is gone."""


class Handler(Protocol):
    """What is asked on one connection, and whoever answers it."""

    def shortcut(self, data: bytes) -> bool:
        """Take ``data``, which is the first that was read of a request, or leave it: False.

        Whoever takes it begins the response with ``connection.begin``.
        """

    def on_head(self, request: Request, response: Response) -> RequestHandler:
        """Return what handles this request; it may have been answered by then."""

    def on_refused(self, response: Response, error: RequestError, url: bytes) -> RequestHandler:
        """Answer what cannot be read; ``url`` is empty if it was not even read."""
