"""One publish: taken within the bounds, given to its session, settled before its deadline."""

import asyncio
import logging
import platform
import socket
from collections import Counter
from typing import Any

from ..config.settings import Publish as Limits
from ..config.settings import RabbitMQ
from ..message import Credentials, Message, Outcome
from ..tls.client import Trust
from ..version import __version__
from .blockade import Blockade
from .logins import Login, logins
from .pool import Pool
from .probe import Probe
from .publish import WAITING, Callback, Publish, Tally
from .reachability import KNOWN_FOR, Reachability
from .state import SessionState
from .statistics import BrokerMetrics, BrokerState, BrokerStatus, ExchangeCounts, Load, NodeMetrics

logger = logging.getLogger(__name__)

SWEEP = 0.05  # seconds; a deadline is kept to within this
CHECK = 0.2  # seconds; how soon a channel is missed that does not answer
TICK = 1.0  # seconds
GOODBYE = 2.0  # seconds for closing channels and connections
UNANSWERED = BrokerState(BrokerStatus.UNREACHABLE, "the broker has not answered yet")
PATIENCE = 0.5  # seconds; who asks for the broker's state waits no longer: balancers do not either


class Publisher:
    """The broker as the HTTP edge sees it, over TLS with ``trust``. Belongs to one event loop.

    Nothing waits here without a deadline, and nothing without a bound: messages
    and bytes in all, messages for each session, sessions in all.
    """

    def __init__(
        self,
        rabbitmq: RabbitMQ,
        limits: Limits,
        *,
        trust: Trust | None = None,
        loop: asyncio.AbstractEventLoop,
        backend: str,
        counted_exchanges: int = 0,
    ) -> None:
        self._loop = loop
        self._max_messages = limits.max_messages
        self._max_bytes = limits.max_bytes
        self.max_connections = rabbitmq.max_connections
        self.in_flight_per_login = rabbitmq.in_flight_per_connection
        self._tally = Tally(ExchangeCounts(counted_exchanges) if counted_exchanges else None)
        self._blockade = Blockade(self._refuse_waiting, self._resume_all)
        self._reachability = Reachability(max(KNOWN_FOR, rabbitmq.probe.interval))
        self._pool = Pool(
            rabbitmq,
            client_properties=_client_properties(f"statelessd {backend}"),
            blockade=self._blockade,
            reachability=self._reachability,
            trust=trust,
            loop=loop,
        )
        self._probe = Probe(
            rabbitmq,
            self._reachability,
            client_properties=_client_properties(f"statelessd {backend} probe"),
            dialer=self._pool.new_dialer(),
            loop=loop,
        )
        self.refusals: Counter[str] = Counter()  # by limit
        self._closing = False
        self._ticked_at = self._checked_at = loop.time()
        self._timer = loop.call_later(SWEEP, self._sweep)

    def publish(
        self,
        virtual_host: str,
        credentials: Credentials,
        message: Message,
        deadline: float,
        settled: Callback,
    ) -> Publish:
        """Publish one message; ``deadline`` is in loop time.

        ``settled`` is called exactly once, with the outcome and a sentence about
        it, by the deadline at the latest; perhaps before this returns.
        """
        tally = self._tally
        publish = Publish(virtual_host, message, deadline, settled, tally)
        tally.active.add(publish)
        tally.size += publish.size
        if self._closing:
            publish.finish(Outcome.SHUTTING_DOWN, "This backend is shutting down.")
        elif self._blockade.active:
            publish.finish(Outcome.BROKER_BLOCKED, self._blocked_because())
        elif len(tally.active) > self._max_messages or tally.size > self._max_bytes:
            self.refusals["messages" if len(tally.active) > self._max_messages else "bytes"] += 1
            publish.finish(Outcome.OVERLOADED, "Too many messages wait for the broker here.")
        else:
            session = self._pool.session(virtual_host, credentials)
            if session is None:
                self.refusals["broker_connections"] += 1
                publish.finish(Outcome.OVERLOADED, "All connections to the broker are in use.")
            elif session.load >= self.in_flight_per_login:
                self.refusals["login"] += 1
                publish.finish(
                    Outcome.OVERLOADED, "Too many messages of this user wait for the broker."
                )
            else:
                publish.session = session
                session.load += 1
                session.submit(publish)
        return publish

    def cancel(self, publish: Publish) -> None:
        """The client is gone: nobody will be told, and what was not handed over is not sent."""
        publish.callback = None
        if publish.state is WAITING:
            publish.withdraw()
            publish.finish(Outcome.INTERNAL_ERROR)

    def reserve(self, size: int) -> bool:
        """Count bytes of a body that is still arriving; False when there is no room for them."""
        if self._tally.size + size > self._max_bytes:
            self.refusals["arriving_bytes"] += 1
            return False
        self._tally.size += size
        return True

    def release(self, size: int) -> None:
        """Give back what was reserved."""
        self._tally.size -= size

    def connection_statistics(self) -> dict[str, dict[str, Any]]:
        """The ``connections`` of ``/stats``: virtual host and user -> what the original showed."""
        connected = set()
        waiting: dict[tuple[str, str], int] = {}
        for session in self._pool.sessions():
            if session.state is SessionState.OPEN:
                connected.add((session.virtual_host, session.username))
        for publish in self._tally.active:
            if publish.state is WAITING and publish.session is not None:
                key = (publish.session.virtual_host, publish.session.username)
                waiting[key] = waiting.get(key, 0) + 1
        return {
            f"{key[0]}:{key[1]}": {
                "connections": {
                    "opened": counted.connections_opened,
                    "closed": counted.connections_closed,
                },
                "channels": {"opened": counted.channels_opened, "closed": counted.channels_closed},
                "connected": key in connected,
                "publishes": counted.publishes,
                "queue_size": waiting.get(key, 0),
            }
            for key, counted in self._pool.statistics.items()
        }

    def logins(self, backend: str) -> list[Login]:
        """The same logins and those that have not succeeded yet, as people look at them."""
        pool = self._pool
        return logins(backend, pool.statistics, pool.sessions(), self._tally.active)

    def load(self) -> Load:
        """What is told each second."""
        tally, pool = self._tally, self._pool
        waiting = sum(publish.state is WAITING for publish in tally.active)
        return Load(
            sum(each.publishes for each in pool.statistics.values()) + pool.forgotten.publishes,
            waiting,
            len(tally.active) - waiting,
            sum(session.state is SessionState.OPEN for session in pool.sessions()),
            tally.confirms,
        )

    def metrics(self) -> BrokerMetrics:
        """Everything that is counted, at this moment."""
        tally, pool, sessions = self._tally, self._pool, self._pool.sessions()
        counters = pool.counters
        waiting = sum(publish.state is WAITING for publish in tally.active)
        live = [s.connection for s in sessions if s.connection is not None]
        per_login = [*pool.statistics.values(), pool.forgotten]
        closed = sum(each.channels_closed for each in per_login)
        refused = sum(each.channels_refused for each in per_login)
        lost = sum(each.channels_lost for each in per_login)
        to_node = Counter(s.dialer.node for s in sessions if s.state is SessionState.OPEN)
        return BrokerMetrics(
            outcomes={
                Outcome.CONFIRMED.value: tally.confirmed,
                **{outcome.value: count for outcome, count in tally.outcomes.items()},
            },
            by_exchange=None
            if tally.exchanges is None
            else {
                key: {outcome.value: count for outcome, count in counted.items()}
                for key, counted in tally.exchanges.counts.items()
            },
            waits=tally.waits,
            confirms=tally.confirms,
            waiting=waiting,
            in_flight=len(tally.active) - waiting,
            bytes=tally.size,
            refusals=dict(self.refusals),
            connections=sum(s.state is SessionState.OPEN for s in sessions),
            nodes=[NodeMetrics(str(n.host), to_node[n], n.up) for n in pool.nodes],
            connections_opened=sum(each.connections_opened for each in per_login),
            connections_closed=dict(counters.closed),
            attempts_failed=counters.attempts_failed,
            logins_refused=counters.logins_refused,
            channels_opened=sum(each.channels_opened for each in per_login),
            channels_closed={
                "broker": refused,
                "connection": lost,
                "released": closed - refused - lost,
            },
            blocked=self._blockade.active,
            blocked_nanoseconds=self._blockade.nanoseconds,
            received=counters.received + sum(each.received for each in live),
            sent=counters.sent + sum(each.sent for each in live),
        )

    def broker_state(self) -> BrokerState:
        """What a publish would find now, as far as is known without asking the broker."""
        if self._blockade.active:
            return BrokerState(BrokerStatus.BLOCKED, self._blockade.reason)
        state = self._reachability.state
        if state.state is BrokerStatus.UNUSED and self._probe.waits_for >= PATIENCE:
            return UNANSWERED
        return state

    def look_at_broker(self) -> None:
        """Ask the broker where nobody else does, for whoever wants its state a moment later."""
        self._probe.start()

    async def ask_broker(self) -> BrokerState:
        """The same, after asking the broker where nobody else does."""
        await self._probe.look(PATIENCE)
        state = self.broker_state()
        if state.state is BrokerStatus.UNUSED and self._probe.is_under_way:
            return UNANSWERED
        return state

    def stop(self) -> None:
        """Answer what is left, and take nothing more."""
        self._closing = True
        for publish in list(self._tally.active):
            self._give_up(publish, Outcome.SHUTTING_DOWN, "This backend is shutting down.")

    async def close(self) -> None:
        """Stop, then close channels and connections in order."""
        self.stop()
        self._timer.cancel()
        await self._probe.close()
        await self._pool.close(GOODBYE)

    def _sweep(self) -> None:
        # First of all the next one: whatever fails below, deadlines must be kept.
        self._timer = self._loop.call_later(SWEEP, self._sweep)
        # Looking at all of them is cheaper than a timer for each: on a good day
        # there are a few dozen at any moment.
        now = self._loop.time()
        for publish in [p for p in self._tally.active if p.deadline <= now]:
            session = publish.session
            why = session.why_waiting() if session is not None else ""
            self._give_up(publish, Outcome.BROKER_UNAVAILABLE, why)
        if now - self._checked_at >= CHECK:
            self._checked_at = now
            self._pool.check(now)
        if now - self._ticked_at >= TICK:
            self._ticked_at = now
            self._pool.tick(now)
            self._reachability.logins.tick()

    def _give_up(self, publish: Publish, outcome: Outcome, detail: str) -> None:
        """``outcome`` if the message was not handed over; else nothing is known of it."""
        if publish.handed_over:
            publish.finish(Outcome.UNCONFIRMED, "The broker did not confirm the message in time.")
        else:
            publish.withdraw()
            publish.finish(outcome, detail)

    def _refuse_waiting(self) -> None:
        detail = self._blocked_because()
        for publish in [p for p in self._tally.active if p.state is WAITING]:
            publish.withdraw()
            publish.finish(Outcome.BROKER_BLOCKED, detail)

    def _resume_all(self) -> None:
        for session in self._pool.sessions():
            session.connection_writable()

    def _blocked_because(self) -> str:
        return f"The broker takes no messages for now: {self._blockade.reason}."


def _client_properties(name: str) -> dict[str, Any]:
    """What RabbitMQ's connection list shows of us."""
    return {
        "product": "statelessd",
        "version": __version__,
        "platform": f"Python {platform.python_version()}",
        "information": "HTTP to AMQP publishing gateway",
        "connection_name": name,
        "host": socket.gethostname(),
    }
