"""One session's way to a node: finds one, and reports how it served."""

import asyncio
from collections.abc import Callable
from typing import Any

from ..tls.client import Trust
from . import replies
from .nodes import Address, Node, Nodes
from .race import ConnectionRace, NotConnectedError
from .unreachable import SILENT, in_full, why

SHORT_PATIENCE = 1.0  # seconds
GOODBYE = 1.0  # seconds for the node's own, in TLS, before its socket is dropped


class Dialer:
    """Connects to one address at a time, and counts there for as long.

    ``avoid`` is a node that the first connection must not go to.
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
        self._race: ConnectionRace | None = None
        self._address: Address | None = None

    @property
    def node(self) -> Node | None:
        """Return the node of the connection, if there is one."""
        return None if self._address is None else self._address.node

    @property
    def has_another(self) -> bool:
        """Return whether a node was not tried yet since the last connection or pause."""
        return self._race is not None and not self._race.is_over

    async def connect(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        timeout: float,  # noqa: ASYNC109 - in seconds, shared out among the nodes
    ) -> asyncio.Transport:
        """Connect ``make()`` to the next node that answers, or raise NotConnectedError."""
        race = self._race
        if race is None or race.is_over:
            race = self._race = ConnectionRace(self._nodes, self._loop, self._avoid)
        until = self._loop.time() + timeout
        self._address, connected = await race.connect(timeout)
        tls: dict[str, Any] = {}
        if self._trust is not None:
            tls["ssl"] = self._trust.context
            tls["server_hostname"] = self._trust.name_of(self._address.node.host.name)
            tls["ssl_shutdown_timeout"] = GOODBYE
        try:
            async with asyncio.timeout(self.patience(until - self._loop.time())):
                transport, _ = await self._loop.create_connection(make, sock=connected, **tls)
                return transport
        except TimeoutError:
            reason = logged = f"{SILENT}, or not in TLS"
        except OSError as error:
            reason, logged = why(error), in_full(error)
        self._address.is_down(self._loop.time(), logged)
        raise NotConnectedError(reason, logged)

    def patience(self, timeout: float) -> float:
        """Return the seconds for the node's first word: fewer while there is another node."""
        return min(timeout, SHORT_PATIENCE) if self.has_another else timeout

    def opened(self) -> None:
        """Report that the login has succeeded."""
        self._race = self._avoid = None
        if self._address is not None:
            self._address.is_up()

    def said(self, code: int, text: str) -> None:
        """Report the broker's Close, which says nothing about the node unless it shuts down."""
        if self._address is None:
            return
        # An operator who closes one connection uses the same code as a node that stops.
        if replies.closing_reason(code, text) is replies.Reason.NODE_SHUTDOWN:
            self._address.is_down(self._loop.time(), "it is shutting down")
        else:
            self._address.is_up()

    def stalled(self, reason: str) -> None:
        """Report that the node took messages and confirmed none."""
        if self._address is not None:
            self._address.is_down(self._loop.time(), reason, stalled=True)

    def left(self, *, silent: bool = False) -> None:
        """Report that the connection is gone; ``silent``: the node sent nothing on it."""
        address, self._address = self._address, None
        if address is None:
            return
        if silent:
            address.is_down(self._loop.time(), "it accepts connections and does not answer")
        address.end()
