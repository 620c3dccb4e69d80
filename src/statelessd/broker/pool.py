"""Sessions by virtual host and credentials: found, made, limited, and ended when idle.

The password is part of the key, by its keyed digest. A wrong password must never use a
connection that a right one opened.
"""

import asyncio
import logging
import time
from operator import attrgetter
from typing import Final

from ..config.hosts import hosts_of
from ..failures import Failures
from ..message import Credentials, Key
from ..tls.client import Trust
from .close_reason import CloseReason
from .dialer import Dialer
from .login_gate import Sender, Waiter
from .nodes import Node, Nodes
from .pending import Publish
from .quarantine import Quarantine
from .session import Session
from .shared import Shared
from .state import SessionState
from .statistics import COUNTS, SessionStatistics

logger = logging.getLogger(__name__)

MOST_LOGINS = 10_000  # whose figures are kept apart; tokens can have subjects without end
FIRST_REFUGE, LONGEST_REFUGE = 30.0, 600.0  # seconds until a stuck login tries another node again
OPEN: Final = SessionState.OPEN
MOST_REFUSED = 1000  # sessions whose refusal is remembered
MOST_DRAIN = 60.0  # seconds for what a replaced session has not settled yet


class Pool:
    """The sessions of one backend.

    ``statistics`` has an entry for each virtual host and user whose login has succeeded.
    Of too many, the first that have no session are added to ``forgotten``.
    """

    def __init__(self, shared: Shared, trust: Trust | None) -> None:
        self.statistics: dict[tuple[str, str], SessionStatistics] = {}
        self.forgotten = SessionStatistics()
        self.nodes = Nodes(hosts_of(shared.settings))
        self._shared, self._settings, self._loop = shared, shared.settings, shared.loop
        self._trust = trust
        self.max_connections = shared.settings.max_connections  # those that are logged in
        self._failures = Failures(logger)
        self._gate = shared.gate
        self._ticked_at = self._loop.time()
        self._sessions: dict[Key, Session] = {}
        self._successors: dict[Key, Session] = {}
        self._draining: dict[Session, float] = {}  # since which loop time
        self._refused: dict[Waiter, None] = {}  # in the order of time
        self._quarantines: dict[Key, Quarantine] = {}
        # For stuck logins: when they may try another node again, and the pause after that.
        self._refuges: dict[Key, tuple[float, float]] = {}

    def __repr__(self) -> str:
        return (
            f"<Pool: sessions {[*self._sessions.values()]}, "
            f"successors {[*self._successors.values()]}, draining {[*self._draining]}, "
            f"quarantines {[*self._quarantines.values()]}, nodes {[*self.nodes]}>"
        )

    def session(
        self, virtual_host: str, credentials: Credentials, sender: Sender | None
    ) -> Session:
        """Return the session to publish on, which may have to log in first."""
        key = credentials.key(virtual_host)
        session = self._sessions.get(key)
        if session is not None and (session.state is OPEN or not session.is_leaving):
            return session
        if session is not None:
            self._draining[session] = self._loop.time()
        self._sessions[key] = made = self._new_session(virtual_host, credentials, sender)
        return made

    def is_connected(self, virtual_host: str, credentials: Credentials) -> bool:
        """Return whether the session of this login is open."""
        session = self._sessions.get(credentials.key(virtual_host))
        return session is not None and session.state is OPEN

    def _new_session(
        self,
        virtual_host: str,
        credentials: Credentials,
        sender: Sender | None = None,
        avoid: Node | None = None,
        quarantine: Quarantine | None = None,
    ) -> Session:
        """Return a session; with ``quarantine``, the one that the quarantine sends on."""
        address = None
        if not self._gate.knows(credentials.key(virtual_host)):
            address = "" if sender is None else sender.address()
        session = Session(
            virtual_host,
            credentials,
            self._shared,
            owner=self,
            dialer=Dialer(self.nodes, self._trust, self._loop, avoid),
            address=address,
            counted=self.statistics.get((virtual_host, credentials.name)),
            on_crash=self._crashed
            if quarantine is None
            else lambda _, lost: quarantine.crashed(lost),
            watcher=quarantine,
        )
        if quarantine is None:
            session.channels.quarantine = self._quarantines.get(session.key)
        elif quarantine.session is not None:  # it is closing, or was refused
            self._draining[quarantine.session] = self._loop.time()
        return session

    def _crashed(self, session: Session, lost: list[Publish]) -> None:
        """Find out whose message it was: the broker closed a connection with 541."""
        virtual_host, credentials, key = session.virtual_host, session.credentials, session.key
        if key not in self._quarantines:
            self._quarantines[key] = Quarantine(
                lambda: self._sessions.get(key),
                lambda quarantine: self._new_session(
                    virtual_host, credentials, quarantine=quarantine
                ),
                max(1, self._settings.in_flight_per_connection // 4),
                self._loop,
            )
        session.channels.quarantine = self._quarantines[key]
        self._quarantines[key].suspect({publish.message.exchange for publish in lost})

    def sessions(self) -> list[Session]:
        """Return all sessions that may still have a connection."""
        probing = [p.session for p in self._quarantines.values() if p.session is not None]
        return [*self._sessions.values(), *self._successors.values(), *self._draining, *probing]

    def check(self, now: float) -> None:
        """Let each session find out what does not answer. Several times a second."""
        for session in self.sessions():
            if session.load:
                try:
                    session.check(now)
                except Exception as error:  # the heartbeats of all others must not stop over it
                    self._failures.log("checking for stuck queues", error)
                    session.stalled("internal error", CloseReason.NETWORK)
        for key, quarantine in list(self._quarantines.items()):
            quarantine.check(now)
            if quarantine.is_over:
                self._end_quarantine(key, now)
        for key, successor in list(self._successors.items()):
            if successor.is_refuge:
                self._replace(key, successor, now)
        if len(self.nodes) > 1:
            for key, session in self._sessions.items():
                if session.load and session.stall.is_stuck(now):
                    self._look_for_refuge(key, session, now)

    def _end_quarantine(self, key: Key, now: float) -> None:
        session = self._quarantines.pop(key).session
        if session is not None:
            if not session.load:
                session.close(CloseReason.UNNEEDED)
            self._draining[session] = now
        if key in self._sessions:
            self._sessions[key].channels.quarantine = None

    def _look_for_refuge(self, key: Key, session: Session, now: float) -> None:
        """Try another node for a login of which nothing is confirmed, though its node answers."""
        # If it is the queue that is stuck, another node does no better, so the pauses grow.
        try_at, pause = self._refuges.get(key, (now, FIRST_REFUGE))
        if now < try_at or key in {*self._successors, *(s.key for s in self._draining)}:
            return
        self._refuges[key] = now + pause, min(2 * pause, LONGEST_REFUGE)
        refuge = self._new_session(
            session.virtual_host, session.credentials, avoid=session.dialer.node
        )
        refuge.is_refuge = True
        self._successors[key] = refuge
        refuge.connect()

    def tick(self, now: float) -> None:
        """Let each session check its time-outs, and forget those that ended. Once a second."""
        for counted in self.statistics.values():
            counted.look(now - self._ticked_at)
        self._ticked_at = now
        for session in self.sessions():
            try:
                session.tick(now)
            except Exception as error:  # the heartbeats of all others must not stop over it
                self._failures.log("checking the time-outs of a session", error)
        for refused in list(self._refused):
            if not refused.is_forgiven:
                break
            self.forget(refused)
        for key, session in list(self._sessions.items()):
            is_unused = session.state is SessionState.IDLE and not session.load
            if is_unused or session.state is SessionState.ENDED:
                del self._sessions[key]
            elif session.state is SessionState.OPEN and _has_expired(session):
                # The broker would refuse a successor, and the next publish gets that answer.
                del self._sessions[key]
                self._draining[session] = now
            elif (
                session.state is SessionState.OPEN
                and now - session.verified_at >= self._settings.reverify_after
                and key not in {*self._successors, *(s.key for s in self._draining)}
            ):
                self._successors[key] = self._new_session(session.virtual_host, session.credentials)
                self._successors[key].connect()
        for key, successor in list(self._successors.items()):
            self._replace(key, successor, now)
        for session, since in list(self._draining.items()):
            if session.state is SessionState.OPEN and not session.load:
                expired = _has_expired(session)
                session.close(CloseReason.EXPIRED if expired else CloseReason.REPLACED)
            elif session.state is SessionState.OPEN and now - since > MOST_DRAIN:
                words = f"{CloseReason.REPLACED.words}, and the rest was not confirmed"
                session.stalled(words, CloseReason.REPLACED)
            if not session.holds_connection and not session.load:
                del self._draining[session]

    def _replace(self, key: Key, successor: Session, now: float) -> None:
        """Let a session's successor with the same login take over, once it is open.

        RabbitMQ applies changed passwords and permissions to new connections only. If it refuses
        the successor, the session ends too, and the next publish gets that answer.
        """
        session = self._sessions.get(key)
        if successor.is_refuge and not (session is not None and session.stall.is_stuck(now)):
            del self._successors[key]  # nothing is stuck any more
            successor.close(CloseReason.UNNEEDED)
            self._draining[successor] = now
        elif successor.state is SessionState.IDLE:
            # It found no broker, or a connection limit: that says nothing about the login.
            del self._successors[key]
            if session is not None:
                session.verified_at = now
        elif successor.state in (SessionState.OPEN, SessionState.REFUSED, SessionState.ENDED):
            del self._successors[key]
            if session is not None:
                successor.used_at = session.used_at  # a login is no use of it: idle it stays
                del self._sessions[key]
                self._draining[session] = now
            if successor.state is SessionState.OPEN:
                self._sessions[key] = successor
                if session is not None:
                    successor.take_over(session)
                    if successor.is_refuge:
                        words = "its node confirmed nothing, and another was reached"
                        session.stalled(words, CloseReason.MOVED)
                        successor.is_refuge = False

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - bounds the goodbye only
        """Close every channel and connection in order; drop those that take ``timeout`` seconds."""
        sessions = self.sessions()
        for session in sessions:
            session.close(CloseReason.SHUTDOWN)
        await asyncio.gather(*(session.wait_closed(timeout) for session in sessions))

    # What sessions report (broker.login_gate.SessionOwner)

    def make_room(self, session: Waiter) -> bool:
        """Make room for a session that has logged in; return False if no other one is idle.

        Until now it had a place of those that log in, and so it could not harm another one.
        """
        if self._sessions.get(session.key) is not session:
            return True  # it takes the place of another one, or will be closed soon
        open_ones = [each for each in self.sessions() if each.state is OPEN]
        if len(open_ones) < self.max_connections:
            return True
        idle = [each for each in open_ones if not each.load]
        if not idle:
            return False
        min(idle, key=lambda each: each.used_at).close(CloseReason.LIMIT)
        return True

    def refused(self, session: Waiter) -> None:
        """Remember a session that the broker refused, in place of the oldest of too many."""
        self._refused[session] = None
        if len(self._refused) > MOST_REFUSED:
            self.forget(next(iter(self._refused)))

    def forget(self, session: Waiter) -> None:
        """Give the session no more messages."""
        self._refused.pop(session, None)
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]

    def total(self) -> dict[str, int]:
        """Return the counts of all logins together, by their names."""
        logins = [*self.statistics.values(), self.forgotten]
        return {name: sum(map(attrgetter(name), logins)) for name in COUNTS}

    def statistics_of(self, virtual_host: str, username: str) -> SessionStatistics:
        """Return the figures of a virtual host and user, which begin now if there are none."""
        key = virtual_host, username
        if key not in self.statistics and len(self.statistics) >= MOST_LOGINS:
            in_use = {session.login for session in self.sessions()}
            unused = [each for each in self.statistics if each not in in_use]
            for each in unused[: len(self.statistics) - MOST_LOGINS + 1]:
                self.forgotten.add(self.statistics.pop(each))
        return self.statistics.setdefault(key, SessionStatistics())


def _has_expired(session: Session) -> bool:
    expires_at = session.credentials.expires_at
    return expires_at is not None and expires_at <= time.time()
