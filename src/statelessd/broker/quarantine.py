"""The second connection of a login, for exchanges whose messages may have crashed the first.

Some well-formed messages crash RabbitMQ's channel, and it closes the whole connection with 541
INTERNAL_ERROR, which names no message. The exchanges that were in flight go on over a connection
of their own, one message at a time, so that a second 541 names its message. The same message is
then refused for a while (docs/development/decisions/0002).
"""

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns

from ..amqp import encode
from ..amqp.events import Settlement
from ..message import Message, Outcome, Public
from .channel import ExchangeChannel
from .channel_table import Diverted
from .connection import BrokerConnection
from .pending import SETTLED, Publish
from .session import Session
from .state import SessionState

logger = logging.getLogger(__name__)

WHILE = 60.0  # seconds for which a crash is remembered
OVERDUE = 1.0  # seconds after which other messages do not wait for the last one's confirm
WITNESS = 2.0  # seconds; a node that stops takes the login's first connection with it by then
PAUSE, LONGEST_PAUSE = 0.02, 0.2  # seconds after a crash, for each of the exchange's so far
MOST_POISON = 1000  # messages that are remembered
MOST_NEEDED = 100  # answers until an exchange returns

POISON = Public(
    "The broker crashed its connection over this message a moment ago (541 INTERNAL_ERROR). "
    "It is not sent again for now."
)


class Suspect:
    """An exchange in quarantine: it returns after ``needed`` answers, if it crashed nothing."""

    def __init__(self) -> None:
        self.needed = self.left = 0  # answers: in all, and from now on
        self.since = 0.0  # loop time of the last crash that it may have caused
        self.crashes = 0  # that were its own
        self.crashed_at = -math.inf  # loop time of the last of them
        self.active = False


