"""What ``/metrics`` tells: families of samples, of this process or of all backends.

Made when somebody asks, of integers that are counted anyway. No label comes
from a message, a user or a routing key: there is no end of those.
"""

import platform
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .. import __version__
from ..board import Counters, add
from ..broker.statistics import BrokerStatus
from ..histogram import Histogram
from ..message import Outcome
from .gateway import Gateway

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
PREFIX = "statelessd_"


class Family(msgspec.Struct, frozen=True):
    """``samples``: labels to value; of a histogram to its counts below each bound, and its sum."""

    name: str  # without the prefix and, of a counter, without _total
    kind: str
    help: str
    samples: list[tuple[dict[str, str], Any]]


def families(gateway: Gateway) -> list[Family]:
    """Of this process."""
    broker = gateway.publisher.metrics()
    return [*_http(gateway), *_publishing(gateway, broker), *_broker(gateway, broker),
            *_process(gateway)]  # fmt: skip


def _http(gateway: Gateway) -> list[Family]:
    counted = gateway.statistics
    answers = [
        ({"method": method, "status": str(status), "problem": problem}, count)
        for (method, status, problem), count in sorted(counted.all_answers().items())
    ]
    return [
        Family("http_requests", COUNTER, "Requests answered, by the problem's type.", answers),
        _histogram("http_request_duration_seconds", "From a request to its answer.",
                   counted.durations),
        _counter("http_received_bytes", "Bytes received from clients.", counted.received),
        _counter("http_sent_bytes", "Bytes of answers, without the headers of pages.",
                 counted.sent),
        _gauge("http_connections", "Open client connections.", gateway.connections()),
        _gauge("http_connections_limit", "Client connections that may be open.",
               gateway.http_server.max_connections),
        _counter("http_connections_accepted", "Client connections so far.", counted.accepted),
        _gauge("draining", "1 while this backend stops.", int(gateway.draining)),
    ]  # fmt: skip


def _publishing(gateway: Gateway, broker: Any) -> list[Family]:
    limits = gateway.publish
    refusals = dict.fromkeys(REFUSALS, 0) | broker.refusals
    refusals["client_connections"] = gateway.statistics.refused_clients
    return [
        Family("publishes", COUNTER, "Messages, by what became of them.",
               _by("outcome", dict.fromkeys(OUTCOMES, 0) | broker.outcomes)),
        _histogram("publish_wait_duration_seconds",
                   "From a message's arrival to its being handed to the broker.", broker.waits),
        _histogram("publish_confirm_duration_seconds",
                   "From being handed over to the broker's confirm.", broker.confirms),
        Family("messages", GAUGE, "Messages without an outcome.",
               _by("state", {"waiting": broker.waiting, "in_flight": broker.in_flight})),
        _gauge("messages_limit", "Messages that may be without an outcome.", limits.max_messages),
        _gauge("message_bytes", "Bytes of those, and of bodies that arrive.", broker.bytes),
        _gauge("message_bytes_limit", "Bytes that those may have.", limits.max_bytes),
        Family("refusals", COUNTER, "Messages and clients refused, by the limit.",
               _by("limit", refusals)),
    ]  # fmt: skip


