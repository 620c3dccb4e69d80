"""What ``/metrics`` tells: families of samples, of this process or of all backends.

Made when somebody asks, of integers that are counted anyway. No label comes
from a message, a user or a routing key: there is no end of those.
"""

import platform
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..broker.statistics import BrokerMetrics, BrokerStatus
from ..gateway.gateway import Gateway
from ..message import TABLE, Outcome
from ..telemetry.histogram import Histogram
from ..telemetry.scoreboard import Counters, add
from ..version import __version__

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
PREFIX = "statelessd_"
NANO = 10**9


class Family(msgspec.Struct, frozen=True):
    """``samples``: labels to value; of a histogram to its counts below each bound, and its sum.

    ``per``: what values, and the sums of histograms, are divided by when they are shown.
    """

    name: str  # without the prefix and, of a counter, without _total
    kind: str
    help: str
    samples: list[tuple[dict[str, str], Any]]
    per: int = 1


def families(gateway: Gateway) -> list[Family]:
    """Of this process."""
    broker = gateway.publisher.metrics()
    return [*_http(gateway), *_publishing(gateway, broker), *_broker(gateway, broker),
            *_process(gateway)]  # fmt: skip


def _http(gateway: Gateway) -> list[Family]:
    counted = gateway.statistics
    answers = [
        ({"method": method, "status": str(status), "problem": problem}, count)
        for (method, status, problem), count in sorted((ANSWERS | counted.all_answers()).items())
    ]
    return [
        Family("http_requests", COUNTER,
               "Requests answered; problem is the type of what was wrong.", answers),
        _histogram("http_request_duration_seconds", "Seconds from a request to its answer.",
                   counted.durations),
        _counter("http_received_bytes", "Bytes received from clients.", counted.received),
        _counter("http_sent_bytes", "Bytes of answers, without the headers of pages.",
                 counted.sent),
        _gauge("http_connections", "Open client connections.", gateway.connections()),
        _gauge("http_connections_limit", "Client connections that may be open at once.",
               gateway.http_server.max_connections),
        _counter("http_connections_accepted", "Client connections so far.", counted.accepted),
        _gauge("draining", "1 while this backend stops.", int(gateway.draining)),
    ]  # fmt: skip


def _publishing(gateway: Gateway, broker: BrokerMetrics) -> list[Family]:
    limits = gateway.publish
    refusals = dict.fromkeys(REFUSALS, 0) | broker.refusals
    refusals["client_connections"] = gateway.statistics.refused_clients
    return [
        Family("publishes", COUNTER, "Messages to publish, by what became of them.",
               _by("outcome", dict.fromkeys(OUTCOMES, 0) | broker.outcomes)),
        *_by_exchange(broker),
        _histogram("publish_wait_duration_seconds",
                   "Seconds from a message's arrival to its being handed to the broker.",
                   broker.waits),
        _histogram("publish_confirm_duration_seconds",
                   "Seconds from being handed over to the broker's confirm.", broker.confirms),
        Family("messages", GAUGE, "Messages without an outcome.",
               _by("state", {"waiting": broker.waiting, "in_flight": broker.in_flight})),
        _gauge("messages_limit", "Messages that may be without an outcome at once.",
               limits.max_messages),
        _gauge("message_bytes",
               "Bytes of messages without an outcome, and of bodies that are arriving.",
               broker.bytes),
        _gauge("message_bytes_limit", "Bytes that messages and bodies may have in all.",
               limits.max_bytes),
        Family("refusals", COUNTER, "Messages and clients refused, by the limit.",
               _by("limit", refusals)),
    ]  # fmt: skip


def _by_exchange(broker: BrokerMetrics) -> list[Family]:
    """Only where the settings ask for it."""
    if broker.by_exchange is None:
        return []
    samples = [
        ({"virtual_host": virtual_host, "exchange": exchange, "outcome": outcome}, count)
        for (virtual_host, exchange), counts in broker.by_exchange.items()
        for outcome, count in counts.items()
    ]
    text = "Messages, by exchange and outcome; without names: all other exchanges."
    return [Family("exchange_publishes", COUNTER, text, samples)]


