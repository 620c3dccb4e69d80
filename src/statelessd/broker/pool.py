"""Sessions by virtual host and credentials: found, made, limited, and ended when idle.

The password is part of the key, by its keyed digest: a wrong password must
never ride on a connection that a right one opened.
"""

import asyncio
import logging
from typing import Any

from ..config import RabbitMQ
from ..message import Credentials
from .blockade import Blockade
from .session import Session, SessionState
from .statistics import SessionStatistics

logger = logging.getLogger(__name__)

LEAVING = (SessionState.CLOSING, SessionState.ENDED)


class Pool:
    """``statistics`` has an entry for each (virtual host, user) whose login once succeeded."""

    def __init__(
        self,
        settings: RabbitMQ,
        *,
        client_properties: dict[str, Any],
        blockade: Blockade,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.statistics: dict[tuple[str, str], SessionStatistics] = {}
        self._settings = settings
        self._client_properties = client_properties
        self._blockade = blockade
        self._loop = loop
        self._sessions: dict[tuple[str, bytes], Session] = {}
        self._leaving: set[Session] = set()

    def session(self, virtual_host: str, credentials: Credentials) -> Session | None:
        """The session to publish on; None when the limit of connections leaves no room for it."""
        key = (virtual_host, credentials.digest)
        session = self._sessions.get(key)
        if session is not None and session.state not in LEAVING:
            return session
        if not self._make_room():
            return None
        if session is not None:
            self._leaving.add(session)
        session = self._sessions[key] = Session(
            virtual_host,
            credentials,
            self._settings,
            client_properties=self._client_properties,
            statistics=self._statistics_of,
            blockade=self._blockade,
            loop=self._loop,
        )
        return session

    def sessions(self) -> list[Session]:
        """All that may still have a connection."""
        return [*self._sessions.values(), *self._leaving]

    def tick(self, now: float) -> None:
        """Once a second: let each session look at the time, forget those that ended."""
        for key, session in list(self._sessions.items()):
            session.tick(now)
            if session.state is SessionState.ENDED or (
                session.state is SessionState.IDLE and not session.load
            ):
                del self._sessions[key]
        for session in list(self._leaving):
            session.tick(now)
            if session.state is SessionState.ENDED:
                self._leaving.discard(session)

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - bounds the goodbye only
        """Close every channel and connection in order; drop what takes over ``timeout`` seconds."""
        sessions = self.sessions()
        for session in sessions:
            session.close("shutting down")
        await asyncio.gather(*(session.wait_closed(timeout) for session in sessions))

    def _make_room(self) -> bool:
        holders = [s for s in self.sessions() if s.holds_connection]
        if len(holders) < self._settings.max_connections:
            return True
        idle = [s for s in holders if s.state is SessionState.OPEN and not s.load]
        if not idle:
            return False
        min(idle, key=lambda s: s.used_at).close("the least recently used, at the limit")
        return True

    def _statistics_of(self, virtual_host: str, username: str) -> SessionStatistics:
        return self.statistics.setdefault((virtual_host, username), SessionStatistics())
