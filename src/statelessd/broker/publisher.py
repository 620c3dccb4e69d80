"""The way in: a message is taken within the bounds and gets its outcome by its deadline."""

import asyncio
import logging
import platform
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..config.settings import Publish as Limits
from ..config.settings import RabbitMQ
from ..failures import Failures
from ..message import STOPPING, Credentials, Message, Outcome, Public
from ..tls.client import Trust
from ..version import __version__
from .alarm import ResourceAlarm
from .dialer import Dialer
from .figures import BrokerFigures, BrokerState, BrokerStatus
from .login_gate import Crowd, LoginGate, Sender
from .logins import CONNECTED, Login, logins
from .pending import WAITING, Callback, Publish, Tally
from .pool import Pool
from .probe import Probe
from .reachability import KNOWN_FOR, Reachability
from .shared import Shared
from .state import SessionState
from .statistics import ConnectionCounters, ExchangeCounts

logger = logging.getLogger(__name__)

SWEEP = 0.05  # seconds; a deadline is kept to within this
CHECK = 0.2  # seconds; how soon a channel is missed that does not answer
TICK = 1.0  # seconds
GOODBYE = 2.0  # seconds for closing channels and connections
TOO_MANY_MESSAGES = Public("Too many messages are waiting for the broker.")
TOO_MANY_OF_LOGIN = Public("Too many messages of this user are waiting for the broker.")
NOT_CONFIRMED = Public("The broker did not confirm the message in time.")
UNANSWERED = BrokerState(BrokerStatus.UNREACHABLE, "the broker has not answered yet")
PATIENCE = 0.5  # seconds; who asks for the broker's state waits no longer: balancers do not either


