"""The second connection of a login, for exchanges whose messages may have crashed the first.

Some well-formed messages crash RabbitMQ's channel, and the broker then closes the whole
connection with 541 INTERNAL_ERROR, which names no message. So the exchanges that were in
flight go on over a connection of their own, with one message at a time. A second 541
then names its message: the exchange stays here for a while, and the same message is
refused without being sent. An exchange whose message is confirmed returns.
"""

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns
from typing import Any, Generic, Protocol, TypeVar

from ..amqp import encode
from ..amqp.events import Settlement
from ..message import Message, Outcome
from .channel import ExchangeChannel
from .pending import SETTLED, WAITING, Publish
from .pending import Session as Counted
from .state import SessionState

logger = logging.getLogger(__name__)

WHILE = 60.0  # seconds for which a crash is remembered
OVERDUE = 1.0  # seconds after which other messages do not wait for the last one's confirm
WITNESS = 2.0  # seconds; a node that stops takes the login's first connection with it by then
PAUSE, LONGEST_PAUSE = 0.02, 0.2  # seconds after a crash, for each of the exchange's so far
MOST_POISON = 1000  # messages that are remembered
MOST_NEEDED = 100  # answers until an exchange returns
LEAVING = (SessionState.CLOSING, SessionState.ENDED)

POISON = (
    "The broker crashed its connection over this message a moment ago (541 INTERNAL_ERROR). "
    "It is not sent again for now."
)


class QuarantineSession(Counted, Protocol):
    """A connection for one login, as a quarantine uses it."""

    state: SessionState
    connection: Any

    @property
    def is_forgiven(self) -> bool: ...
    def submit(self, publish: Publish) -> None: ...
    def submit_again(self, publishes: list[Publish]) -> None: ...
    def undivert(self, exchange: str) -> None: ...
    def set_aside(self, exchange: str) -> None: ...
    def close(self, reason: str) -> None: ...


class Suspect:
    """An exchange on quarantine: it returns after ``needed`` answers, if it crashed nothing."""

    def __init__(self) -> None:
        self.needed = self.left = 0  # answers: in all, and from now on
        self.since = 0.0  # loop time of the last crash that it may have caused
        self.crashes = 0  # that were its own
        self.crashed_at = -math.inf  # loop time of the last of them
        self.active = False


class Diversion:
    """Takes an exchange's messages to its quarantine, in place of a channel."""

    channels: tuple[ExchangeChannel, ...] = ()

    def __init__(self, quarantine: "Quarantine[Any]") -> None:
        self.used_at = 0.0
        self._probation = quarantine

    def submit(self, publish: Publish) -> None:
        """Let the message wait for its turn."""
        self._probation.submit(publish)

    def lost(self) -> list[Publish]:
        """Return nothing: what waits here waits for another connection."""
        return []


S = TypeVar("S", bound=QuarantineSession)


