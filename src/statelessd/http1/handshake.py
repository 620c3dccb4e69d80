"""Accepts clients over TLS, and counts them from then on.

An event loop that accepts by itself tells nobody of a client before its handshake is
complete, so that silent ones could take every descriptor.
"""

import asyncio
import socket
import ssl

from ..failures import is_shortage
from .connection import Connection
from .shared import Shared

AT_ONCE = 8  # clients accepted in one turn of the loop: those who give way close in the next
PAUSE = 0.1  # seconds until accepting is tried again without a descriptor


class Handshake:
    """A client that has connected and has not completed its TLS handshake: an ``Open``."""

    has_asked = has_pending = False

    def __init__(self, shared: Shared, client: socket.socket, context: ssl.SSLContext) -> None:
        self._shared = shared
        self._client = client
        self._connection = Connection(shared)  # which counts the client
        self._task = shared.loop.create_task(self._shake(context))
        self._task.add_done_callback(self._end)
        shared.places.begin(self)

    async def _shake(self, context: ssl.SSLContext) -> None:
        shared = self._shared
        await shared.loop.connect_accepted_socket(
            lambda: self._connection,
            self._client,
            ssl=context,
            ssl_handshake_timeout=shared.limits.head_timeout,
        )

    def _end(self, task: asyncio.Task[None]) -> None:
        self._shared.places.leave(self)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            self._client.close()
        # OSError: the client hung up, was too slow, or spoke no TLS.
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self._shared.failures.log("a TLS handshake", error)

    def check_timeouts(self, now: float) -> None:
        """Do nothing, because the event loop has a timer for each handshake."""

    def drain(self) -> None:
        """Do nothing, because nothing was asked."""

    def shutdown(self) -> None:
        """End now."""
        self._task.cancel()

    close = abort = shutdown


class TlsListener:
    """Accepts the clients of one socket over TLS."""

    def __init__(self, shared: Shared, listener: socket.socket, context: ssl.SSLContext) -> None:
        self._shared = shared
        self._listener = listener
        self._context = context
        self._is_closed = False
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more clients. The socket stays open."""
        self._is_closed = True
        self._shared.loop.remove_reader(self._listener)

    def _resume(self) -> None:
        if not self._is_closed:
            self._shared.loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # others are of a client that is gone already
                if is_shortage(error):
                    self._shared.failures.log("accepting a client", error)
                    self._shared.loop.remove_reader(self._listener)
                    self._shared.loop.call_later(PAUSE, self._resume)
                return
            client.setblocking(False)
            Handshake(self._shared, client, self._context)
