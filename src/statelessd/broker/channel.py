"""One confirm-mode channel for one exchange, and the messages that wait for it.

A fresh channel sends one message alone: what the broker closes it over is that message. After
its first confirm the rest follows in one stream, within a window: RabbitMQ stops reading the
connection when some 200 messages have followed one that it cannot confirm.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Protocol

from ..amqp.events import Settlement
from ..message import FAULT, Credentials, Outcome, Public
from . import refusals, replies
from .alarm import ResourceAlarm
from .connection import BrokerConnection
from .pending import HANDED_OVER, SETTLED, Publish, PublishOwner, clock
from .state import ChannelPhase, SessionState
from .statistics import SessionStatistics

logger = logging.getLogger(__name__)

ACKED: Final = Settlement.ACKED
CONFIRMED: Final = Outcome.CONFIRMED

NOT_TAKEN: Final = Public(
    "The broker did not take the message: a queue is full, or has failed. Other queues may have it."
)
ONE_OF_SEVERAL: Final = Public(
    "The broker returned one of several messages, and it is not clear which one."
)

# Delivery tags from the oldest unconfirmed message to the newest. RabbitMQ gives a
# channel 400 credits and renews them in 200s: from 202 on its reader may stop.
WINDOW: Final = 200
# Seconds after which an oldest message without a confirm is not just slow.
STALL = 0.7
LOOKS = 2  # and so many looks, after the first that saw it
PIPELINED: Final = (
    ChannelPhase.PIPELINED
)  # what Python 3.11 takes long to find, as the constants above


class Watcher(Protocol):
    """Learns what becomes of a channel's messages, besides the clients that sent them."""

    def settled(
        self, channel: "ExchangeChannel", settled: list[tuple[Publish, Settlement]]
    ) -> None:
        """Take what the broker has settled, before the channel sends its next messages."""

    def gone(self, channel: "ExchangeChannel", again: Sequence[Publish]) -> None:
        """Note that the channel has ended; ``again`` are the messages to be sent once more."""


class ChannelOwner(PublishOwner):
    """The session, as its channels and their table see it."""

    state: SessionState
    credentials: Credentials
    used_at: float
    connection: BrokerConnection | None
    statistics: SessionStatistics
    alarm: ResourceAlarm
    progressed: bool

    @property
    @abstractmethod
    def writable(self) -> bool: ...
    @property
    @abstractmethod
    def is_excused(self) -> bool: ...
    @abstractmethod
    def submit_again(self, publishes: list[Publish]) -> None: ...
    @abstractmethod
    def hold(self, held: bool) -> None: ...
    @abstractmethod
    def channel_ended(self) -> None: ...
    @abstractmethod
    def stalled(self, words: str) -> None: ...


class Route(ABC):
    """What takes the messages of an exchange: its channel, or something in its place."""

    used_at: float  # loop time, to the second

    @abstractmethod
    def submit(self, publish: Publish) -> None:
        """Send the message now, or when its turn comes."""


class Table(Protocol):
    """What a channel knows of the table that it stands in."""

    starved: bool
    too_large: int

    def release(self, channel: "ExchangeChannel") -> None: ...
    def drop(self, channel: "ExchangeChannel") -> None: ...
    def guard(self, exchange: str) -> None: ...


