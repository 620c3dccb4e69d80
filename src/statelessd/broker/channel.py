"""One confirm-mode channel for one exchange, and the messages that wait for it.

A fresh channel sends one message alone: whatever the broker closes it over is
then exactly that message's refusal. After its first confirm the rest follows
in one stream, within a window: RabbitMQ stops reading the whole connection when
some 200 messages have followed one that it cannot confirm.
"""

from collections.abc import Sequence
from time import perf_counter_ns
from typing import Protocol

from ..amqp.events import Settlement
from ..message import Outcome
from . import refusals, replies
from .connection import BrokerConnection
from .pending import HANDED_OVER, SETTLED, Publish
from .state import ChannelPhase
from .statistics import SessionStatistics

ACKED = Settlement.ACKED
NACKED = Settlement.NACKED
RETURNED = Settlement.RETURNED
CONFIRMED = Outcome.CONFIRMED

# Delivery tags from the oldest unconfirmed message to the newest. RabbitMQ gives a
# channel 400 credits and renews them in 200s: from 202 on its reader may stop.
WINDOW = 200
# Seconds after which an oldest message without a confirm is not just slow.
STALL = 0.7
LOOKS = 2  # and so many looks, after the first that saw it


PIPELINED = ChannelPhase.PIPELINED  # what Python 3.11 takes long to find, as the constants above


class Watcher(Protocol):
    """Who has to know what becomes of a channel's messages, besides those who sent them."""

    def settled(
        self, channel: "ExchangeChannel", settled: list[tuple[Publish, Settlement]]
    ) -> None:
        """Take what the broker settled, before the channel sends what waits for it."""

    def gone(self, channel: "ExchangeChannel", again: Sequence[Publish]) -> None:
        """Take note that the channel has ended; ``again``: what it leaves to be sent."""


class Owner(Protocol):
    """The session, as its channels see it."""

    connection: BrokerConnection | None
    statistics: SessionStatistics
    load: int
    progressed: bool
    starved: bool
    too_large: int

    @property
    def writable(self) -> bool: ...
    def submit_again(self, publishes: list[Publish]) -> None: ...
    def release(self, channel: "ExchangeChannel") -> None: ...
    def drop(self, channel: "ExchangeChannel") -> None: ...
    def guard(self, exchange: str) -> None: ...
    def hold(self, held: bool) -> None: ...
    def channel_ended(self) -> None: ...