def _broker(gateway: Gateway, broker: BrokerMetrics) -> list[Family]:
    state = gateway.publisher.broker_state().state
    closed = dict.fromkeys(CLOSED, 0) | broker.connections_closed
    outcomes = broker.outcomes
    return [
        Family("broker_state", GAUGE,
               "1 for how the broker is reached now, 0 for the other states.",
               _by("state", {each.value: int(each is state) for each in BrokerStatus})),
        _gauge("broker_connections", "Open connections to the broker.", broker.connections),
        _gauge("broker_connections_limit", "Connections to the broker that may be open at once.",
               gateway.publisher.max_connections),
        Family("broker_node_connections", GAUGE, "Open connections to each configured node.",
               _by("node", {node.name: node.connections for node in broker.nodes})),
        Family("broker_node_up", GAUGE, "0 since the last attempt to reach the node failed.",
               _by("node", {node.name: int(node.up) for node in broker.nodes})),
        _counter("broker_connections_opened", "Connections to the broker that were opened.",
                 broker.connections_opened),
        Family("broker_connections_closed", COUNTER,
               "Connections to the broker that ended, by the reason.", _by("reason", closed)),
        _counter("broker_connection_attempts_failed",
                 "Attempts to connect that ended without a connection.", broker.attempts_failed),
        _counter("broker_logins_refused", "Logins that the broker refused.",
                 broker.logins_refused),
        _gauge("broker_channels", "Open channels to the broker.",
               broker.channels_opened - sum(broker.channels_closed.values())),
        _counter("broker_channels_opened", "Channels to the broker that were opened.",
                 broker.channels_opened),
        Family("broker_channels_closed", COUNTER,
               "Channels to the broker that ended, by the reason.",
               _by("reason", dict.fromkeys(CHANNELS_CLOSED, 0) | broker.channels_closed)),
        _gauge("broker_blocked", "1 while the broker takes no publishes.", int(broker.blocked)),
        Family("broker_blocked_seconds", COUNTER,
               "Seconds for which the broker took no publishes.",
               [({}, broker.blocked_nanoseconds)], NANO),
        _counter("broker_returns",
                 "Mandatory messages that the broker returned because no queue took them.",
                 outcomes.get(Outcome.NO_ROUTE.value, 0)),
        _counter("broker_nacks", "Messages that the broker refused to take responsibility for.",
                 outcomes.get(Outcome.NACKED.value, 0)),
        _counter("broker_received_bytes", "Bytes received from the broker.", broker.received),
        _counter("broker_sent_bytes", "Bytes sent to the broker.", broker.sent),
    ]  # fmt: skip


def _process(gateway: Gateway) -> list[Family]:
    build = {"version": __version__, "python": platform.python_version()}
    return [
        _histogram("event_loop_lag_seconds",
                   "Seconds by which a timer came late that is due four times a second.",
                   gateway.lag),
        Family("build_info", GAUGE, "1, with the versions that run.", [(build, 1)]),
        Family("config_info", GAUGE, "1, with a digest of the settings.",
               [({"hash": gateway.config_hash}, 1)]),
        _gauge("config_loaded_timestamp_seconds",
               "When the settings were read: at the start or the last reload, but not when a "
               "backend died.", gateway.config_loaded_at),
    ]  # fmt: skip


def backend_up(lives: bool) -> Family:
    """Of all backends only: one that does not live cannot be asked."""
    return _gauge("backend_up", "1 for a backend that lives.", int(lives))


