"""Every figure that is counted, declared once.

``/metrics``, ``/dashboard.json``, its history, the counters on the scoreboard and
docs/reference/metrics.md are renderings of these declarations. Over backends counters and
histograms add up, also those of backends that are gone; gauges are those of the
living. No label comes from a message, a user or a routing key, because there is
no end of those.
"""

import enum
import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ..broker.close_reason import CloseReason
from ..broker.figures import BrokerFigures, BrokerState, BrokerStatus
from ..form import FORM
from ..gateway.gateway import Gateway
from ..gateway.webhook import HANDSHAKE, WebhookEndpoint
from ..gateway.webhook import OUTCOMES as WEBHOOK_OUTCOMES
from ..message import TABLE, Outcome
from ..telemetry.process import ProcessStatistics, open_files
from ..version import __version__

CONFIRMED, INVALID = Outcome.CONFIRMED.value, Outcome.SIGNATURE_INVALID.value
PREFIX = "statelessd_"
NANO = 10**9


class Kind(enum.Enum):
    """What a figure is; the values are Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


COUNTER, GAUGE, HISTOGRAM = Kind


class Reading(NamedTuple):
    """The sources of a backend's figures, taken at one moment."""

    gateway: Gateway
    broker: BrokerFigures
    state: BrokerState
    process: ProcessStatistics
    config_hash: str
    config_loaded_at: float  # Unix time


class Figure(msgspec.Struct, frozen=True):
    """One figure; with ``labels``, ``read`` returns a value for each value of theirs.

    ``name`` is that in ``/metrics``, without the prefix and a counter's ``_total``;
    it is empty for a figure of the dashboard alone. ``values`` has the values of the
    label that are there from the start, with their meanings: a rate needs a zero to
    begin with.
    """

    name: str
    kind: Kind
    help: str
    read: Callable[[Reading], Any]
    labels: tuple[str, ...] = ()
    values: Mapping[Any, str] = {}
    per: int = 1  # a value, or the sum of a histogram, is divided by this when it is shown
    dashboard: str = ""  # its name in /dashboard.json, if it is there
    in_history: bool = False

    def samples(self, reading: Reading) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Yield the values of the labels, and the figure's value."""
        found = self.read(reading)
        if not self.labels:
            yield (), found
            return
        for labels, value in (dict.fromkeys(self.values, 0) | found).items():
            yield labels if isinstance(labels, tuple) else (labels,), value


OUTCOMES = dict.fromkeys(
    (outcome.value for outcome in Outcome if outcome not in (
        Outcome.CROSS_SITE, Outcome.NOT_FOUND, Outcome.METHOD_NOT_ALLOWED, Outcome.REQUEST_TIMEOUT,
        Outcome.HEADERS_TOO_LARGE, Outcome.SIGNATURE_INVALID,
    )),
    "",
)  # fmt: skip
"""Those that a publish can have."""

ANSWERS = {
    ("POST", str(row.status), "" if outcome is Outcome.CONFIRMED else outcome.value): ""
    for outcome, row in TABLE.items()
}
"""What a publish can be answered with."""

REFUSALS = {
    "messages": "a message, because `Application.publish.max_messages` wait or are unconfirmed",
    "bytes": "a message, because messages and bodies take `Application.publish.max_bytes`",
    "arriving_bytes": "a body that was arriving, for the same reason as `bytes`",
    "login": "a message, because `Application.rabbitmq.in_flight_per_connection` of its login "
    "wait or are unconfirmed",
    "logins": "a message of a user who has not logged in yet, because such messages take a quarter "
    "of `Application.publish.max_messages` or `max_bytes`",
    "broker_connections": "a message of a login without a connection, because all "
    "`Application.rabbitmq.max_connections` are busy",
    "client_connections": "a client, because there are `HTTPServer.max_connections`, or as many as "
    "the limit of open files allows",
    "handshakes": "a client in its TLS handshake, because too many handshakes began after it",
}
CLOSED = {reason.label: reason.meaning for reason in CloseReason}
CHANNELS_CLOSED = {
    "broker": "the broker closed it because of a message: unknown exchange, no permission, "
    "or too large",
    "released": "it was not needed any more",
    "connection": "its connection ended",
}


def _answers(reading: Reading) -> dict[tuple[str, ...], int]:
    answers = sorted(reading.gateway.statistics.all_answers().items())
    return {(method, str(status), problem): n for (method, status, problem), n in answers}


def _by_exchange(reading: Reading) -> dict[tuple[str, ...], int]:
    return {
        (*exchange, outcome): count
        for exchange, counts in reading.broker.by_exchange.items()
        for outcome, count in counts.items()
    }


def _by_endpoint(read: Callable[[WebhookEndpoint], Any]) -> Callable[[Reading], dict[str, Any]]:
    """Return what reads a figure of each webhook endpoint, by its name."""
    return lambda r: {each.name: read(each) for each in r.gateway.router.webhooks}


def _webhook_requests(reading: Reading) -> dict[tuple[str, ...], int]:
    """Return the requests by endpoint and outcome; a rate needs a zero to begin with."""
    return {
        (each.name, outcome): each.outcomes[outcome]
        for each in reading.gateway.router.webhooks
        for outcome in WEBHOOK_OUTCOMES
    }