class ExchangeChannel:
    """Sends the messages of one exchange and settles them.

    ``single_use``: it ends when it is idle, for it was made for one message, or is given
    no more. ``alone``: it sends each message alone, not just the first.
    ``is_question``: it is opened to find out whether the broker still reads.
    """

    def __init__(
        self,
        session: Owner,
        exchange: str,
        *,
        single_use: bool = False,
        alone: bool = False,
        is_question: bool = False,
        watcher: Watcher | None = None,
    ) -> None:
        self.exchange = exchange
        self.single_use = single_use
        self.is_question = is_question
        self.watcher = watcher
        self.phase = ChannelPhase.QUEUED
        self._proved = (
            ChannelPhase.FRESH if alone else ChannelPhase.PIPELINED
        )  # the phase after a confirm
        self.number = 0
        self.opened_at = 0.0  # loop time at which opening began
        self.used_at = 0.0  # loop time, to the second
        self.sent = 0  # the delivery tag of the newest message
        self.oldest = 1  # that of the oldest unsettled one, or else of the next
        self._may_send = 1 + WINDOW  # the last delivery tag that is in the window
        self._settles = 0  # how many messages were settled
        self.nacked = False  # something, ever
        self.waiting: dict[Publish, None] = {}
        self.head_since = self.settled_at = 0.0  # loop times, as ``look`` saw them
        self._head = self._seen = 0  # what it saw: a delivery tag, and a count of settled ones
        self._looks = 0  # how often it saw that
        self._session = session

    @property
    def in_flight(self) -> int:
        """Return how many messages await the broker's word."""
        return self.sent - self._settles

    @property
    def idle(self) -> bool:
        """Nothing waits for it and nothing is unsettled on it."""
        return self.sent == self._settles and not self.waiting

    def open(self, number: int, now: float) -> None:
        """The connection had room: ``number`` is being opened."""
        self.number = number
        self.opened_at = self.used_at = now
        self.phase = ChannelPhase.OPENING

    def submit(self, publish: Publish) -> None:
        """Send the message now, or when its turn comes."""
        # The plain way, queue and pump, costs a dictionary entry for each message.
        if (
            self.phase is PIPELINED
            and not self.waiting
            and self.sent < self._may_send
            and self._session.writable
        ):
            self._send(publish)
        else:
            publish.wait_in(self.waiting)
            self.pump()

    def retire(self) -> list[Publish]:
        """Settle what is in flight, and end; what still waits is somebody else's now."""
        self.single_use = True
        waiting, self.waiting = list(self.waiting), {}
        self._release_if_idle()
        return waiting

    def pump(self) -> None:
        """Hand over what may be handed over."""
        while self.waiting and self._session.writable:
            if self.phase is PIPELINED:
                if self.sent >= self._may_send:
                    return
            elif self.phase is not ChannelPhase.FRESH or self.in_flight:
                return
            publish = next(iter(self.waiting))
            del self.waiting[publish]
            publish.queue = None
            self._send(publish)

    def _send(self, publish: Publish) -> None:
        message = publish.message
        session = self._session
        connection = session.connection
        assert connection is not None  # noqa: S101 - a channel without one is gone
        if len(message.header) > connection.amqp.max_header:
            session.load -= 1
            publish.finish(
                Outcome.BAD_REQUEST,
                "The properties and headers do not fit a frame of "
                f"{connection.amqp.frame_max} bytes, which the broker agreed to.",
            )
            self._release_if_idle()
            return
        connection.publish(self.number, publish)
        publish.state = HANDED_OVER
        publish.handed_over = True
        publish.handed_over_at = now = perf_counter_ns()
        if publish.waits_since:
            publish.tally.waits.observe(now - publish.waits_since)
        else:
            publish.tally.waits.counts[0] += 1
        self.sent += 1

    def look(self, now: float, patience: float = STALL) -> bool:
        """Return whether the oldest message has been unconfirmed for ``patience`` seconds.

        A slow broker confirms late, but it goes on: each look sees another oldest message.
        """
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
        """Begin to wait anew: it was not the channel that did not answer."""
        self.head_since = self.settled_at = now
        if self.phase is ChannelPhase.OPENING:
            self.opened_at = now

    # What the broker says

    def opened(self) -> None:
        self.phase = ChannelPhase.FRESH
        self._session.statistics.channels_opened += 1
        if self.is_question:
            self.is_question = False
            self._session.hold(False)
        self.pump()
        self._release_if_idle()

    def settled(self, settled: list[tuple[Publish, Settlement]], oldest: int) -> None:
        self.oldest = oldest
        self._may_send = oldest + WINDOW
        session = self._session
        count = len(settled)
        self._settles += count
        session.load -= count
        session.progressed = True
        self.phase = self._proved
        for publish, settlement in settled:
            if settlement is ACKED:
                session.statistics.publishes += 1
                publish.finish(CONFIRMED)
            elif settlement is NACKED:
                self.nacked = True
                publish.finish(
                    Outcome.NACKED,
                    "The broker did not take the message: a queue is full and rejects, or failed. "
                    "Other queues may have it.",
                )
            elif settlement is RETURNED:
                publish.finish(*refusals.returned(publish.message))
            else:
                publish.finish(
                    Outcome.UNCONFIRMED,
                    "The broker returned a message and did not say which of several it was.",
                )
        if self.watcher is not None:
            self.watcher.settled(self, settled)
        if self.waiting:
            self.pump()
        if self._settles == self.sent:
            self._release_if_idle()

    def closed(
        self, code: int, text: str, lost: list[Publish], method: tuple[int, int] = (60, 40)
    ) -> None:
        """The broker closed the channel: each message gets what is certain, the rest a new one."""
        session = self._session
        session.statistics.channels_closed += 1
        session.statistics.channels_refused += 1
        session.progressed = True
        # All before it are settled, all behind it were not sent: it is exactly this one's.
        alone = len(lost) == 1
        self.phase = ChannelPhase.GONE
        session.drop(self)
        self._settles = self.sent
        again: list[Publish] = []
        waiting = list(self.waiting)
        if replies.is_topic(code, text) and not self.single_use:
            session.guard(self.exchange)
        if alone:
            refusal = refusals.channel_refusal(code, text, lost[0], method)
            session.load -= 1
            if refusal.outcome is Outcome.TOO_LARGE:
                session.too_large = min(session.too_large, lost[0].body_size)
            lost[0].finish(refusal.outcome, refusal.detail)
            if refusal.shared:
                for publish in waiting:
                    publish.withdraw()
                    publish.finish(refusal.outcome, refusal.detail)
                waiting = []
        else:
            for publish, outcome, detail in refusals.attribute(code, text, lost, method):
                if outcome is None and publish.state is not SETTLED and publish.callback:
                    again.append(publish)
                    continue
                session.load -= 1
                if outcome is Outcome.TOO_LARGE:
                    session.too_large = min(session.too_large, publish.body_size)
                publish.finish(outcome or Outcome.UNCONFIRMED, detail)
        if self.watcher is None:
            session.submit_again(again + waiting)
        else:
            self.watcher.gone(self, again + waiting)
        session.channel_ended()

    def ended(self) -> None:
        """Our own close is complete."""
        self.phase = ChannelPhase.GONE
        self._session.statistics.channels_closed += 1
        self._session.channel_ended()

    def lost(self) -> list[Publish]:
        """The connection is gone: what still waits."""
        if self.phase in (ChannelPhase.FRESH, ChannelPhase.PIPELINED):
            self._session.statistics.channels_closed += 1
            self._session.statistics.channels_lost += 1
        self.phase = ChannelPhase.GONE
        self._settles = self.sent
        if self.watcher is not None:
            self.watcher.gone(self, ())
        return list(self.waiting)

    def _release_if_idle(self) -> None:
        if self.idle and (self.single_use or self._session.starved):
            self._session.release(self)