OUTCOMES = tuple(
    outcome.value for outcome in (
        Outcome.CONFIRMED, Outcome.BAD_REQUEST, Outcome.UNAUTHORIZED, Outcome.FORBIDDEN,
        Outcome.VIRTUAL_HOST_NOT_FOUND, Outcome.EXCHANGE_NOT_FOUND, Outcome.NO_ROUTE,
        Outcome.LENGTH_REQUIRED, Outcome.TOO_LARGE, Outcome.TOO_MANY_FAILURES,
        Outcome.BROKER_UNAVAILABLE,
        Outcome.BROKER_BLOCKED, Outcome.OVERLOADED, Outcome.SHUTTING_DOWN, Outcome.NACKED,
        Outcome.UNCONFIRMED, Outcome.INTERNAL_ERROR,
    )
)  # fmt: skip
"""Those that a publish can have, there from the start: a rate needs a zero to begin with."""

ANSWERS = {
    ("POST", row.status, "" if outcome is Outcome.CONFIRMED else outcome.value): 0
    for outcome, row in TABLE.items()
}
"""What a publish can be answered with, there from the start likewise."""

REFUSALS = {
    "messages": "a message: `Application.publish.max_messages` wait or are unconfirmed",
    "bytes": "a message: `Application.publish.max_bytes` are taken",
    "arriving_bytes": "a body that was arriving, for the same reason",
    "login": "a message: `Application.rabbitmq.in_flight_per_connection` of its user wait or "
    "are unconfirmed",
    "broker_connections": "a message of a user without a connection, for there are "
    "`Application.rabbitmq.max_connections`",
    "client_connections": "a client: there are `HTTPServer.max_connections`",
}
"""What is refused at which limit."""

CLOSED = {
    "idle": "nobody used it for `Application.rabbitmq.idle_timeout`",
    "replaced": "a new login took its place, after `Application.rabbitmq.reverify_after`",
    "expired": "its token's time was over",
    "limit": "it was the least recently used one, and another user needed a place",
    "shutdown": "this backend stopped",
    "broker": "the broker closed it",
    "stalled": "messages were unconfirmed, and the broker did not answer for "
    "`Application.rabbitmq.stalled_timeout`",
    "silent": "nothing was heard of the broker, not even heartbeats",
    "network": "it was lost, or broken in another way",
}
"""Why a connection to the broker ended."""

CHANNELS_CLOSED = {
    "broker": "the broker closed it over a message: no such exchange, not permitted, too large",
    "released": "it was not needed any more",
    "connection": "its connection ended",
}
"""Why a channel ended."""


def _counter(name: str, text: str, value: int) -> Family:
    return Family(name, COUNTER, text, [({}, value)])


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, GAUGE, text, [({}, value)])


def _histogram(name: str, text: str, histogram: Histogram) -> Family:
    value = {"counts": histogram.cumulative(), "sum": histogram.sum}
    return Family(name, HISTOGRAM, text, [({}, value)], NANO)


def _by(label: str, values: Mapping[str, float]) -> list[tuple[dict[str, str], Any]]:
    return [({label: name}, value) for name, value in values.items()]


# Of all backends


def counters_of(found: Iterable[Family]) -> Counters:
    """All that only grows, for a board to add up."""
    return {
        _key(family.name, labels): _numbers(family.kind, value)
        for family in found
        if family.kind != GAUGE
        for labels, value in family.samples
    }


def with_past(family: Family, past: Counters) -> Family:
    """The family with what the backends before have counted added."""
    if family.kind == GAUGE:
        return family
    total = {
        key: values for key, values in past.items() if key.startswith(_key(family.name, {})[:-3])
    }
    add(total, counters_of([family]))
    samples = []
    for key, values in total.items():
        name, labels = msgspec.json.decode(key)
        if name == family.name:
            samples.append((dict(labels), _value(family.kind, values)))
    return msgspec.structs.replace(family, samples=samples)


def _key(name: str, labels: dict[str, str]) -> str:
    return msgspec.json.encode([name, sorted(labels.items())]).decode()


def _numbers(kind: str, value: Any) -> list[int]:
    return [value] if kind == COUNTER else [value["sum"], *value["counts"]]


def _value(kind: str, numbers: list[int]) -> Any:
    if kind == COUNTER:
        return numbers[0]
    return {"sum": numbers[0], "counts": numbers[1:]}
