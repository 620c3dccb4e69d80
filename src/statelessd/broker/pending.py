"""One message on its way: from the request that brought it to the one outcome it gets."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from time import perf_counter_ns
from typing import Final

from ..config.hosts import Host
from ..message import Message, Outcome
from ..telemetry.histogram import FineHistogram, Histogram
from .dialer import Dialer
from .state import PublishState
from .statistics import ExchangeCounts

logger: Final = logging.getLogger(__name__)

Callback = Callable[[Outcome, str], None]
"""Takes the outcome and a sentence about it for the client."""


WAITING: Final = PublishState.WAITING
HANDED_OVER: Final = PublishState.HANDED_OVER
SETTLED: Final = PublishState.SETTLED
CONFIRMED: Final = Outcome.CONFIRMED

clock: Final = perf_counter_ns  # nanoseconds


class PublishOwner(ABC):
    """The session that a publish belongs to, as it sees it."""

    virtual_host: str
    username: str
    dialer: Dialer
    load: int  # messages that wait here, or that the broker still has to settle

    def take(self) -> None:
        """Count one more message. Only this and ``give_back`` change ``load``."""
        self.load += 1

    def give_back(self, count: int) -> None:
        """Count ``count`` messages less: they are settled, lost, withdrawn or another's."""
        self.load -= count

    @abstractmethod
    def why_waiting(self) -> str:
        """Return a sentence for the client whose message was not handed over in time."""


class Tally:
    """What this backend holds at the moment, and what became of everything before."""

    __slots__ = (
        "_waits", "active", "at_once", "confirmed", "confirms", "exchanges", "outcomes", "size",
    )  # fmt: skip

    def __init__(self, exchanges: ExchangeCounts | None = None) -> None:
        self.active: set[Publish] = set()  # the publishes without an outcome
        self.size = 0  # and their bytes
        self.confirmed = 0
        self.outcomes: Counter[Outcome] = Counter()  # but for the confirmed ones
        self.at_once = 0  # messages that did not wait
        self._waits = Histogram()  # of the others, from being taken to being handed over
        self.confirms = FineHistogram()  # from being handed over to the broker's word
        self.exchanges = exchanges  # None: they are not counted one by one

    def waited(self, nanoseconds: int) -> None:
        """Count a message that was handed over after so long."""
        self._waits.observe(nanoseconds)

    def waits(self) -> Histogram:
        """Return how long messages waited until they were handed over."""
        found = Histogram()
        found.counts[:] = self._waits.counts
        found.counts[0] += self.at_once
        found.sum = self._waits.sum
        return found


class Publish:
    """A message, its deadline in loop time, and whom to tell.

    ``queue`` is the ordered set that holds it while it waits.
    """

    __slots__ = (
        "callback", "deadline", "handed_over", "handed_over_at", "message", "queue", "session",
        "size", "state", "tally", "virtual_host", "waits_since",
    )  # fmt: skip

    def __init__(
        self, virtual_host: str, message: Message, deadline: float, callback: Callback, tally: Tally
    ) -> None:
        self.virtual_host = virtual_host
        self.message = message
        self.deadline = deadline
        self.callback: Callback | None = callback
        self.tally = tally
        self.state = WAITING
        self.handed_over = False  # true once a byte of it may have left, and so to the end
        self.waits_since = 0  # nanoseconds; 0: it did not have to wait
        self.handed_over_at = 0  # likewise
        self.size = len(message.header) + len(message.body)
        self.queue: dict[Publish, None] | None = None
        self.session: PublishOwner | None = None

    def wait_in(self, queue: "dict[Publish, None]") -> None:
        """Join the end of a queue, not handed over or no longer so."""
        self.state = WAITING
        self.handed_over = False
        self.waits_since = self.waits_since or clock()
        self.queue = queue
        queue[self] = None

    @property
    def body_size(self) -> int:
        """Return the bytes of the body, also when the message is settled."""
        return self.size - len(self.message.header)

    @property
    def host(self) -> Host | None:
        """Return the node of the message's connection, as far as there is one."""
        node = None if self.session is None else self.session.dialer.node
        return None if node is None else node.host

    @property
    def destination(self) -> tuple[str, str]:
        """Return the exchange and the routing key: between equal ones, order is kept."""
        return self.message.exchange, self.message.routing_key

    def belong_to(self, session: PublishOwner) -> None:
        """Count for another session from now on."""
        if self.session is not None:
            self.session.give_back(1)
        self.session = session
        session.take()

    def leave_queue(self) -> None:
        """Stand in no queue any more."""
        if self.queue is not None:
            self.queue.pop(self, None)
            self.queue = None

    def refuse(self, outcome: Outcome, detail: str = "") -> None:
        """Settle a message that was not handed over: it will not be sent."""
        self.leave_queue()
        if self.state is WAITING and self.session is not None:
            self.session.give_back(1)
            self.session = None
        self.finish(outcome, detail)

    def confirm(self, now: int) -> None:
        """Settle the message: the broker has confirmed it, at ``now`` nanoseconds of ``clock``."""
        if self.state is not SETTLED:
            tally = self.tally
            tally.confirmed += 1
            tally.confirms.observe(now - self.handed_over_at)
            self._tell(CONFIRMED, "")

    def finish(self, outcome: Outcome, detail: str = "") -> None:
        """Settle the message and tell the outcome, once; do nothing the second time."""
        if self.state is not SETTLED:
            self.tally.outcomes[outcome] += 1
            self._tell(outcome, detail)

    def _tell(self, outcome: Outcome, detail: str) -> None:
        self.state = SETTLED
        tally = self.tally
        tally.active.discard(self)
        tally.size -= self.size
        if tally.exchanges is not None:
            tally.exchanges.count(self.virtual_host, self.message.exchange, outcome)
        self.message.body = b""  # the ledger may keep the rest of it for long
        callback, self.callback = self.callback, None
        if callback is not None:
            try:
                callback(outcome, detail)
            except Exception:
                # The fault is the caller's; the other messages of this connection go on.
                logger.exception("reporting the outcome %s failed", outcome.value)

    def __repr__(self) -> str:
        return f"<Publish {self.state.value} {self.message!r}>"