class ExchangeChannel(Route):
    """Sends the messages of one exchange and settles them.

    ``single_use``: the channel ends as soon as it is idle. It was made for one message, or
    gets no more. ``alone``: it sends each message alone, not only the first.
    ``is_question``: it is opened to find out whether the broker still reads.
    """

    def __init__(
        self,
        session: ChannelOwner,
        table: Table,
        exchange: str,
        *,
        single_use: bool = False,
        alone: bool = False,
        is_question: bool = False,
        watcher: Watcher | None = None,
    ) -> None:
        self._session = session
        self._table = table
        self.exchange = exchange
        self.single_use = single_use
        self.is_question = is_question
        self.watcher = watcher
        self.phase = ChannelPhase.QUEUED
        self._proved = ChannelPhase.FRESH if alone else PIPELINED  # the phase after a confirm
        self.number = 0
        self.opened_at = 0.0  # loop time at which opening began
        self.used_at = 0.0  # loop time, to the second
        self.waiting: dict[Publish, None] = {}
        self.nacked = False  # something, ever

        self.sent = 0  # the delivery tag of the newest message
        self.oldest = 1  # that of the oldest unsettled one, or else of the next
        self._may_send = 1 + WINDOW  # the last delivery tag that is in the window
        self._settles = 0  # how many messages were settled

        self.head_since = self.settled_at = 0.0  # loop times, as ``look`` saw them
        self._head = self._seen = 0  # what it saw: a delivery tag, and a count of settled ones
        self._looks = 0  # how often it saw that

    def __repr__(self) -> str:
        return (
            f"<ExchangeChannel {self.number} for {self.exchange!r}: {self.phase.value}, "
            f"{self.in_flight} in flight, {len(self.waiting)} waiting>"
        )

    @property
    def in_flight(self) -> int:
        """Return how many messages the broker still has to settle."""
        return self.sent - self._settles

    @property
    def idle(self) -> bool:
        """Return whether nothing waits for the channel and nothing is unsettled on it."""
        return self.sent == self._settles and not self.waiting

    def open(self, number: int, now: float) -> None:
        """Note that the connection opens the channel under ``number``, at loop time ``now``."""
        self.number = number
        self.opened_at = self.used_at = now
        self.phase = ChannelPhase.OPENING

    def submit(self, publish: Publish) -> None:
        """Send the message now, or when its turn comes."""
        # The plain way, queue and pump, costs a dictionary entry for each message. An open
        # session submits, so this is its ``writable`` without the call.
        session = self._session
        if (
            self.phase is PIPELINED
            and not self.waiting
            and self.sent < self._may_send
            and session.connection.writable  # type: ignore[union-attr]  # it is open
            and not session.alarm.active
        ):
            self._send(publish)
        else:
            publish.wait_in(self.waiting)
            self.pump()

    def retire(self) -> list[Publish]:
        """Settle what is in flight, then end; return the messages that wait for another."""
        self.single_use = True
        waiting, self.waiting = list(self.waiting), {}
        self._release_if_idle()
        return waiting

    def pump(self) -> None:
        """Send the waiting messages, as far as the phase and the window allow."""
        while self.waiting and self._session.writable:
            if self.phase is PIPELINED:
                if self.sent >= self._may_send:
                    return
            elif self.phase is not ChannelPhase.FRESH or self.in_flight:
                return
            publish = next(iter(self.waiting))
            del self.waiting[publish]
            publish.queue = None
            try:
                self._send(publish)
            except Exception:  # of ours; those behind it go on
                logger.exception("sending a message failed")
                publish.refuse(Outcome.INTERNAL_ERROR, FAULT)

    def _send(self, publish: Publish) -> None:
        message = publish.message
        connection = self._session.connection
        assert connection is not None  # noqa: S101 - a channel without one is gone
        if len(message.header) > connection.amqp.max_header:
            publish.refuse(
                Outcome.BAD_REQUEST,
                Public(
                    "The properties and headers do not fit a frame of "
                    f"{connection.amqp.frame_max} bytes, which the broker agreed to."
                ),
            )
            self._release_if_idle()
            return
        connection.publish(self.number, publish)
        publish.state = HANDED_OVER
        publish.handed_over = True
        publish.handed_over_at = now = clock()
        if publish.waits_since:
            publish.tally.waited(now - publish.waits_since)
        else:
            publish.tally.at_once += 1
        self.sent += 1

    def look(self, now: float, patience: float = STALL) -> bool:
        """Return whether the oldest message has stayed the same for ``patience`` seconds."""
        if self._settles != self._seen or not self.in_flight:
            self._seen, self.settled_at = self._settles, now
        if self.oldest != self._head or not self.in_flight:
            self._head = self.oldest if self.in_flight else 0
            self.head_since = self.settled_at = now
            self._looks = 0
            return False
        # Several looks, because the time may have passed while this process did not run.
        self._looks += 1
        return now - self.head_since >= patience and self._looks >= LOOKS

    def forgive(self, now: float) -> None:
        """Begin to wait anew, because it was not the channel that did not answer."""
        self.head_since = self.settled_at = now
        if self.phase is ChannelPhase.OPENING:
            self.opened_at = now

    # What the connection reports (broker.connection.Channel)

    def opened(self) -> None:
        """Begin to send: the broker has opened the channel."""
        if self.is_question:
            self.is_question = False
            self._session.hold(False)
        if self.phase is ChannelPhase.GONE:
            return  # what came before Select-Ok in one read has released it
        self.phase = ChannelPhase.FRESH
        self._session.statistics.channels_opened += 1
        self.pump()
        self._release_if_idle()

    def settled(self, settled: list[tuple[Publish, Settlement]], oldest: int) -> None:
        """Tell the outcome of each message that the broker has settled, and send the next."""
        self.oldest = oldest
        self._may_send = oldest + WINDOW
        session = self._session
        count = len(settled)
        self._settles += count
        session.give_back(count)
        session.progressed = True
        self.phase = self._proved
        now = clock()
        for publish, settlement in settled:
            if settlement is ACKED:
                session.statistics.publishes += 1
                publish.confirm(now)
            else:
                self._not_confirmed(publish, settlement)
        if self.watcher is not None:
            self.watcher.settled(self, settled)
        if self.waiting:
            self.pump()
        if self._settles == self.sent and (self.single_use or self._table.starved):
            self._release_if_idle()

    def _not_confirmed(self, publish: Publish, settlement: Settlement) -> None:
        if settlement is Settlement.NACKED:
            self.nacked = True
            publish.finish(Outcome.NACKED, NOT_TAKEN)
        elif settlement is Settlement.RETURNED:
            publish.finish(*refusals.returned(publish.message))
        else:
            publish.finish(Outcome.UNCONFIRMED, ONE_OF_SEVERAL)

    def closed(self, code: int, text: str, lost: list[Publish], method: tuple[int, int]) -> None:
        """Tell each message what is certain after the broker's Close; send the others again."""
        session = self._session
        session.statistics.channels_refused += self.end()
        session.progressed = True
        self._settles = self.sent
        self._table.drop(self)
        if replies.is_topic(code, text) and not self.single_use:
            self._table.guard(self.exchange)
        again: list[Publish] = []
        if len(lost) == 1:
            # All before it are settled, all behind it were not sent: it is exactly this one's.
            refusal = refusals.channel_refusal(code, text, lost[0], method)
            self._refused(lost[0], refusal.outcome, refusal.detail)
            for publish in list(self.waiting) if refusal.shared else ():
                publish.refuse(refusal.outcome, refusal.detail)
        else:
            for publish, outcome, detail in refusals.attribute(code, text, lost, method):
                if outcome is None and publish.state is not SETTLED and publish.callback:
                    again.append(publish)
                else:
                    self._refused(publish, outcome or Outcome.UNCONFIRMED, detail)
        again += self.waiting
        if self.watcher is None:
            session.submit_again(again)
        else:
            self.watcher.gone(self, again)
        session.channel_ended()

    def _refused(self, publish: Publish, outcome: Outcome, detail: str) -> None:
        self._session.give_back(1)
        if outcome is Outcome.TOO_LARGE:
            self._table.too_large = min(self._table.too_large, publish.body_size)
        publish.finish(outcome, detail)

    def ended(self) -> None:
        """Note that the broker agrees to our Channel.Close."""
        self.end()
        self._session.channel_ended()

    def end(self) -> bool:
        """Take nothing more. Return whether that ends a channel that was counted as open."""
        was_open = self.phase in (ChannelPhase.FRESH, ChannelPhase.PIPELINED)
        self._session.statistics.channels_closed += was_open
        self.phase = ChannelPhase.GONE
        return was_open

    def lost(self) -> list[Publish]:
        """Return what still waits: the connection is gone."""
        self._session.statistics.channels_lost += self.end()
        self._settles = self.sent
        if self.watcher is not None:
            self.watcher.gone(self, ())
        return list(self.waiting)

    def _release_if_idle(self) -> None:
        if self.idle and (self.single_use or self._table.starved):
            self._table.release(self)
