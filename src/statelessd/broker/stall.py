"""Slow, stuck or gone: whether a session's connection still does its work.

When a channel's oldest message stays unconfirmed, the broker is asked: its reader answers
Channel.Open, whatever queues do. If it does not answer in time, the connection is replaced.
"""

from .channel import STALL
from .channel_table import ChannelTable
from .split_exchange import SplitExchange
from .state import ChannelPhase

LATE = 1.0  # seconds since the last check: this process did not run, and it proves nothing
DOUBT = 0.5  # seconds without an answer from which on no message is handed over
STUCK = 1.5  # seconds without any confirm after which another node may do better
UNASKED = 30.0  # seconds without a confirm where no channel is left to ask with


class StallDetector:
    """Looks at the channels of one connection while messages are unsettled.

    ``patience``: seconds that the broker has for an answer.
    ``doubtful``: the broker was asked and has not answered yet.
    """

    def __init__(self, table: ChannelTable, patience: float) -> None:
        self.doubtful = False
        self._table = table
        self._patience = patience
        self._progress_at = 0.0  # loop time at which something was settled, or nothing waited
        self._checked_at = 0.0  # loop time

    def is_stuck(self, now: float) -> bool:
        """Return whether the broker answers, and confirms nothing of all that is unsettled."""
        stuck = self._table.session.load > 0 and now - self._progress_at >= STUCK
        return stuck and self._table.is_open and not self.doubtful

    def check(self, now: float) -> None:
        """Find the channels that do not answer, and ask the broker. Several times a second."""
        table, session = self._table, self._table.session
        late = now - self._checked_at > LATE
        self._checked_at = now
        if table.is_at_rest and not (session.progressed or self.doubtful):
            # With a thousand logins, most are. What follows asks the kernel about each.
            self._progress_at = now
            return
        # Neither an alarm nor a slow network says anything about queues.
        excused = session.is_excused or late
        # Messages that wait elsewhere, as in quarantine, say nothing about this connection.
        idle = all(channel.idle for channel in table.channels())
        if session.progressed or excused or idle:
            session.progressed, self._progress_at = False, now
        if excused:
            for channel in table.channels():
                channel.forgive(now)
            return
        for route in table.routes():
            if isinstance(route, SplitExchange):
                route.check(now)
            elif route.look(now, max(STALL, table.slowness)) and table.may_split:
                table.split(route.exchange).check(now)
        self._wait_for_answer(now)

    def _wait_for_answer(self, now: float) -> None:
        table, session = self._table, self._table.session
        asked_at = [
            max(channel.opened_at, self._progress_at)
            for channel in table.channels()
            if channel.is_question and channel.phase is ChannelPhase.OPENING
        ]
        waited = now - min(asked_at, default=now)
        # A broker that is known to be slow gets the time that it needs.
        session.hold(waited > max(DOUBT, table.slowness / 2))
        patience = max(self._patience, table.slowness)
        if waited > patience:
            session.stalled(f"the broker did not answer for {patience:g} s")
        elif now - self._progress_at > UNASKED and not table.may_split:
            session.stalled(f"the broker confirmed nothing for {UNASKED:g} s")
