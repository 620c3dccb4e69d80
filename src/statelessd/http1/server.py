"""Serves client connections on sockets that are bound already, and stops in order."""

import asyncio
import math
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial

from .connection import Connection
from .handshake import TlsListener
from .shared import Shared

BACKLOG = 2048
LOOK = 0.02  # seconds between checks of what is left
UNSENT = 128 * 1024  # bytes of responses that the kernel takes before the client reads


class Server:
    """Serves the sockets of one listener. A stop also waits for the end of ``tasks``.

    Call ``start``; then ``close_listeners``, ``drain`` and ``finish`` in this order.
    ``hurry`` ends every wait at once.
    """

    def __init__(self, shared: Shared, tasks: set[asyncio.Task[None]]) -> None:
        self._shared = shared
        self._loop = shared.loop
        self._tasks = tasks
        self._servers: list[asyncio.Server | TlsListener] = []
        self._sockets: Sequence[socket.socket] = ()
        self._date: asyncio.TimerHandle | None = None
        self.in_a_hurry = False

    async def start(
        self, sockets: Sequence[socket.socket], context: ssl.SSLContext | None = None
    ) -> None:
        """Accept connections, over TLS with ``context``."""
        self._keep_date()
        self._sockets = sockets
        for each in sockets:
            if each.family != socket.AF_UNIX:
                # Accepted sockets inherit it. Without it the kernel keeps megabytes for each
                # client that asks and does not read.
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
            if context is not None:
                each.listen(BACKLOG)
                self._servers.append(TlsListener(self._shared, each, context))
                continue
            server = await self._loop.create_server(
                partial(Connection, self._shared), sock=each, backlog=BACKLOG
            )
            self._servers.append(server)

    def _keep_date(self) -> None:
        pause = 1.0 - time.time() % 1.0
        self._date = self._loop.call_later(pause, self._keep_date)
        self._shared.failures.guard("setting the date of responses", self._shared.set_date)

    async def close_listeners(self) -> None:
        """Accept no more connections. Return when those accepted last can be seen."""
        for server in self._servers:
            server.close()
        await asyncio.sleep(LOOK)

    def drain(self) -> None:
        """Tell requests that may last long to come to an end."""
        for connection in list(self._shared.connections):
            connection.drain()

    async def finish(self, until: float) -> None:
        """End each connection after the response that is due, or at ``until`` (loop time)."""
        connections = self._shared.connections
        for connection in list(connections):
            connection.shutdown()
        await self.wait_for(lambda: not connections and not self._tasks, until)
        for task in list(self._tasks):
            task.cancel("the time for a stop is up")
        if self._date is not None:
            self._date.cancel()
        for server in self._servers:
            server.close()
        for each in self._sockets:
            each.close()

    async def wait_for(
        self, condition: Callable[[], bool], until: float, patience: float = math.inf
    ) -> None:
        """Wait for a condition that has no event, at most to ``until`` or to ``hurry``.

        ``patience``: seconds on a machine that has time. They are counted in looks, which
        take longer on a busy machine, because clients are slower there as well.
        """
        looks = patience / LOOK
        while looks > 0 and not condition() and self._loop.time() < until and not self.in_a_hurry:
            looks -= 1
            await asyncio.sleep(LOOK)

    def hurry(self) -> None:
        """End every wait now."""
        self.in_a_hurry = True
