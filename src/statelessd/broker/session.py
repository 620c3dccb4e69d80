"""One login, kept: its connection, the channels on it, and what waits while there is none.

A session connects when a message waits for it, again and again with growing
pauses, until the messages' deadlines have passed or the broker refuses the
login. Its trouble is its own: what sessions share is which nodes can be reached.
"""

import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from ..config.settings import RabbitMQ
from ..message import Credentials, Outcome
from . import refusals, replies
from .blockade import Blockade
from .channel import ExchangeChannel, Phase, Watcher
from .channels import ChannelKeeping
from .connection import BrokerConnection, login_of
from .dial import NotConnectedError
from .dialer import Dialer
from .probation import Diversion
from .publish import Publish
from .pulse import Pulse, Question
from .reachability import Reachability
from .state import SessionState
from .statistics import ConnectionCounters, SessionStatistics

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between attempts to connect
GOODBYE = 5.0  # seconds for the broker to agree that a connection is closed
NACKS = 1.0  # seconds after which a channel is not held on to that the broker nacks on


OPEN = SessionState.OPEN


class Session(ChannelKeeping):
    """A (virtual host, user, password). ``load``: messages that wait or are unsettled."""

    def __init__(
        self,
        virtual_host: str,
        credentials: Credentials,
        settings: RabbitMQ,
        *,
        dialer: Dialer,
        client_properties: dict[str, Any],
        counted: SessionStatistics | None,
        statistics: Callable[[str, str], SessionStatistics],
        blockade: Blockade,
        reachability: Reachability,
        counters: ConnectionCounters,
        on_crash: Callable[["Session", list[Publish]], None],
        watcher: Watcher | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            settings.channels_per_connection, settings.in_flight_per_connection // 4, watcher, loop
        )
        self._on_crash = on_crash
        self._crashed = False
        self.virtual_host = virtual_host
        self.username = credentials.name
        self.since = time.time()  # in this state
        # Of a login that has not succeeded yet: replaced once it has.
        self.statistics = SessionStatistics() if counted is None else counted
        self.load = 0
        self.too_large = sys.maxsize  # bytes of a body that the broker closed a channel over
        self.used_at = self.verified_at = loop.time()
        self.left_at = 0.0  # loop time at which another one replaced it
        self.is_refuge = False  # it is to find out whether another node confirms
        self.refused_at = 0.0
        self.progressed = False  # something was settled since the last tick
        self.credentials = credentials
        self._settings = settings
        self.dialer = dialer
        self._client_properties = client_properties
        self._statistics_of = statistics
        self._blockade = blockade
        self._reachability = reachability
        self._counters = counters
        self._closing_because = ""
        self._waiting: dict[Publish, None] = {}
        self.pulse = Pulse(self, settings.stalled_timeout)
        self._closing_since = 0.0
        self._failures = 0  # attempts and connections in a row on which nothing was settled
        self.failure = ""  # why there is no connection, once an attempt has failed
        self._said = ""  # by the broker, when it closed the connection before it was open
        self._useful = False  # something was settled on the connection at hand
        self._refusal = Outcome.UNAUTHORIZED, ""
        self._attempt: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] = loop.create_future()

    def _become(self, state: SessionState) -> None:
        self.state, self.since = state, time.time()

    @property
    def writable(self) -> bool:
        """Whether a message may be handed over now."""
        connection = self.connection
        return (
            connection is not None
            and connection.writable
            and self.state is OPEN
            and not self._blockade.active
        )

    @property
    def is_open(self) -> bool:
        """Whether channels can be opened and used."""
        return self.state is OPEN

    @property
    def is_excused(self) -> bool:
        """Whether there is a reason for confirms to be late: an alarm, or a slow network."""
        return self._blockade.active or (self.connection is not None and self.connection.drains())

    @property
    def is_forgiven(self) -> bool:
        """Whether the broker refused the login so long ago that it may be asked again."""
        return (
            self.state is SessionState.REFUSED
            and self._loop.time() - self.refused_at >= self._settings.refused_for
        )

    @property
    def holds_connection(self) -> bool:
        """Counts against the limit of broker connections."""
        return self.connection is not None or self.state is SessionState.CONNECTING

    def submit(self, publish: Publish) -> None:
        """Take a message that counts for this session already."""
        try:
            if self.state is OPEN:
                self._submit(publish)
            else:
                self._queue(publish)
        except Exception:  # of ours; those behind it must not wait until their deadlines
            logger.exception("submitting a message failed")
            publish.withdraw()
            publish.finish(Outcome.INTERNAL_ERROR, "A fault of this program; see its log.")

    def _submit(self, publish: Publish) -> None:
        message = publish.message
        single_use = (
            message.user_id is not None or publish.size >= self.too_large
        ) and self._may_close_its_channel(publish)
        channel = None if single_use else self._channels.get(message.exchange)
        if channel is not None:
            channel.used_at = self.used_at
            channel.submit(publish)
        elif isinstance(diverted := self._channels.get(message.exchange), Diversion):
            diverted.submit(publish)
        else:
            self._open_channel_for(publish, single_use=single_use)

    def _may_close_its_channel(self, publish: Publish) -> bool:
        """Return whether the broker may have a reason of the message's own to close it."""
        user_id = publish.message.user_id
        # Of a token's user only the broker knows the name for sure.
        foreign = user_id is not None and (self.credentials.is_token or user_id != self.username)
        return foreign or publish.body_size >= self.too_large

    def _queue(self, publish: Publish) -> None:
        if self.state is SessionState.REFUSED:
            publish.withdraw()
            publish.finish(*self._refused_again())
        else:
            publish.wait_in(self._waiting)
            if self.state is SessionState.IDLE:
                self._connect()

    def submit_again(self, publishes: list[Publish]) -> None:
        """Messages of this session that were not handed over, or discarded by the broker."""
        for publish in publishes:
            publish.queue = None
            self.submit(publish)

    def why_waiting(self) -> str:
        """For the client whose deadline passed before its message was handed over."""
        if self.state is SessionState.OPEN:
            return "The broker did not confirm earlier messages in time; this one was not sent."
        if self.failure:
            return f"No connection to the broker: {self.failure}."
        made = self.connection is not None and self.connection.has_socket
        return f"The broker did not {'complete the login' if made else 'let us connect'} in time."

    # Connecting

    def open(self) -> None:
        """Log in although no message waits."""
        if self.state is SessionState.IDLE:
            self._connect()

    def _connect(self) -> None:
        self._become(SessionState.CONNECTING)
        self._pause = None
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
        settings = self._settings
        login = login_of(self.virtual_host, self.credentials, settings, self._client_properties)
        patience = self.dialer.patience(settings.login_timeout)
        self.connection = BrokerConnection(
            login, self, self._loop, settings.login_timeout, patience
        )
        return self.connection

    def _not_connected(self, reason: str, logged: str = "", *, answered: bool = False) -> None:
        self.connection = None
        self.dialer.left()
        self._counters.attempts_failed += 1
        self.statistics.failed(reason)
        self.failure = reason
        if self.dialer.has_another and self.state is SessionState.CONNECTING:
            self._connect()  # to another node, at once
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
        elif not self._waiting:
            self._become(SessionState.IDLE)
        else:
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10))
            # Jitter: sessions that lost one broker together do not come back together.
            pause = longest * random.uniform(0.5, 1.0)  # noqa: S311 - not for secrecy
            self._become(SessionState.PAUSING)
            self._pause = self._loop.call_later(pause, self._resume)

    def _resume(self) -> None:
        if self._waiting:
            self._connect()
        else:
            self._become(SessionState.IDLE)

    # What the connection tells (broker.connection.Owner)

    def connection_opened(self) -> None:
        self._become(SessionState.OPEN)
        self.failure = ""
        self.dialer.opened()
        self._useful = self.progressed = False
        self.pulse = Pulse(self, self._settings.stalled_timeout)
        self.used_at = self.verified_at = self._loop.time()
        last_error = self.statistics.last_error
        self.statistics = self._statistics_of(self.virtual_host, self.username)
        self.statistics.last_error = max(last_error, self.statistics.last_error)
        self.statistics.opened()
        self._reachability.opened(self.connection)
        self._log("connected")
        self.divert_suspects(self.probation)
        waiting, self._waiting = list(self._waiting), {}
        self.submit_again(waiting)

    def connection_refused(self, code: int, text: str) -> None:
        refusal = refusals.login_refusal(
            code, text, self.virtual_host, self.username, token=self.credentials.is_token
        )
        self.dialer.said(code, text)
        size = 0 if self.connection is None else self.connection.amqp.oversized_login
        if size and refusals.is_silence_behind_proxy(code, text):
            self.login_too_large(f"a login of {size} bytes, at which the broker hung up")
        elif refusal.shared:
            self._refuse(refusal.outcome, refusal.detail)
        else:
            self._said = refusal.detail.rstrip(".")

    def connection_closed(self, code: int, text: str) -> None:
        self.dialer.said(code, text)
        self._crashed = code == replies.INTERNAL_ERROR
        connection = self.connection
        if connection is not None and refusals.is_channel_limit(code, text):
            # The user's limit counts all of the user's connections; the channel
            # that was one too many is in the number.
            self._channel_limit = max(1, len(connection.channels) - 1)

    def login_too_large(self, text: str) -> None:
        what = "The token is" if self.credentials.is_token else "The credentials are"
        self._refuse(Outcome.UNAUTHORIZED, f"{what} too long: {text}.")

    def _refuse(self, outcome: Outcome, detail: str) -> None:
        self._log(f"login refused: {outcome.value}")
        self._counters.logins_refused += 1
        self._become(SessionState.REFUSED)
        self.refused_at = self._loop.time()
        self.statistics.failed(detail)
        self._refusal = outcome, detail
        for publish in list(self._waiting):
            publish.withdraw()
            publish.finish(outcome, detail)

    def _refused_again(self) -> tuple[Outcome, str]:
        """For those who come with the same login while its refusal is remembered."""
        outcome, detail = self._refusal
        age = self._loop.time() - self.refused_at
        if outcome is Outcome.UNAUTHORIZED:
            outcome = Outcome.TOO_MANY_FAILURES
        return outcome, f"{detail} (It said so {age:.1f} s ago and was not asked again.)"

    def connection_ending(self) -> None:
        if self.state is SessionState.OPEN:
            self._become(SessionState.ENDING)

    def connection_lost(self, lost: list[Any], reason: str) -> None:
        was_open = self.state in (SessionState.OPEN, SessionState.ENDING, SessionState.CLOSING)
        self._blockade.remove(self.connection)
        self._reachability.ended(self.connection, lost=not self._closing_because)
        self.starved = False
        for publish in self._lose_channels():
            publish.wait_in(self._waiting)
        greeted = False
        if self.connection is not None:
            greeted = self.connection.amqp.greeted
            self._counters.received += self.connection.received
            self._counters.sent += self.connection.sent
            self.dialer.left(silent=not self.connection.received)
        if greeted and not was_open:
            self._reachability.answered()
        if was_open:
            self._counters.lost(self._closing_because or reason)
            self.statistics.closed("" if self._closing_because else reason)
            self._log(f"connection ended: {self._closing_because or reason}")
        self.load -= len(lost)
        if was_open:
            self.connection = None
            if self._useful or self.progressed:
                self._failures = 0
            self._failed(reason)
        elif self.state is SessionState.REFUSED:
            self.connection = None
        elif self.state is SessionState.ENDED:
            self.connection = None
            self._end()
        else:
            said, self._said = self._said, ""
            self._not_connected(said or reason, answered=greeted)
        for publish in lost:
            publish.finish(Outcome.UNCONFIRMED, f"The connection to the broker was lost: {reason}.")
        crashed, self._crashed = self._crashed, False
        if crashed:
            self._on_crash(self, lost)

    def connection_blocked(self, reason: str) -> None:
        self._blockade.add(self.connection, reason)
        connection = self.connection
        if connection is not None and connection.tells_when_blocked and self._has_room(connection):
            Question(connection)

    def connection_unblocked(self) -> None:
        self._blockade.remove(self.connection)

    def connection_writable(self) -> None:
        for channel in self.all_channels():
            channel.pump()

    def hold(self, held: bool) -> None:
        """Hand over no message while it is doubtful whether the broker reads."""
        if held is not self.pulse.doubtful and self.connection is not None:
            self.pulse.doubtful = held
            self.connection.hold(held)

    def _new_channel(self, exchange: str, **how: Any) -> ExchangeChannel:
        how.setdefault("watcher", self._watcher)
        return ExchangeChannel(self, exchange, **how)

    def channel_ended(self) -> None:
        """A channel's number is free again."""
        if self.state is SessionState.CLOSING:
            self._close_when_empty()
        elif self.starved:
            self._open_queued()

    # Time

    def tick(self, now: float) -> None:
        """Once a second: heartbeats, and what has taken too long."""
        settings = self._settings
        connection = self.connection
        if self.load or self.progressed:
            self.used_at = now
        if connection is None:
            return
        connection.tick(now)
        if self.state is SessionState.CLOSING and now - self._closing_since > GOODBYE:
            connection.abort("the broker did not say goodbye in time")
        if self.state is not SessionState.OPEN:
            return
        if any(
            c.phase is Phase.OPENING and now - c.opened_at > settings.channel_timeout
            for c in self.all_channels()
        ):
            self.stalled("the broker did not open a channel in time")
        for route in self.routes():
            if (
                isinstance(route, ExchangeChannel)
                and route.nacked
                and now - route.opened_at > NACKS
            ):
                self._renew(route)
        self.check(now)
        if now > self._slow_until:
            self.slowness = 0.0
        if now - self.used_at > settings.idle_timeout:
            self.close("idle")

    def check(self, now: float) -> None:
        """Several times a second, while messages are unsettled: find out what does not answer."""
        if self.state is OPEN:
            if self.load or self.progressed:
                self.used_at = now
            self._useful = self._useful or self.progressed
            self.pulse.check(now)

    def take_over(self, old: "Session") -> None:
        """Take the messages of the session that this one replaces, in order."""
        self.take_over_channels(old)
        for publish in list(old._waiting):
            del old._waiting[publish]
            publish.belong_to(self)
            self.submit_again([publish])

    def stalled(self, reason: str) -> None:
        """Give the connection up: the broker does not answer on it."""
        self.dialer.stalled(reason)
        if self.connection is not None:
            self.connection.abort(reason)

    # The end

    def close(self, reason: str) -> None:
        """Close the channels, then the connection; ``wait_closed`` tells when it is done."""
        connection = self.connection
        if self.state is SessionState.OPEN and connection is not None:
            self._become(SessionState.CLOSING)
            self._closing_because, self._closing_since = reason, self._loop.time()
            for channel in self.all_channels():
                if channel.phase not in (Phase.QUEUED, Phase.GONE):
                    connection.amqp.close_channel(channel.number)
            connection.flush_soon()
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
        if not self._closed.done():
            self._closed.set_result(None)

    async def wait_closed(self, timeout: float) -> None:  # noqa: ASYNC109 - bounds the goodbye only
        """Wait for an orderly close; drop the socket after ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._closed)
        except TimeoutError:
            if self.connection is not None:
                self.connection.abort("the broker did not say goodbye in time")

    def _log(self, text: str) -> None:
        self._reachability.logins.say(
            "%r, virtual host %r: %s", self.username, self.virtual_host, text
        )
