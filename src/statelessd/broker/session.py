"""One login, kept: its connection, the channels on it, and the messages that wait for both.

A session connects while a message waits for it, with growing pauses, until the broker refuses
the login. Its trouble delays no other login.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from ..amqp.peer import RABBITMQ
from ..message import FAULT, Credentials, Outcome, Public
from . import refusals, replies
from .alarm import EndOfAlarm
from .channel import ChannelOwner, Watcher
from .channel_table import ChannelTable
from .close_reason import CloseReason
from .connection import BrokerConnection
from .dialer import Dialer
from .login_gate import SessionOwner
from .nodes import back_off
from .pending import Publish
from .race import NotConnectedError
from .shared import Shared
from .split_exchange import SplitExchange
from .stall import StallDetector
from .state import ChannelPhase, SessionState
from .statistics import SessionStatistics

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between attempts to connect
GOODBYE = 5.0  # seconds for the broker to agree that a connection is closed
NO_LOGIN = Public("The broker did not complete the login in time.")
NO_SOCKET = Public("The broker did not accept the connection in time.")
LATE = Public("The broker did not confirm earlier messages in time. This one was not sent.")
TOO_MANY_LOGINS = Public("Too many other logins are in progress.")
NO_CONNECTION_LEFT = Public("All connections to the broker are in use.")
OPEN: Final = SessionState.OPEN
QUEUED: Final = SessionState.QUEUED
LOGGING_IN = QUEUED, SessionState.CONNECTING


class Session(ChannelOwner):
    """The connection of one virtual host, user and password.

    ``address`` is where its first message came from; None if the broker has let it in before.
    """

    def __init__(
        self,
        virtual_host: str,
        credentials: Credentials,
        shared: Shared,
        *,
        owner: SessionOwner,
        dialer: Dialer,
        address: str | None,
        counted: SessionStatistics | None,
        on_crash: Callable[["Session", list[Publish]], None],
        watcher: Watcher | None,
    ) -> None:
        settings, loop = shared.settings, shared.loop
        self.virtual_host = virtual_host
        self.username = credentials.name
        self.credentials = credentials
        self.key = credentials.key(virtual_host)
        self.address = address
        self._owner, self._on_crash = owner, on_crash
        self._shared, self._settings, self._loop = shared, settings, loop
        self.alarm, self._counters = shared.alarm, shared.counters
        self._reachability, self._gate = shared.reachability, shared.gate
        # These last as long as the session.
        self.state = SessionState.IDLE
        self.since = time.time()  # in this state
        # The figures of earlier sessions, if a login has succeeded before.
        self.statistics = SessionStatistics() if counted is None else counted
        self.load = 0
        self.dialer = dialer
        self.channels = ChannelTable(self, settings, watcher, loop)
        self.used_at = self.verified_at = loop.time()
        self.is_refuge = False  # it is to find out whether another node confirms
        self.failure = ""  # why there is no connection, once an attempt has failed
        self._failures = 0  # attempts and connections in a row on which nothing was settled
        self.waiting = self._gate.messages(self)
        self._attempt: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._refusal: refusals.Remembered | None = None
        self._closed = asyncio.Event()
        # These belong to one connection.
        self.connection: BrokerConnection | None = None
        self.stall = StallDetector(self.channels, settings.stalled_timeout)
        self.progressed = False  # something was settled since the last check
        self._useful = False  # something was settled on the connection at hand
        self._closing_because: CloseReason | None = None
        self._closing_since = 0.0  # loop time

    def __repr__(self) -> str:
        channels = self.channels.channels()
        in_flight = sum(channel.in_flight for channel in channels)
        held = ", not writable" if self.state is OPEN and not self.writable else ""
        routes = self.channels.routes()
        split = "".join(f", {each!r}" for each in routes if isinstance(each, SplitExchange))
        return (
            f"<Session {self.username!r} on {self.virtual_host!r}: {self.state.value}, "
            f"{len(channels)} channels, {in_flight} in flight, "
            f"{self.load - in_flight} waiting{held}{split}>"
        )

    def _become(self, state: SessionState) -> None:
        was, self.state, self.since = self.state, state, time.time()
        if was in LOGGING_IN and state not in LOGGING_IN:
            self._gate.leave(self)

    @property
    def login(self) -> tuple[str, str]:
        """Return the virtual host and the user, by which people know the session."""
        return self.virtual_host, self.username

    @property
    def writable(self) -> bool:
        """Return whether a message may be handed over now."""
        connection = self.connection
        return (
            connection is not None
            and connection.writable
            and self.state is OPEN
            and not self.alarm.active
        )

    @property
    def is_excused(self) -> bool:
        """Return whether confirms have a reason to be late: an alarm, or a slow network."""
        return self.alarm.active or (self.connection is not None and self.connection.drains())

    @property
    def is_forgiven(self) -> bool:
        """Return whether the broker refused the login so long ago that it may be asked again."""
        refusal = self._refusal if self.state is SessionState.REFUSED else None
        return refusal is not None and self._loop.time() - refusal.at >= self._settings.refused_for

    @property
    def is_leaving(self) -> bool:
        """Return whether the session takes no new messages, so that a new one is needed."""
        return self.state in (SessionState.CLOSING, SessionState.ENDED) or self.is_forgiven

    @property
    def holds_connection(self) -> bool:
        """Return whether the session counts against the limit of broker connections."""
        return self.connection is not None or self.state is SessionState.CONNECTING

    def submit(self, publish: Publish) -> None:
        """Send a message that counts for this session already, or let it wait."""
        try:
            if self.state is OPEN:
                self.channels.submit(publish)
            elif self.state is SessionState.REFUSED and self._refusal is not None:
                publish.refuse(*self._refusal.again(self._loop.time()))
            elif self._gate.admit(self, publish):
                publish.wait_in(self.waiting)
                if self.state is SessionState.IDLE:
                    self.connect()
        except Exception:  # of ours; those behind it must not wait until their deadlines
            logger.exception("submitting a message failed")
            publish.refuse(Outcome.INTERNAL_ERROR, FAULT)

    def submit_again(self, publishes: list[Publish]) -> None:
        """Send messages of this session that were not handed over, or that the broker discarded."""
        for publish in publishes:
            publish.queue = None
            self.submit(publish)

    def why_waiting(self) -> str:
        """Return a sentence for the client whose message was not handed over in time."""
        if self.state is SessionState.OPEN:
            return LATE
        failure = self.failure or self._reachability.failure
        if failure:
            return Public(f"No connection to the broker: {failure}.")
        if self.state is QUEUED:
            return TOO_MANY_LOGINS
        made = self.connection is not None and self.connection.has_socket
        return NO_LOGIN if made else NO_SOCKET

    # Connecting

    def connect(self) -> None:
        """Log in when it is its turn, also if no message waits."""
        self._become(QUEUED)
        self._pause = None
        self._gate.enter(self)

    def log_in(self) -> None:
        """Begin to log in now."""
        self._become(SessionState.CONNECTING)
        self._attempt = self._loop.create_task(self._open_socket())

    async def _open_socket(self) -> None:
        try:
            await self.dialer.connect(self._new_connection, self._settings.connect_timeout)
        except NotConnectedError as error:
            if self.connection is not None and self.connection.has_socket:
                self.connection.abort(str(error))  # made too late; its end tells the rest
            else:
                self._not_connected(str(error), error.logged)
        except Exception:  # else the session would wait for ever
            logger.exception("connecting to the broker failed")
            self._not_connected("the connection could not be attempted")

    def _new_connection(self) -> BrokerConnection:
        login = self._shared.login(self.virtual_host, self.credentials)
        timeout = self._settings.login_timeout
        patience = self.dialer.patience(timeout)
        self.connection = BrokerConnection(login, self, self._loop, timeout, patience)
        return self.connection

    def _not_connected(self, reason: str, logged: str = "", *, answered: bool = False) -> None:
        self.connection = None
        self.dialer.left()
        self._counters.attempts_failed += 1
        self.statistics.failed(reason)
        self.failure = reason
        if self.dialer.has_another and self.state is SessionState.CONNECTING:
            self.log_in()  # at another node, at once
            return
        # Where it is the broker that is away, one line for all logins says so.
        is_ours = answered or not self._reachability.failed(reason, logged)
        if is_ours and not self._failures:
            self._log(f"no connection: {logged or reason}")
        self._failed(reason)

    def _failed(self, reason: str) -> None:
        self.failure = reason
        self._failures += 1
        if self.state in (SessionState.CLOSING, SessionState.ENDED):
            self._end()
        elif not self.waiting:
            self._rest()
        else:
            pause = back_off(self._failures + 1, FIRST_PAUSE, LONGEST_PAUSE)
            self._become(SessionState.PAUSING)
            self._pause = self._loop.call_later(pause, self._resume)

    def _resume(self) -> None:
        if self.waiting:
            self.connect()
        else:
            self._rest()

    def emptied(self) -> None:
        """Do not log in for messages that are gone."""
        if self.state in (QUEUED, SessionState.IDLE) and not self.waiting:
            self._rest()

    def _rest(self) -> None:
        self._become(SessionState.IDLE)
        if self.address is not None:
            self._owner.forget(self)  # anybody can make up such sessions

    # What the connection reports (broker.connection.Owner)

    def connection_opened(self) -> None:
        """Send what waits, because the login has succeeded."""
        has_place = self._owner.make_room(self)
        self._gate.let_in(self.key)
        self._become(SessionState.OPEN)
        self.failure = ""
        self.dialer.opened()
        self._useful = self.progressed = False
        self.stall = StallDetector(self.channels, self._settings.stalled_timeout)
        self.used_at = self.verified_at = self._loop.time()
        last_error = self.statistics.last_error
        self.statistics = self._owner.statistics_of(*self.login)
        self.statistics.last_error = max(last_error, self.statistics.last_error)
        self.statistics.opened()
        self._reachability.opened(self.connection)
        self._log("connected")
        self.channels.divert(self.channels.quarantine)
        waiting = list(self.waiting)
        for publish in waiting:
            publish.leave_queue()
        self.address, self.waiting = None, {}
        if has_place:
            self.submit_again(waiting)
            return
        self.close(CloseReason.FULL)
        self._counters.refusals["broker_connections"] += len(waiting)
        for publish in waiting:
            publish.refuse(Outcome.OVERLOADED, NO_CONNECTION_LEFT)

    def connection_refused(self, code: int, text: str) -> str:
        """Return what the broker's Close before the end of the login means, or ""."""
        is_token = self.credentials.is_token
        refusal = refusals.login_refusal(code, text, self.virtual_host, token=is_token)
        self.dialer.said(code, text)
        size = 0 if self.connection is None else self.connection.amqp.oversized_login
        if size and refusals.is_silence_behind_proxy(code, text):
            self.login_too_large(f"the broker hung up on a login of {size} bytes")
        elif refusal.shared:
            self._refuse(refusal.outcome, refusal.detail)
        return refusal.detail.rstrip(".")

    def connection_closed(self, code: int, text: str) -> None:
        """Learn from the broker's Close on an open connection."""
        self.dialer.said(code, text)
        connection = self.connection
        reason = replies.closing_reason(code, text)
        if connection is not None and reason is replies.Reason.CHANNEL_LIMIT:
            # The user's limit counts all of the user's connections; the channel
            # that was one too many is in the number.
            self.channels.limit = max(1, len(connection.channels) - 1)

    def login_too_large(self, text: str) -> None:
        """Refuse the login, because the broker does not take one of that size."""
        what = "The token is" if self.credentials.is_token else "The credentials are"
        self._refuse(Outcome.UNAUTHORIZED, f"{what} too long: {text}.")

    def _refuse(self, outcome: Outcome, detail: str) -> None:
        self._log(f"login refused: {outcome.value}")
        self._counters.logins_refused += 1
        self._become(SessionState.REFUSED)
        self._refusal = refusals.Remembered(outcome, detail, self._loop.time())
        self._gate.refused(self.key)
        self._owner.refused(self)
        self.statistics.failed(detail)
        for publish in list(self.waiting):
            publish.refuse(outcome, detail)

    def connection_ending(self) -> None:
        """Hand over nothing more: the socket is about to go."""
        if self.state is SessionState.OPEN:
            self._become(SessionState.ENDING)

    def connection_lost(self, lost: list[Any], reason: CloseReason, words: str) -> None:
        """Answer ``lost``, what the broker did not settle, and connect again for the rest."""
        was_open = self.state in (SessionState.OPEN, SessionState.ENDING, SessionState.CLOSING)
        connection, self.connection = self.connection, None
        if connection is None:
            return  # it was given up before its login, and its messages wait for another one
        self.connection_ending()
        self.alarm.unblocked(connection)
        self._reachability.ended(connection, lost=self._closing_because is None)
        if was_open:
            # What waits for its channel came before what waits for the next connection.
            later, self.waiting = self.waiting, {}
            for publish in [*self.channels.lose(), *later]:
                publish.wait_in(self.waiting)
        self.give_back(len(lost))
        self._counters.received += connection.received
        self._counters.sent += connection.sent
        self.dialer.left(silent=not connection.received)
        if was_open:
            ours = self._closing_because
            self._counters.closed[(ours or reason).label] += 1
            self.statistics.closed("" if ours else words)
            self._log(f"connection ended: {ours.words if ours else words}")
            if self._useful or self.progressed:
                self._failures = 0
            self._failed(words)
        else:
            if connection.amqp.greeted:
                self._reachability.answered()
            if self.state is SessionState.ENDED:
                self._end()
            elif self.state is not SessionState.REFUSED:
                self._not_connected(words, answered=connection.amqp.greeted)
        why = Public(f"The connection to the broker was lost: {words}.")
        for publish in lost:
            publish.finish(Outcome.UNCONFIRMED, why)
        if connection.close_code == replies.INTERNAL_ERROR:
            self._on_crash(self, lost)

    def connection_blocked(self, reason: str) -> None:
        """Note a resource alarm, and ask RabbitMQ for its end."""
        connection = self.connection
        self.alarm.blocked(connection, reason)
        if connection is None or connection.amqp.peer.product != RABBITMQ:
            return  # only RabbitMQ is known to read nothing while an alarm blocks it
        if self.channels.has_room():
            EndOfAlarm(connection, self.connection_unblocked)

    def connection_unblocked(self) -> None:
        """Note the end of the alarm for this connection."""
        self.alarm.unblocked(self.connection)

    def connection_writable(self) -> None:
        """Send what waits in the channels."""
        for channel in self.channels.channels():
            channel.pump()

    def hold(self, held: bool) -> None:
        """Hand over no message while it is doubtful whether the broker reads."""
        if held is not self.stall.doubtful and self.connection is not None:
            self.stall.doubtful = held
            self.connection.hold(held)

    def channel_ended(self) -> None:
        """Use the channel's number again, or go on closing."""
        if self.state is SessionState.CLOSING:
            self._close_when_empty()
        elif self.channels.starved:
            self.channels.open_queued()

    # Time

    def tick(self, now: float) -> None:
        """Send heartbeats and end what has taken too long. Once a second."""
        settings = self._settings
        connection = self.connection
        if connection is None:
            return
        connection.tick(now)
        if self.state is SessionState.CLOSING and now - self._closing_since > GOODBYE:
            connection.abort("the broker did not close the connection in time")
        if self.state is not SessionState.OPEN:
            return
        opening = [c for c in self.channels.channels() if c.phase is ChannelPhase.OPENING]
        if any(now - channel.opened_at > settings.channel_timeout for channel in opening):
            self.stalled("the broker did not open a channel in time")
        self.channels.renew_nacked()
        self.check(now)
        if now - self.used_at > settings.idle_timeout:
            self.close(CloseReason.IDLE)

    def check(self, now: float) -> None:
        """Find out what does not answer. Several times a second while messages are unsettled."""
        if self.state is OPEN:
            if self.load or self.progressed:
                self.used_at = now
            self._useful = self._useful or self.progressed
            self.stall.check(now)

    def take_over(self, old: "Session") -> None:
        """Take the messages of the session that this one replaces, in order."""
        self.channels.take_over(old.channels)
        for publish in list(old.waiting):
            publish.leave_queue()
            publish.belong_to(self)
            self.submit_again([publish])

    def stalled(self, words: str, reason: CloseReason = CloseReason.STALLED) -> None:
        """Give the connection up, because the broker does not answer on it."""
        self.dialer.stalled(words)
        if self.connection is not None:
            self.connection.abort(words, reason)

    # The end

    def close(self, reason: CloseReason) -> None:
        """Close the channels, then the connection; ``wait_closed`` waits for the end."""
        connection = self.connection
        if self.state is SessionState.OPEN and connection is not None:
            self._become(SessionState.CLOSING)
            self._closing_because, self._closing_since = reason, self._loop.time()
            for channel in self.channels.channels():
                if channel.phase not in (ChannelPhase.QUEUED, ChannelPhase.GONE):
                    connection.close_channel(channel.number)
            self._close_when_empty()
        elif self.state is not SessionState.CLOSING:
            self._end()

    def _close_when_empty(self) -> None:
        connection = self.connection
        if connection is not None and connection.is_open and not connection.channels:
            connection.amqp.close()
            connection.flush_soon()

    def _end(self) -> None:
        self._become(SessionState.ENDED)
        if self._pause is not None:
            self._pause.cancel()
        if self._attempt is not None:
            self._attempt.cancel()
        if self.connection is not None:
            self.connection.abort("the session was closed")
        self.dialer.left()
        self._closed.set()

    async def wait_closed(self, timeout: float) -> None:  # noqa: ASYNC109 - bounds the goodbye only
        """Wait for an orderly close; drop the socket after ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._closed.wait()
        except TimeoutError:
            if self.connection is not None:
                self.connection.abort("the broker did not close the connection in time")

    def _log(self, text: str) -> None:
        self._reachability.logins.say(
            "%r, virtual host %r: %s", self.username, self.virtual_host, text
        )
