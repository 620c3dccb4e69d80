"""One session's way to a node: looks for one, and tells what it proved to be like."""

import asyncio
import socket
from collections.abc import Callable

from ..tls.client import Trust
from . import refusals
from .nodes import Address, Node, Nodes
from .race import ConnectionRace, NotConnectedError
from .unreachable import SILENT, in_full, why

SHORT_PATIENCE = 1.0  # seconds
GOODBYE = 1.0  # seconds for the node's own, in TLS, before its socket is dropped


class Dialer:
    """Counts for at most one address at a time: that of the connection at hand.

    ``avoid``: a node that its first connection must not go to.
    """

    def __init__(
        self,
        nodes: Nodes,
        trust: Trust | None,
        loop: asyncio.AbstractEventLoop,
        avoid: Node | None = None,
    ) -> None:
        self._nodes = nodes
        self._avoid = avoid
        self._trust = trust
        self._loop = loop
        self._round: ConnectionRace | None = None
        self._address: Address | None = None

    @property
    def node(self) -> Node | None:
        """To which the connection goes, if there is one."""
        return None if self._address is None else self._address.node

    @property
    def has_another(self) -> bool:
        """Some node was not tried yet, since the last connection or the last pause."""
        return self._round is not None and not self._round.is_over

    async def connect(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        timeout: float,  # noqa: ASYNC109 - shared out among the nodes
    ) -> asyncio.Transport:
        """Connect what ``make`` returns to the next node that answers. Raises NotConnectedError."""
        if not self.has_another:
            self._round = ConnectionRace(self._nodes, self._loop, self._avoid)
        assert self._round is not None  # noqa: S101 - made above
        until = self._loop.time() + timeout
        self._address, connected = await self._round.connect(timeout)
        try:
            async with asyncio.timeout(self.patience(until - self._loop.time())):
                return await self._shake_hands(make, self._address, connected)
        except TimeoutError:
            reason = logged = f"{SILENT}, or not in TLS"
        except OSError as error:
            reason, logged = why(error), in_full(error)
        self._address.is_down(self._loop.time(), logged)
        raise NotConnectedError(reason, logged)

    async def _shake_hands(
        self, make: Callable[[], asyncio.BaseProtocol], address: Address, connected: socket.socket
    ) -> asyncio.Transport:
        trust = self._trust
        transport, _ = await self._loop.create_connection(
            make,
            sock=connected,
            ssl=None if trust is None else trust.context,
            server_hostname=None if trust is None else trust.name_of(address.node.host.name),
            ssl_shutdown_timeout=None if trust is None else GOODBYE,
        )
        return transport

    def patience(self, timeout: float) -> float:
        """Seconds for the node's first word: fewer than ``timeout`` while there is another."""
        return min(timeout, SHORT_PATIENCE) if self.has_another else timeout

    def opened(self) -> None:
        """The node does what it is there for."""
        self._round = self._avoid = None
        if self._address is not None:
            self._address.is_up()

    def said(self, code: int, text: str) -> None:
        """The broker closed the connection: of a login that is no word on the node."""
        if self._address is None:
            return
        if refusals.is_node_shutdown(code, text):
            self._address.is_down(self._loop.time(), "it shuts down")
        else:
            self._address.is_up()

    def stalled(self, reason: str) -> None:
        """The node took messages and did nothing with them."""
        if self._address is not None:
            self._address.is_stalled(self._loop.time(), reason)

    def left(self, *, silent: bool = False) -> None:
        """The connection is gone; ``silent``: the node never said a word on it."""
        address, self._address = self._address, None
        if address is None:
            return
        if silent:
            address.is_down(self._loop.time(), "it accepts connections and does not answer")
        address.end()
