"""A race of connection attempts: from the order of the nodes to a connected socket."""

import asyncio
import socket

from ..failures import is_shortage
from .nodes import Address, Node, Nodes
from .unreachable import SILENT, why

# How long an address may be silent until the next one is tried beside it (RFC 8305, section 5).
STAGGER = 0.3  # seconds

Attempts = dict[asyncio.Task[socket.socket], Address]


class NotConnectedError(Exception):
    """No node that was left could be reached. The text says why and names no address.

    ``logged`` is the same with details for the log alone.
    """

    def __init__(self, reason: str, logged: str = "") -> None:
        super().__init__(reason)
        self.logged = logged or reason


class ConnectionRace:
    """Tries each address of each node once; ``connect`` goes on where the last call stopped."""

    def __init__(
        self, nodes: Nodes, loop: asyncio.AbstractEventLoop, avoid: Node | None = None
    ) -> None:
        self._loop = loop
        self._nodes = nodes.in_order(loop.time(), avoid)
        self._addresses: list[Address] = []

    @property
    def is_over(self) -> bool:
        """Return whether nothing is left to try."""
        return not self._nodes and not self._addresses

    async def connect(self, timeout: float) -> tuple[Address, socket.socket]:  # noqa: ASYNC109 - shared out among the nodes
        """Return the first address that answers within ``timeout`` seconds, and its socket.

        The caller calls the address's ``end``. Raise NotConnectedError.
        """
        attempts: Attempts = {}
        until = self._loop.time() + timeout
        try:
            async with asyncio.timeout_at(until):
                return await self._race(attempts, until)
        except TimeoutError:
            for address in attempts.values():
                address.is_down(self._loop.time(), SILENT)
            raise NotConnectedError(SILENT) from None
        finally:
            # Not waited for: a caller cancelled meanwhile would lose the winner's socket.
            for task, address in attempts.items():
                address.end()
                task.add_done_callback(_discard)
                task.cancel()

    async def _race(self, attempts: Attempts, until: float) -> tuple[Address, socket.socket]:
        reason = "no node is left"
        while True:
            address, unresolved = await self._next(until)
            reason = unresolved or reason
            if address is not None:
                address.begin(self._loop.time())
                attempts[self._loop.create_task(self._attempt(address))] = address
            elif not attempts:
                raise NotConnectedError(reason)
            patience = None if self.is_over else STAGGER
            done, _ = await asyncio.wait(
                attempts, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if task.exception() is None:
                    return self._won(attempts, task)
                failed = attempts.pop(task)
                failed.end()
                reason = why(task.exception())
                if not is_shortage(task.exception()):  # which is ours and not the node's
                    failed.is_down(self._loop.time(), reason)

    def _won(
        self, attempts: Attempts, winner: asyncio.Task[socket.socket]
    ) -> tuple[Address, socket.socket]:
        """Mark the attempts that began before the winner as silent; keep the others for later."""
        tasks = list(attempts)  # in the order in which they began
        place = tasks.index(winner)
        for task in tasks[:place]:
            attempts[task].is_down(self._loop.time(), SILENT)
        for task in tasks[place + 1 :]:
            self._addresses.insert(0, attempts[task])
        return attempts.pop(winner), winner.result()

    async def _next(self, until: float) -> tuple[Address | None, str]:
        """Return what to try next, if anything, and why a name did not lead to an address."""
        reason = ""
        while not self._addresses and self._nodes:
            share = (until - self._loop.time()) / len(self._nodes)
            node = self._nodes.pop(0)
            try:
                async with asyncio.timeout(share):
                    found = await self._loop.getaddrinfo(
                        node.host.name, node.host.port, type=socket.SOCK_STREAM
                    )
            except (OSError, UnicodeError) as error:
                reason = why(error)
                if not is_shortage(error):
                    node.is_down(self._loop.time(), reason)
            else:
                resolved = [(family, address) for family, _, _, _, address in found]
                self._addresses = node.addresses(resolved, self._loop.time())
        return (self._addresses.pop(0) if self._addresses else None), reason

    async def _attempt(self, address: Address) -> socket.socket:
        attempt = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            attempt.setblocking(False)
            attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(attempt, address.address)
        except BaseException:
            attempt.close()
            raise
        return attempt


def _discard(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