class Quarantine(Generic[S]):
    """Sends the messages of suspected exchanges one by one; watches the channels they take.

    ``main`` returns the login's session for everything else, ``new_session`` makes the
    one for this. ``limit``: messages that may wait here.
    """

    def __init__(
        self,
        main: Callable[[], S | None],
        new_session: "Callable[[Quarantine[S]], S]",
        limit: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.session: S | None = None
        self._main = main
        self._new_session = new_session
        self._limit = limit
        self._loop = loop
        self._suspects: dict[str, Suspect] = {}
        self._line: dict[Publish, None] = {}
        self._on_trial: Publish | None = None
        self._overdue: list[Publish] = []  # handed over: later ones of their keys wait
        self._not_before = 0.0
        self._poison: dict[tuple[str, str, bytes], float] = {}  # -> until when it is refused
        self._witness: Any = None  # the first connection, which the last crash left alone
        self._watched_until = 0.0

    def __repr__(self) -> str:
        return f"<Quarantine of {sorted(self.exchanges)}, {len(self._line)} messages wait>"

    @property
    def exchanges(self) -> list[str]:
        """Return the exchanges whose messages are to come here."""
        return [name for name, suspect in self._suspects.items() if suspect.active]

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
            publish.withdraw()
            publish.finish(Outcome.BAD_REQUEST, POISON)
        elif len(self._line) >= self._limit:
            publish.withdraw()
            publish.finish(
                Outcome.OVERLOADED, "Messages of this exchange are sent one by one for now."
            )
        else:
            publish.wait_in(self._line)
            self._send_next()

    def crashed(self, lost: Sequence[Publish]) -> None:
        """The connection of this quarantine was closed with 541: its message did it."""
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
                "a message for the exchange %r crashed the broker's connection; "
                "the same one is refused for %g s",
                message.exchange,
                WHILE,
            )
        for publish in list(self._line):
            if publish.state is WAITING and _fingerprint(publish.message) == fingerprint:
                publish.withdraw()
                publish.finish(Outcome.BAD_REQUEST, POISON)

    def _hear_witness(self, now: float) -> None:
        """Blame no message if the login's first connection ended soon after the crash."""
        if now < self._watched_until:
            main = self._main()
            if main is None or main.connection is not self._witness:
                self._poison.clear()

    @property
    def is_over(self) -> bool:
        """Nothing is suspected or remembered any more."""
        return not self._suspects and not self._line and self._on_trial is None

    def check(self, now: float) -> None:
        """Several times a second: go on when a message gets no answer; forget what is old."""
        self._overdue = [publish for publish in self._overdue if publish.state is not SETTLED]
        trial = self._on_trial
        if trial is not None and trial.handed_over:
            if perf_counter_ns() - trial.handed_over_at > OVERDUE * 1e9:
                self._set_aside(trial)
        elif trial is not None and trial.state is SETTLED:
            self._on_trial = None
        self._hear_witness(now)
        for name, suspect in list(self._suspects.items()):
            self._return_if_proved(name, suspect, now)
            if not suspect.active and now - suspect.since > WHILE:
                del self._suspects[name]
        self._send_next()

    def _set_aside(self, trial: Publish) -> None:
        """Go on without its confirm, but with no message of its routing key."""
        self._on_trial = None
        if trial.state is not SETTLED:
            self._overdue.append(trial)
        if self.session is not None:
            self.session.set_aside(trial.message.exchange)

    def _send_next(self) -> None:
        now = self._loop.time()
        if self._on_trial is not None or not self._line or now < self._not_before:
            return
        stuck = {_destination(publish) for publish in self._overdue}
        ready = [p for p in self._line if not stuck or _destination(p) not in stuck]
        if not ready:
            return
        # Those that have crashed nothing first; else in order.
        publish = min(ready, key=lambda p: self._crashes_of(p.message.exchange))
        del self._line[publish]
        publish.queue = None
        session = self.session
        if session is None or session.state in LEAVING or session.is_forgiven:
            session = self.session = self._new_session(self)
        publish.belong_to(session)
        self._on_trial = publish
        session.submit(publish)

    def _crashes_of(self, exchange: str) -> int:
        suspect = self._suspects.get(exchange)
        return suspect.crashes if suspect is not None else 0

    # What the channels tell (broker.channel.Watcher)

    def settled(self, channel: ExchangeChannel, settled: list[tuple[Publish, Settlement]]) -> None:
        """The broker took the message without harm, or at least knew what to do with it."""
        for publish, _ in settled:
            self._answered(publish)

    def gone(self, channel: ExchangeChannel, again: Sequence[Publish]) -> None:
        """The broker refused the message and closed its channel, or the channel is not needed."""
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
        """Give the exchange back, unless a message of it is still unsettled here."""
        proved = suspect.left <= 0 and now - suspect.crashed_at > WHILE
        unsettled = [*self._overdue, *([self._on_trial] if self._on_trial else [])]
        if (
            suspect.active
            and (proved or now - suspect.since > WHILE)
            and not any(p.message.exchange == exchange for p in unsettled)
        ):
            self._give_back(exchange, suspect)

    def _give_back(self, exchange: str, suspect: Suspect) -> None:
        """Let the exchange go on over the login's first connection, in order."""
        main = self._main()
        if main is None:
            suspect.active = False
        elif main.state is SessionState.OPEN:  # else later messages wait there, and would be first
            suspect.active = False
            main.undivert(exchange)
            theirs = [p for p in self._line if p.message.exchange == exchange]
            for publish in theirs:
                del self._line[publish]
                publish.belong_to(main)
            main.submit_again(theirs)


def _destination(publish: Publish) -> tuple[str, str]:
    return publish.message.exchange, publish.message.routing_key


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