def _other_outcomes(endpoint: WebhookEndpoint) -> int:
    outcomes = endpoint.outcomes
    return outcomes.total() - sum(outcomes[each] for each in (CONFIRMED, HANDSHAKE, INVALID))


FIGURES = (
    # Requests
    Figure("http_requests", COUNTER, "Responses, by method, status and problem type.",
           _answers, labels=("method", "status", "problem"), values=ANSWERS),
    Figure("http_request_duration_seconds", HISTOGRAM, "Seconds from a request to its response.",
           lambda r: r.gateway.statistics.durations, per=NANO),
    Figure("http_received_bytes", COUNTER, "Bytes received from clients.",
           lambda r: r.gateway.places.received),
    Figure("http_sent_bytes", COUNTER, "Bytes sent to clients, without the headers of pages.",
           lambda r: r.gateway.statistics.sent),
    Figure("http_connections", GAUGE, "Open client connections, including TLS handshakes.",
           lambda r: len(r.gateway.places.open), dashboard="client_connections"),
    Figure("http_connections_limit", GAUGE,
           "Client connections that may be open at once. Fewer than the setting if the limit of "
           "open files is too low.", lambda r: r.gateway.places.limit),
    Figure("http_connections_accepted", COUNTER, "Client connections accepted.",
           lambda r: r.gateway.places.accepted),
    Figure("draining", GAUGE, "1 while this backend drains.",
           lambda r: r.gateway.draining, dashboard="draining"),
    Figure("", COUNTER, "Errors, including items of batches, by problem type.",
           lambda r: dict(r.gateway.statistics.errors), labels=("problem",),
           dashboard="errors", in_history=True),
    # Messages
    Figure("publishes", COUNTER, "Messages, by outcome.",
           lambda r: r.broker.outcomes, labels=("outcome",), values=OUTCOMES),
    Figure("exchange_publishes", COUNTER,
           "Messages, by exchange and outcome. Empty names stand for all other exchanges.",
           _by_exchange, labels=("virtual_host", "exchange", "outcome")),
    Figure("", COUNTER, "Messages that the broker confirmed.",
           lambda r: r.broker.published, dashboard="published", in_history=True),
    Figure("publish_wait_duration_seconds", HISTOGRAM,
           "Seconds that a message waits before it is handed over to the broker.",
           lambda r: r.broker.waits, per=NANO),
    Figure("publish_confirm_duration_seconds", HISTOGRAM,
           "Seconds from handing a message over to the broker's confirm.",
           lambda r: r.broker.confirms, per=NANO, dashboard="latency", in_history=True),
    Figure("messages", GAUGE, "Messages without an outcome yet, by state.",
           lambda r: {"waiting": r.broker.waiting, "in_flight": r.broker.in_flight},
           labels=("state",)),
    Figure("", GAUGE, "Messages handed over to the broker and not yet confirmed.",
           lambda r: r.broker.in_flight, dashboard="in_flight", in_history=True),
    Figure("", GAUGE, "Messages not yet handed over to the broker.",
           lambda r: r.broker.waiting, dashboard="waiting", in_history=True),
    Figure("messages_limit", GAUGE, "Messages that may be without an outcome at the same time.",
           lambda r: r.gateway.publish.max_messages),
    Figure("message_bytes", GAUGE,
           "Bytes of messages without an outcome and of arriving bodies.",
           lambda r: r.broker.bytes),
    Figure("message_bytes_limit", GAUGE, "Bytes that these messages and bodies may have together.",
           lambda r: r.gateway.publish.max_bytes),
    Figure("refusals", COUNTER, "Messages and clients that were refused at a limit, by limit.",
           lambda r: r.broker.refusals | {
               "client_connections": r.gateway.places.refused_clients,
               "handshakes": r.gateway.places.refused_handshakes},
           labels=("limit",), values=REFUSALS),
    # Webhook endpoints
    Figure("webhook_requests", COUNTER,
           "Requests to webhook endpoints, by outcome. handshake: a request that the endpoint "
           "answered without publishing.",
           _webhook_requests, labels=("endpoint", "outcome")),
    Figure("webhook_requests_in_flight", GAUGE, "Requests to webhook endpoints in progress.",
           _by_endpoint(lambda each: each.in_flight), labels=("endpoint",),
           dashboard="webhooks_in_flight"),
    Figure("webhook_requests_in_flight_limit", GAUGE,
           "Requests to a webhook endpoint that may be in progress at the same time.",
           _by_endpoint(lambda each: each.settings.max_in_flight), labels=("endpoint",)),
    Figure("", COUNTER, "Requests to webhook endpoints that were published.",
           _by_endpoint(lambda each: each.outcomes[CONFIRMED]), labels=("endpoint",),
           dashboard="webhooks_published"),
    Figure("", COUNTER, "Requests to webhook endpoints without a valid signature.",
           _by_endpoint(lambda each: each.outcomes[INVALID]), labels=("endpoint",),
           dashboard="webhooks_invalid"),
    Figure("", COUNTER, "Requests to webhook endpoints that failed for another reason.",
           _by_endpoint(_other_outcomes), labels=("endpoint",), dashboard="webhooks_failed"),
    # The broker
    Figure("broker_state", GAUGE, "1 for the present state of the broker, 0 for the others.",
           lambda r: {each.value: each is r.state.state for each in BrokerStatus},
           labels=("state",)),
    Figure("broker_connections", GAUGE, "Open connections to the broker.",
           lambda r: r.broker.connections, dashboard="broker_connections"),
    Figure("broker_connections_limit", GAUGE,
           "Connections to the broker that may be open at once.",
           lambda r: r.gateway.publisher.max_connections),
    Figure("broker_node_connections", GAUGE, "Open connections to each configured node.",
           lambda r: r.broker.node_connections, labels=("node",)),
    Figure("broker_node_up", GAUGE, "0 if the last attempt to reach the node failed, else 1.",
           lambda r: r.broker.nodes_up, labels=("node",)),
    Figure("broker_connections_opened", COUNTER, "Connections to the broker that were opened.",
           lambda r: r.broker.connections_opened),
    Figure("broker_connections_closed", COUNTER,
           "Connections to the broker that ended, by reason.",
           lambda r: r.broker.connections_closed, labels=("reason",), values=CLOSED),
    Figure("broker_connection_attempts_failed", COUNTER,
           "Attempts to connect that failed.",
           lambda r: r.broker.attempts_failed),
    Figure("broker_logins", GAUGE, "Logins that wait, and those in progress.",
           lambda r: {"waiting": r.broker.logins_waiting, "under_way": r.broker.logins_under_way},
           labels=("state",)),
    Figure("broker_logins_refused", COUNTER, "Logins that the broker refused.",
           lambda r: r.broker.logins_refused),
    Figure("broker_channels", GAUGE, "Open channels to the broker.",
           lambda r: r.broker.channels_opened - sum(r.broker.channels_closed.values())),
    Figure("broker_channels_opened", COUNTER, "Channels to the broker that were opened.",
           lambda r: r.broker.channels_opened),
    Figure("broker_channels_closed", COUNTER, "Channels to the broker that ended, by reason.",
           lambda r: r.broker.channels_closed, labels=("reason",), values=CHANNELS_CLOSED),
    Figure("broker_blocked", GAUGE, "1 while the broker blocks publishers.",
           lambda r: r.broker.blocked),
    Figure("broker_blocked_seconds", COUNTER, "Seconds for which the broker blocked publishers.",
           lambda r: r.broker.blocked_nanoseconds, per=NANO),
    Figure("broker_returns", COUNTER,
           "Mandatory messages that the broker returned because no queue took them.",
           lambda r: r.broker.outcomes.get(Outcome.NO_ROUTE.value, 0)),
    Figure("broker_nacks", COUNTER, "Messages that the broker nacked: a queue did not take them.",
           lambda r: r.broker.outcomes.get(Outcome.NACKED.value, 0)),
    Figure("broker_received_bytes", COUNTER, "Bytes received from the broker.",
           lambda r: r.broker.received),
    Figure("broker_sent_bytes", COUNTER, "Bytes sent to the broker.",
           lambda r: r.broker.sent),
    # The process
    Figure("event_loop_lag_seconds", HISTOGRAM,
           "Event-loop lag: seconds by which a timer, due four times a second, was late.",
           lambda r: r.process.lag, per=NANO),
    Figure("", GAUGE, "Worst event-loop lag of the last second, in seconds.",
           lambda r: round(r.process.worst_lag, 6), dashboard="lag"),
    Figure("", GAUGE, "Cores used in the last second.",
           lambda r: round(r.process.cpu, 4), dashboard="cpu"),
    Figure("", GAUGE, "Resident memory, in bytes.",
           lambda r: r.process.memory, dashboard="memory"),
    Figure("", GAUGE, "Open files; null before Linux 6.2.",
           lambda r: open_files(), dashboard="descriptors"),
    Figure("", GAUGE, "Start of the process, in seconds of Unix time.",
           lambda r: r.process.started, dashboard="started"),
    Figure("build_info", GAUGE, "1, with the versions of statelessd and Python, and the form.",
           lambda r: {(__version__, platform.python_version(), FORM): 1},
           labels=("version", "python", "form")),
    Figure("config_info", GAUGE, "1, with a digest of the settings.",
           lambda r: {r.config_hash: 1}, labels=("hash",)),
    Figure("config_loaded_timestamp_seconds", GAUGE,
           "When the settings were read: at the start or the last reload. The restart of a "
           "backend does not change it.", lambda r: r.config_loaded_at, dashboard="loaded"),
)  # fmt: skip

# Of all backends only: one that does not live cannot be read.
BACKEND_UP = Figure("backend_up", GAUGE, "1 for a backend that runs.", lambda r: 1)

METRICS = tuple(figure for figure in FIGURES if figure.name)
HISTORY = tuple(figure for figure in FIGURES if figure.in_history)
NOW = tuple(figure for figure in FIGURES if figure.dashboard and figure.kind is not HISTOGRAM)
"""Those of each backend in ``/dashboard.json``."""