class Quarantine(Diverted):
    """Sends the messages of suspected exchanges one by one, and watches the channels they take.

    ``main`` returns the login's other session. ``limit`` bounds the messages that wait here.
    """

    def __init__(
        self,
        main: Callable[[], Session | None],
        new_session: "Callable[[Quarantine], Session]",
        limit: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.session: Session | None = None
        self.used_at = 0.0  # loop time
        self._main = main
        self._new_session = new_session
        self._limit = limit
        self._loop = loop
        self._suspects: dict[str, Suspect] = {}
        self._line: dict[Publish, None] = {}
        self._on_trial: Publish | None = None
        self._overdue: list[Publish] = []  # handed over: later ones of their keys wait
        self._not_before = 0.0  # loop time of the next message
        self._poison: dict[tuple[str, str, bytes], float] = {}  # -> until when it is refused
        self._witness: BrokerConnection | None = None  # the first one, after the last crash
        self._watched_until = 0.0  # loop time

    def __repr__(self) -> str:
        return f"<Quarantine of {sorted(self.exchanges)}: {len(self._line)} waiting>"

    @property
    def exchanges(self) -> list[str]:
        """Return the exchanges whose messages are to come here."""
        return [name for name, suspect in self._suspects.items() if suspect.active]

    @property
    def is_over(self) -> bool:
        """Return whether nothing is suspected or remembered any more."""
        return not self._suspects and not self._line and self._on_trial is None

    def suspect(self, exchanges: Iterable[str]) -> None:
        """Take the exchanges that were in flight when the connection crashed."""
        now = self._loop.time()
        for name in exchanges:
            suspect = self._suspects.setdefault(name, Suspect())
            # One that comes back again and again proves itself for longer.
            suspect.needed = min(10 * suspect.needed, MOST_NEEDED) or 1
            suspect.left = suspect.needed
            suspect.since, suspect.active = now, True

    def submit(self, publish: Publish) -> None:
        """Send the message when its turn comes, unless it is known to crash the broker."""
        now = self._loop.time()
        self._hear_witness(now)
        if self._poison.get(_fingerprint(publish.message), 0.0) > now:
            publish.refuse(Outcome.BAD_REQUEST, POISON)
        elif len(self._line) >= self._limit:
            publish.refuse(
                Outcome.OVERLOADED, Public("Messages of this exchange are sent one by one for now.")
            )
        else:
            publish.wait_in(self._line)
            self._send_next()

    def check(self, now: float) -> None:
        """Go on when a message gets no answer, and forget what is old. Several times a second."""
        self._overdue = [publish for publish in self._overdue if publish.state is not SETTLED]
        trial = self._on_trial
        if trial is not None and trial.handed_over:
            if perf_counter_ns() - trial.handed_over_at > OVERDUE * 1e9:
                # Go on without its confirm, but with no message of its routing key.
                self._on_trial = None
                if trial.state is not SETTLED:
                    self._overdue.append(trial)
                if self.session is not None:
                    self.session.channels.set_aside(trial.message.exchange)
        elif trial is not None and trial.state is SETTLED:
            self._on_trial = None
        self._hear_witness(now)
        for name, suspect in list(self._suspects.items()):
            self._return_if_proved(name, suspect, now)
            if not suspect.active and now - suspect.since > WHILE:
                del self._suspects[name]
        self._send_next()

    def _send_next(self) -> None:
        now = self._loop.time()
        if self._on_trial is not None or not self._line or now < self._not_before:
            return
        stuck = {publish.destination for publish in self._overdue}
        ready = [p for p in self._line if not stuck or p.destination not in stuck]
        if not ready:
            return
        # Those that have crashed nothing first; else in order.
        publish = min(ready, key=lambda p: self._crashes_of(p.message.exchange))
        publish.leave_queue()
        session = self.session
        if session is None or session.is_leaving:
            session = self.session = self._new_session(self)
        publish.belong_to(session)
        self._on_trial = publish
        session.submit(publish)

    def _crashes_of(self, exchange: str) -> int:
        suspect = self._suspects.get(exchange)
        return suspect.crashes if suspect is not None else 0

    # Who did it

    def crashed(self, lost: Sequence[Publish]) -> None:
        """Blame the message in flight: the broker closed this connection with 541."""
        now = self._loop.time()
        if self._on_trial is not None and self._on_trial.state is SETTLED:
            self._on_trial = None
        for publish in lost:
            suspect = self._suspects.setdefault(publish.message.exchange, Suspect())
            suspect.crashes += 1
            suspect.crashed_at = suspect.since = now
            suspect.active = True
            pause = min(PAUSE * suspect.crashes, LONGEST_PAUSE)
            self._not_before = max(self._not_before, now + pause)
        main = self._main()
        # A node that stops closes more than this connection, and proves nothing.
        if main is not None and main.state is SessionState.OPEN:
            self._witness, self._watched_until = main.connection, now + WITNESS
            if len(lost) == 1 and _is_distinct(lost[0].message):
                self._refuse(lost[0].message, now)
        self._loop.call_at(self._not_before, self._send_next)

    def _refuse(self, message: Message, now: float) -> None:
        if len(self._poison) >= MOST_POISON:
            self._poison.clear()
        fingerprint = _fingerprint(message)
        self._poison[fingerprint] = now + WHILE
        if self._crashes_of(message.exchange) == 1:  # a line for each would be a flood
            logger.warning(
                "a message for the exchange %r crashed the connection to the broker; "
                "the same message is refused for %g s",
                message.exchange,
                WHILE,
            )
        for publish in list(self._line):
            if _fingerprint(publish.message) == fingerprint:
                publish.refuse(Outcome.BAD_REQUEST, POISON)

    def _hear_witness(self, now: float) -> None:
        """Blame no message if the login's first connection ended soon after the crash."""
        if now < self._watched_until:
            main = self._main()
            if main is None or main.connection is not self._witness:
                self._poison.clear()

    # What the channels report (broker.channel.Watcher)

    def settled(self, channel: ExchangeChannel, settled: list[tuple[Publish, Settlement]]) -> None:
        """Count an answer: the broker took the message without harm."""
        for publish, _ in settled:
            self._answered(publish)

    def gone(self, channel: ExchangeChannel, again: Sequence[Publish]) -> None:
        """Send ``again`` first: the broker refused a message, or the channel is not needed."""
        if again:
            later, self._line = self._line, {}
            for publish in [*again, *later]:
                publish.wait_in(self._line)
            if self._on_trial in self._line:
                self._on_trial = None
            self._loop.call_soon(self._send_next)
        if self._on_trial is not None and self._on_trial.state is SETTLED:
            self._answered(self._on_trial)

    def _answered(self, publish: Publish) -> None:
        if publish is self._on_trial:
            self._on_trial = None
        if publish in self._overdue:
            self._overdue.remove(publish)
        exchange = publish.message.exchange
        suspect = self._suspects.get(exchange)
        if suspect is not None:
            suspect.left -= 1
            self._return_if_proved(exchange, suspect, self._loop.time())
        self._loop.call_soon(self._send_next)

    def _return_if_proved(self, exchange: str, suspect: Suspect, now: float) -> None:
        """Let the exchange go on over the first connection, once none of it is unsettled here."""
        proved = suspect.left <= 0 and now - suspect.crashed_at > WHILE
        unsettled = any(
            publish is not None and publish.message.exchange == exchange
            for publish in (*self._overdue, self._on_trial)
        )
        if unsettled or not suspect.active or not (proved or now - suspect.since > WHILE):
            return
        main = self._main()
        if main is None:
            suspect.active = False
        elif main.state is SessionState.OPEN:  # else later messages wait there, and would be first
            suspect.active = False
            main.channels.undivert(exchange)
            theirs = [p for p in self._line if p.message.exchange == exchange]
            for publish in theirs:
                publish.leave_queue()
                publish.belong_to(main)
            main.submit_again(theirs)


def _fingerprint(message: Message) -> tuple[str, str, bytes]:
    """Return what a message has in common with its repetitions; of its headers a digest."""
    headers = encode.headers_of(message.header)
    return message.exchange, message.routing_key, hashlib.blake2b(headers).digest()


def _is_distinct(message: Message) -> bool:
    """Return whether the fingerprint tells the message from the harmless ones around it.

    RabbitMQ 4 cannot refuse long names that are not ASCII: the refusal itself is a 541.
    """
    has_headers = len(encode.headers_of(message.header)) > 4
    names = message.exchange + message.routing_key
    return has_headers or message.routing_key.startswith("amq.rabbitmq.") or not names.isascii()
