"""Slow, stuck or gone: whether a session's connection still does its work.

A channel whose oldest message stays unconfirmed may have met a slow broker, a queue that
is stuck, or a connection that is gone. The broker is asked: its reader answers
Channel.Open, whatever queues do. If it answers, the connection is kept. If it does not
answer in time, the connection is replaced.
"""

from typing import Any, Protocol

from ..amqp.events import Settlement
from .channel import STALL, ExchangeChannel
from .connection import BrokerConnection
from .split_exchange import SplitExchange
from .state import ChannelPhase

LATE = 1.0  # seconds since the last look: this process did not run, and it proves nothing
DOUBT = 0.5  # seconds without an answer from which on no message is handed over
STUCK = 1.5  # seconds without any confirm after which another node may do better
UNASKED = 30.0  # seconds without a confirm where no channel is left to ask with


class Owner(Protocol):
    """The session, as its stall sees it."""

    load: int
    progressed: bool
    slowness: float

    @property
    def is_open(self) -> bool: ...
    @property
    def may_part(self) -> bool: ...
    @property
    def is_excused(self) -> bool: ...
    def routes(self) -> list[ExchangeChannel | SplitExchange]: ...
    def all_channels(self) -> list[ExchangeChannel]: ...
    def parted(self, exchange: str) -> SplitExchange: ...
    def hold(self, held: bool) -> None: ...
    def stalled(self, reason: str) -> None: ...


class StallDetector:
    """Looks at the channels several times a second while messages are unsettled.

    ``doubtful``: the broker was asked and has not answered yet.
    """

    def __init__(self, session: Owner, patience: float) -> None:
        self.doubtful = False
        self.progress_at = 0.0  # loop time at which something was settled, or nothing waited
        self._session = session
        self._patience = patience  # seconds for an answer
        self._checked_at = 0.0

    def is_stuck(self, now: float) -> bool:
        """Return whether the broker answers, and confirms nothing of all that is unsettled."""
        session = self._session
        stuck = session.load > 0 and now - self.progress_at >= STUCK
        return stuck and session.is_open and not self.doubtful

    def check(self, now: float) -> None:
        """Find the channels that do not answer, and ask."""
        session = self._session
        late = now - self._checked_at > LATE
        self._checked_at = now
        # Neither an alarm nor a slow network says anything about queues.
        excused = session.is_excused or late
        # Messages that wait elsewhere, as on quarantine, say nothing about this connection.
        idle = all(channel.idle for channel in session.all_channels())
        if session.progressed or excused or idle:
            session.progressed, self.progress_at = False, now
        if excused:
            for channel in session.all_channels():
                channel.forgive(now)
            return
        for route in session.routes():
            if isinstance(route, SplitExchange):
                route.check(now)
            elif route.look(now, max(STALL, session.slowness)) and session.may_part:
                session.parted(route.exchange).check(now)
        self._count_on_answers(now)

    def _count_on_answers(self, now: float) -> None:
        session = self._session
        waited = max(
            (
                now - max(channel.opened_at, self.progress_at)
                for channel in session.all_channels()
                if channel.is_question and channel.phase is ChannelPhase.OPENING
            ),
            default=0.0,
        )
        # One that is known to be slow gets the time it needs.
        session.hold(waited > max(DOUBT, session.slowness / 2))
        patience = max(self._patience, session.slowness)
        if waited > patience:
            session.stalled(f"the broker did not answer for {patience:g} s")
        elif now - self.progress_at > UNASKED and not session.may_part:
            session.stalled(f"the broker confirmed nothing for {UNASKED:g} s")


class Question:
    """A channel that is opened to learn when the broker reads again; it closes itself.

    RabbitMQ reads nothing from a connection that an alarm blocks. So Open-Ok comes when
    the alarm is over, also if the word that it is over was lost.
    """

    def __init__(self, connection: BrokerConnection) -> None:
        self._connection = connection
        self._number = connection.amqp.open_channel(connection.channels)
        connection.channels[self._number] = self
        connection.flush_soon()

    def opened(self) -> None:
        """The broker reads."""
        self._connection.read_again()
        self._connection.amqp.close_channel(self._number)
        self._connection.flush_soon()

    def settled(self, settled: list[tuple[Any, Settlement]], oldest: int) -> None:
        """Nothing is sent on it."""

    def closed(self, code: int, text: str, lost: list[Any], method: tuple[int, int]) -> None:
        """Nothing is lost with it."""

    def ended(self) -> None:
        """It has done its work."""
