"""Writes docs/reference/metrics.md from the output of ``/metrics``."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client.process_collector import ProcessCollector

from markdown_table import table
from statelessd.broker.figures import BrokerStatus
from statelessd.gateway.webhook import OUTCOMES as WEBHOOK_OUTCOMES
from statelessd.pages.figures import (
    BACKEND_UP,
    CHANNELS_CLOSED,
    CLOSED,
    COUNTER,
    METRICS,
    OUTCOMES,
    PREFIX,
    REFUSALS,
)

HEADING = """\
# Metrics

This page lists every metric that a gateway has for Prometheus. `make docs` writes it from the
code.

Scrape in one of these ways. Both together count everything twice.

- **Each port** is a target of its own. `GET /metrics` there has the figures of that process.
- **One port** is the target. `GET /metrics?scope=all` there has the figures of all backends of the
  same parent. A label `backend` names the port or `unix:/path` of each. Use this way if a backend
  has a Unix socket.
- **The listener of the pages** is the target if you set
  [`HTTPServer.pages.listener`](configuration.md#httpserverpageslistener), because no other port has
  `/metrics`. Ask it for `?scope=all`.

What else to know:

- Without `?scope=all`, a restart and a reload set the counters to 0.
- With `?scope=all`, the sum keeps the counters of backends that died or were replaced by a reload.
  The figures of other backends are up to a second old.
- Anybody may read them, unless you [restrict the pages](../how-to/restrict-pages.md).
- The text has the format of Prometheus or of OpenMetrics, as the `Accept` header asks.
- The number of series does not grow with clients, users or routing keys. It grows with exchanges
  only up to
  [`Application.metrics.exchanges`](configuration.md#applicationmetricsexchanges).
- The bounds of histograms double from 131 µs to 69 s.

[Monitor it with Prometheus](../how-to/monitoring.md) shows how to scrape a gateway, and
[Alerts](alerts.md) what to do about each alert.

## List of metrics

"""

LABELS = """\

## Values of labels

`method` and `status` are those of the request and of its answer. Methods that are not in HTTP are
`other`. `problem` is the last part of the problem document's `type`. It is empty if there is no
problem document, and so for a batch, whose items have outcomes of their own.

`outcome` of messages is one of {outcomes}.
[What the answers mean](http.md#what-the-answers-mean) explains them. `unknown-coding` is the 415. A
request that is refused before its message is read is not among the messages. It has no
`Authorization`, for example, or its form cannot be read.

`outcome` of `statelessd_webhook_requests_total` is one of {webhooks}.

`state` of `statelessd_messages` is `waiting` while nothing of a message has been sent. It is
`in_flight` while RabbitMQ has the message and has not confirmed it. `state` of
`statelessd_broker_logins` is `waiting` for logins that wait for their turn, and `under_way` for
the others.

`state` of `statelessd_broker_state` is one of {states}.
[The state of RabbitMQ](stats.md#the-state-of-rabbitmq) explains them.

`virtual_host` and `exchange` are there only with `Application.metrics.exchanges`. Empty names
stand for all other exchanges.
"""


def reference() -> str:
    """Return the text of docs/reference/metrics.md."""
    labels = LABELS.format(
        outcomes=_words(OUTCOMES),
        webhooks=_words(WEBHOOK_OUTCOMES),
        states=_words(s.value for s in BrokerStatus),
    )
    return "".join(
        [
            HEADING,
            table(("metric", "type", "labels", "meaning"), _rows()),
            labels,
            _values("`limit` of `statelessd_refusals_total`", REFUSALS),
            _values("`reason` of `statelessd_broker_connections_closed_total`", CLOSED),
            _values("`reason` of `statelessd_broker_channels_closed_total`", CHANNELS_CLOSED),
        ]
    )


def _rows() -> Iterator[tuple[str, ...]]:
    for figure in (*METRICS, BACKEND_UP):
        name = PREFIX + figure.name + ("_total" if figure.kind is COUNTER else "")
        yield f"`{name}`", figure.kind.value, _words(sorted(figure.labels)), figure.help
    for metric in ProcessCollector(registry=None).collect():
        name = metric.name + ("_total" if metric.type == COUNTER.value else "")
        yield f"`{name}`", metric.type, "", metric.documentation


def _values(heading: str, meanings: Mapping[str, str]) -> str:
    rows = [(f"`{value}`", meaning) for value, meaning in meanings.items()]
    return f"\n{heading}:\n\n{table(('value', 'meaning'), rows)}"


def _words(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "docs/reference/metrics.md"
    target.write_text(reference(), encoding="utf-8")
    print(f"wrote {target}")