def _broker(gateway: Gateway, broker: Any) -> list[Family]:
    state = gateway.publisher.broker_state().state
    closed = dict.fromkeys(CLOSED, 0) | broker.connections_closed
    outcomes = broker.outcomes
    return [
        Family("broker_state", GAUGE, "1 for how the broker is reached.",
               _by("state", {each.value: int(each is state) for each in BrokerStatus})),
        _gauge("broker_connections", "Open connections to the broker.", broker.connections),
        _gauge("broker_connections_limit", "Connections that may be open.",
               gateway.publisher.max_connections),
        Family("broker_node_connections", GAUGE, "Open connections to each configured node.",
               _by("node", {node.name: node.connections for node in broker.nodes})),
        Family("broker_node_up", GAUGE, "0 since the last attempt to reach the node failed.",
               _by("node", {node.name: int(node.up) for node in broker.nodes})),
        _counter("broker_connections_opened", "Logins that succeeded.", broker.connections_opened),
        Family("broker_connections_closed", COUNTER, "Connections that ended, by the reason.",
               _by("reason", closed)),
        _counter("broker_connection_attempts_failed", "Attempts without a connection.",
                 broker.attempts_failed),
        _counter("broker_logins_refused", "Logins that the broker refused.",
                 broker.logins_refused),
        _gauge("broker_channels", "Open channels.",
               broker.channels_opened - broker.channels_closed),
        _counter("broker_channels_opened", "Channels opened.", broker.channels_opened),
        _counter("broker_channels_closed", "Channels closed.", broker.channels_closed),
        _gauge("broker_blocked", "1 while the broker takes no publishes.", int(broker.blocked)),
        _counter("broker_blocked_seconds", "Seconds of that.", broker.blocked_seconds),
        _counter("broker_returns", "Mandatory messages that no queue took.",
                 outcomes.get(Outcome.NO_ROUTE.value, 0)),
        _counter("broker_nacks", "Messages that the broker did not take.",
                 outcomes.get(Outcome.NACKED.value, 0)),
        _counter("broker_received_bytes", "Bytes received from the broker.", broker.received),
        _counter("broker_sent_bytes", "Bytes sent to the broker.", broker.sent),
    ]  # fmt: skip


def _process(gateway: Gateway) -> list[Family]:
    build = {"version": __version__, "python": platform.python_version()}
    return [
        _histogram("event_loop_lag_seconds", "How late what was due four times a second came.",
                   gateway.lag),
        Family("build_info", GAUGE, "1; what runs.", [(build, 1)]),
        Family("config_info", GAUGE, "1; a digest of the settings.",
               [({"hash": gateway.config_hash}, 1)]),
        _gauge("config_loaded_timestamp_seconds", "When the settings were taken up.",
               gateway.config_loaded_at),
    ]  # fmt: skip


OUTCOMES = tuple(
    outcome.value for outcome in (
        Outcome.CONFIRMED, Outcome.BAD_REQUEST, Outcome.UNAUTHORIZED, Outcome.FORBIDDEN,
        Outcome.VIRTUAL_HOST_NOT_FOUND, Outcome.EXCHANGE_NOT_FOUND, Outcome.NO_ROUTE,
        Outcome.TOO_LARGE, Outcome.TOO_MANY_FAILURES, Outcome.BROKER_UNAVAILABLE,
        Outcome.BROKER_BLOCKED, Outcome.OVERLOADED, Outcome.SHUTTING_DOWN, Outcome.NACKED,
        Outcome.UNCONFIRMED, Outcome.INTERNAL_ERROR,
    )
)  # fmt: skip
"""Those that a publish can have, there from the start: a rate needs a zero to begin with."""

REFUSALS = ("messages", "bytes", "arriving_bytes", "login", "broker_connections",
            "client_connections")  # fmt: skip
CLOSED = ("idle", "replaced", "expired", "limit", "shutdown", "broker", "stalled", "silent",
          "network")  # fmt: skip


def _counter(name: str, text: str, value: float) -> Family:
    return Family(name, COUNTER, text, [({}, value)])


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, GAUGE, text, [({}, value)])


def _histogram(name: str, text: str, histogram: Histogram) -> Family:
    value = {"counts": histogram.cumulative(), "sum": histogram.sum / 1e9}
    return Family(name, HISTOGRAM, text, [({}, value)])


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


def _numbers(kind: str, value: Any) -> list[float]:
    return [value] if kind == COUNTER else [value["sum"], *value["counts"]]


def _value(kind: str, numbers: list[float]) -> Any:
    if kind == COUNTER:
        return numbers[0]
    return {"sum": numbers[0], "counts": numbers[1:]}