class Publisher:
    """The broker as the gateway sees it, on one event loop, over TLS with ``trust``.

    Nothing waits without a deadline. Bounds limit all messages, their bytes, the messages of
    each session, and the sessions.
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
        self._max_stranger_bytes = limits.max_bytes // 2
        self.in_flight_per_login = rabbitmq.in_flight_per_connection
        self._tally = Tally(ExchangeCounts(counted_exchanges) if counted_exchanges else None)
        self._alarm = ResourceAlarm(loop, self._refuse_waiting, self._resume_all)
        self._reachability = Reachability(max(KNOWN_FOR, rabbitmq.probe.interval))
        self._counters = ConnectionCounters()
        crowd = Crowd(limits.max_messages, limits.max_bytes)
        self._gate = LoginGate(rabbitmq.max_logins, crowd, self._counters, loop)
        properties = _client_properties(f"statelessd {backend}")
        shared = Shared(
            rabbitmq,
            properties,
            self._alarm,
            self._reachability,
            self._counters,
            self._gate,
            loop,
        )
        self._pool = Pool(shared, trust)
        properties = _client_properties(f"statelessd {backend} probe")
        self._probe = Probe(
            shared._replace(client_properties=properties), Dialer(self._pool.nodes, trust, loop)
        )
        self.refusals = self._counters.refusals
        self._failures = Failures(logger)
        self._closing = False
        self._ticked_at = self._checked_at = loop.time()
        self._timer = loop.call_later(SWEEP, self._sweep)

    def __repr__(self) -> str:
        tally = self._tally
        return f"<Publisher: {len(tally.active)} messages, {tally.size} bytes, {self._pool!r}>"

    def publish(
        self,
        virtual_host: str,
        credentials: Credentials,
        message: Message,
        deadline: float,
        settled: Callback,
        sender: Sender | None = None,
    ) -> Publish:
        """Publish one message; ``deadline`` is in loop time.

        First logins are fair between the addresses of senders, as far as these are known.

        Call ``settled`` exactly once, with the outcome and a sentence about it, at the latest
        by the deadline, and perhaps before this returns.
        """
        tally = self._tally
        publish = Publish(virtual_host, message, deadline, settled, tally)
        tally.active.add(publish)
        tally.size += publish.size
        if self._closing:
            publish.finish(Outcome.SHUTTING_DOWN, STOPPING)
        elif self._alarm.active:
            publish.finish(Outcome.BROKER_BLOCKED, self._blocked_because())
        elif len(tally.active) > self._max_messages or (
            tally.size > self._max_stranger_bytes and not self._has_room(virtual_host, credentials)
        ):
            self.refusals["messages" if len(tally.active) > self._max_messages else "bytes"] += 1
            publish.finish(Outcome.OVERLOADED, TOO_MANY_MESSAGES)
        else:
            session = self._pool.session(virtual_host, credentials, sender)
            if session.load >= self.in_flight_per_login:
                self.refusals["login"] += 1
                publish.finish(Outcome.OVERLOADED, TOO_MANY_OF_LOGIN)
            else:
                publish.session = session
                session.take()
                session.submit(publish)
        return publish

    def cancel(self, publish: Publish) -> None:
        """Tell nobody the outcome, because the client is gone; send the message no more."""
        publish.callback = None
        if publish.state is WAITING:
            publish.refuse(Outcome.INTERNAL_ERROR)

    def is_connected(self, virtual_host: str, credentials: Credentials) -> bool:
        """Return whether a connection with these credentials is open, so the broker knows them."""
        return self._pool.is_connected(virtual_host, credentials)

    @property
    def max_connections(self) -> int:
        """Return how many logins may have a connection. A lower number closes none."""
        return self._pool.max_connections

    @max_connections.setter
    def max_connections(self, limit: int) -> None:
        self._pool.max_connections = limit

    def take(self, size: int) -> bool:
        """Count bytes of a body that is arriving. Return False if there is no room."""
        if self._tally.size + size > self._max_bytes:
            self.refusals["arriving_bytes"] += 1
            return False
        self._tally.size += size
        return True

    def _has_room(self, virtual_host: str, credentials: Credentials) -> bool:
        """Return whether the bytes of a message, which are counted already, may stay.

        Senders whom the broker does not know may fill half of the room, so that they do not
        take it from those whom it knows.
        """
        known = self._pool.is_connected(virtual_host, credentials)
        return self._tally.size <= (self._max_bytes if known else self._max_stranger_bytes)

    def give_back(self, size: int) -> None:
        """Count ``size`` bytes no more."""
        self._tally.size -= size

    def connection_statistics(
        self, logins: Sequence[Login] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Return the ``connections`` of ``/stats``: by virtual host and user, as in 2013.

        ``logins`` are what ``logins`` has returned, if that is at hand: many take long.
        """
        statistics = self._pool.statistics
        return {
            f"{login.virtual_host}:{login.user}": {
                "connections": {
                    "opened": counted.connections_opened,
                    "closed": counted.connections_closed,
                },
                "channels": {"opened": counted.channels_opened, "closed": counted.channels_closed},
                "connected": login.state == CONNECTED,
                "publishes": counted.publishes,
                "queue_size": login.queue_size,
            }
            for login in (self.logins("") if logins is None else logins)
            if (counted := statistics.get((login.virtual_host, login.user)))
        }

    def logins(self, backend: str) -> list[Login]:
        """Return the state of each login, also of those that have not succeeded yet."""
        return logins(backend, self._pool, self._tally.active)

    def figures(self) -> BrokerFigures:
        """Return everything that is counted, at this moment."""
        tally, pool, counters = self._tally, self._pool, self._counters
        waiting = sum(publish.state is WAITING for publish in tally.active)
        sessions = pool.sessions()
        live = [s.connection for s in sessions if s.connection is not None]
        to_node = Counter(s.dialer.node for s in sessions if s.state is SessionState.OPEN)
        total = pool.total()
        refused, lost = total["channels_refused"], total["channels_lost"]
        exchanges = {} if tally.exchanges is None else tally.exchanges.counts
        return BrokerFigures(
            published=total["publishes"],
            outcomes={Outcome.CONFIRMED.value: tally.confirmed} | _by_name(tally.outcomes),
            by_exchange={key: _by_name(counted) for key, counted in exchanges.items()},
            waits=tally.waits(),
            confirms=tally.confirms,
            waiting=waiting,
            in_flight=len(tally.active) - waiting,
            bytes=tally.size,
            refusals=dict(self.refusals),
            connections=to_node.total(),
            node_connections={str(node.host): to_node[node] for node in pool.nodes},
            nodes_up={str(node.host): node.up for node in pool.nodes},
            connections_opened=total["connections_opened"],
            connections_closed=dict(counters.closed),
            attempts_failed=counters.attempts_failed,
            logins_waiting=self._gate.waiting,
            logins_under_way=self._gate.under_way,
            logins_refused=counters.logins_refused,
            channels_opened=total["channels_opened"],
            channels_closed={
                "broker": refused,
                "connection": lost,
                "released": total["channels_closed"] - refused - lost,
            },
            blocked=self._alarm.active,
            blocked_nanoseconds=self._alarm.nanoseconds,
            received=counters.received + sum(each.received for each in live),
            sent=counters.sent + sum(each.sent for each in live),
        )

    def broker_state(self) -> BrokerState:
        """Return what a publish would find now, as far as is known without asking the broker."""
        if self._alarm.active:
            return BrokerState(BrokerStatus.BLOCKED, self._alarm.reason)
        state = self._reachability.state
        if state.state is BrokerStatus.UNUSED and self._probe.waits_for >= PATIENCE:
            return UNANSWERED
        return state

    def start_probe(self) -> None:
        """Ask the broker if nobody else does, so that its state is known a moment later."""
        self._probe.start()

    async def ask_broker(self) -> BrokerState:
        """Return the broker's state, after asking the broker if there is no connection."""
        await self._probe.look(PATIENCE)
        state = self.broker_state()
        if state.state is BrokerStatus.UNUSED and self._probe.is_under_way:
            return UNANSWERED
        return state

    def stop(self) -> None:
        """Answer the messages that are left, and take no more."""
        self._closing = True
        for publish in list(self._tally.active):
            self._give_up(publish, Outcome.SHUTTING_DOWN, STOPPING)

    async def close(self) -> None:
        """Stop, then close channels and connections in order."""
        self.stop()
        self._timer.cancel()
        await self._probe.close()
        await self._pool.close(GOODBYE)
        self._reachability.logins.tick(at_once=True)

    def _sweep(self) -> None:
        # First of all the next one: whatever fails below, deadlines must be kept.
        self._timer = self._loop.call_later(SWEEP, self._sweep)
        # Looking at all of them is cheaper than a timer for each: on a good day
        # there are a few dozen at any moment.
        now = self._loop.time()
        for publish in [p for p in self._tally.active if p.deadline <= now]:
            try:
                session = publish.session
                why = session.why_waiting() if session is not None else ""
                self._give_up(publish, Outcome.BROKER_UNAVAILABLE, why)
            except Exception as error:  # those behind it have deadlines too
                self._failures.log("giving up a message at its deadline", error)
                publish.finish(
                    Outcome.UNCONFIRMED if publish.handed_over else Outcome.BROKER_UNAVAILABLE
                )
        guard = self._failures.guard
        if now - self._checked_at >= CHECK:
            self._checked_at = now
            guard("checking for stuck queues", lambda: self._pool.check(now))
        if now - self._ticked_at >= TICK:
            self._ticked_at = now
            guard("checking the time-outs of sessions", lambda: self._pool.tick(now))
            guard("logging the number of omitted lines", self._reachability.logins.tick)

    def _give_up(self, publish: Publish, outcome: Outcome, detail: str) -> None:
        """Answer ``outcome`` if the message was not handed over, and ``unconfirmed`` otherwise."""
        if publish.handed_over:
            publish.finish(Outcome.UNCONFIRMED, NOT_CONFIRMED)
        else:
            publish.refuse(outcome, detail)

    def _refuse_waiting(self) -> None:
        detail = self._blocked_because()
        for publish in [p for p in self._tally.active if p.state is WAITING]:
            publish.refuse(Outcome.BROKER_BLOCKED, detail)

    def _resume_all(self) -> None:
        for session in self._pool.sessions():
            session.connection_writable()

    def _blocked_because(self) -> str:
        return Public(f"The broker blocks publishers: {self._alarm.reason}.")


def _by_name(outcomes: Counter[Outcome]) -> dict[str, int]:
    return {outcome.value: count for outcome, count in outcomes.items()}


def _client_properties(name: str) -> dict[str, Any]:
    """Return what RabbitMQ's list of connections shows of the gateway."""
    return {
        "product": "statelessd",
        "version": __version__,
        "platform": f"Python {platform.python_version()}",
        "information": "HTTP to AMQP publishing gateway",
        "connection_name": name,
        "host": socket.gethostname(),
    }
