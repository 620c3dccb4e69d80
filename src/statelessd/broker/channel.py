"""One confirm-mode channel for one exchange, and the messages that wait for it.

A fresh channel sends one message alone: whatever the broker closes it over is
then exactly that message's refusal. After its first confirm the rest follows
in one stream.
"""

import enum
from time import perf_counter_ns
from typing import Any, Protocol

from ..amqp.events import Settlement
from ..message import Outcome
from . import refusals
from .connection import BrokerConnection
from .publish import HANDED_OVER, SETTLED, Publish
from .statistics import SessionStatistics

ACKED = Settlement.ACKED
NACKED = Settlement.NACKED
RETURNED = Settlement.RETURNED
CONFIRMED = Outcome.CONFIRMED


class Phase(enum.Enum):
    """The life of a channel, in order."""

    QUEUED = "queued"  # the connection has no room for another channel yet
    OPENING = "opening"
    FRESH = "fresh"  # open, nothing confirmed on it: one message at a time
    PIPELINED = "pipelined"
    GONE = "gone"


PIPELINED = Phase.PIPELINED  # what Python 3.11 takes long to find, as the constants above


class Owner(Protocol):
    """The session, as its channels see it."""

    connection: BrokerConnection | None
    statistics: SessionStatistics
    load: int
    progressed: bool
    starved: bool

    @property
    def writable(self) -> bool: ...
    def submit_again(self, publishes: list[Publish]) -> None: ...
    def release(self, channel: "ExchangeChannel") -> None: ...
    def drop(self, channel: "ExchangeChannel") -> None: ...
    def channel_ended(self) -> None: ...


class ExchangeChannel:
    """``single_use``: made for one message which may close it for a reason of its own."""

    def __init__(self, session: Owner, exchange: str, *, single_use: bool = False) -> None:
        self.exchange = exchange
        self.single_use = single_use
        self.phase = Phase.QUEUED
        self.number = 0
        self.opened_at = 0.0  # loop time at which opening began
        self.used_at = 0.0  # loop time, to the second
        self.in_flight = 0
        self.nacked = False  # something, ever
        self.waiting: dict[Publish, None] = {}
        self._session = session

    @property
    def idle(self) -> bool:
        """Nothing waits for it and nothing is unsettled on it."""
        return not self.in_flight and not self.waiting

    def open(self, number: int, now: float) -> None:
        """The connection had room: ``number`` is being opened."""
        self.number = number
        self.opened_at = self.used_at = now
        self.phase = Phase.OPENING

    def submit(self, publish: Publish) -> None:
        """Send the message now, or when its turn comes."""
        # The plain way, queue and pump, costs a dictionary entry for each message.
        if self.phase is PIPELINED and not self.waiting and self._session.writable:
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
            if self.phase is Phase.FRESH:
                if self.in_flight:
                    return
            elif self.phase is not Phase.PIPELINED:
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
        self.in_flight += 1

    # What the broker says

    def opened(self) -> None:
        self.phase = Phase.FRESH
        self._session.statistics.channels_opened += 1
        self.pump()
        self._release_if_idle()

    def settled(self, settled: list[tuple[Publish, Settlement]]) -> None:
        session = self._session
        count = len(settled)
        self.in_flight -= count
        session.load -= count
        session.progressed = True
        self.phase = PIPELINED
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
        if self.waiting:
            self.pump()
        if not self.in_flight:
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
        self.phase = Phase.GONE
        session.drop(self)
        self.in_flight = 0
        again: list[Publish] = []
        waiting = list(self.waiting)
        if alone:
            refusal = refusals.channel_refusal(code, text, lost[0], method)
            session.load -= 1
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
                publish.finish(outcome or Outcome.UNCONFIRMED, detail)
        session.submit_again(again + waiting)
        session.channel_ended()

    def ended(self) -> None:
        """Our own close is complete."""
        self.phase = Phase.GONE
        self._session.statistics.channels_closed += 1
        self._session.channel_ended()

    def lost(self) -> list[Publish]:
        """The connection is gone: what still waits."""
        if self.phase in (Phase.FRESH, Phase.PIPELINED):
            self._session.statistics.channels_closed += 1
            self._session.statistics.channels_lost += 1
        self.phase = Phase.GONE
        self.in_flight = 0
        return list(self.waiting)

    def _release_if_idle(self) -> None:
        if self.idle and (self.single_use or self._session.starved):
            self._session.release(self)


def waiting_of(channels: list[ExchangeChannel]) -> list[Any]:
    """What waits for any of these channels, in order for each exchange."""
    return [publish for channel in channels for publish in channel.lost()]
