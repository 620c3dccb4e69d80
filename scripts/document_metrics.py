"""Writes docs/reference/metrics.md from the output of ``/metrics``."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client.process_collector import ProcessCollector

from markdown_table import table
from statelessd.broker.statistics import BrokerStatus
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

This page is written by `make docs` from what the code counts.

`GET /metrics` tells of the process that answers: each port is a target of its own.
`GET /metrics?scope=all` tells of all backends of the same parent, each with a label
`backend` (its port or `unix:/path`). There a backend that died keeps its counters, and
backends on Unix sockets can be reached. Scrape one or the other: both together count
everything twice. Figures of other backends are up to a second old.

The text is Prometheus' own or OpenMetrics, as the `Accept` header asks for. The number
of series does not grow with clients, users or routing keys, and with exchanges only as far
as `Application.metrics.exchanges` says. Bounds of histograms double from 131 µs to 69 s.

[deploy/prometheus](../../deploy/prometheus) has a scrape configuration and alerting rules,
[alerts.md](alerts.md) says what to do about each of those, and
[deploy/grafana](../../deploy/grafana) has a dashboard.

"""

LABELS = """\

## Values of labels

`method` and `status` are the request's and the answer's; methods that clients make up
are `other`. `problem` is the last part of the problem document's `type`, as in `/docs`,
and empty where there is none: for a batch too, whose messages have outcomes of their own.

`outcome` is one of {outcomes}.
`/docs` of a running gateway says what each means. A message that was refused before it
was read as one (no `Authorization`, not a form) is among the requests only.

`state` of `statelessd_messages`: `waiting` (not handed over: nothing of it has been sent)
or `in_flight` (the broker has it and has not confirmed it).

`state` of `statelessd_broker_state` is one of {states}.
`unused`: nobody has published for a while, so there is no connection to judge by.

`virtual_host` and `exchange`: only with `Application.metrics.exchanges`; without names
they are all other exchanges.
"""


def reference() -> str:
    """Return the text of docs/reference/metrics.md."""
    labels = LABELS.format(outcomes=_words(OUTCOMES), states=_words(s.value for s in BrokerStatus))
    return "".join(
        [
            HEADING,
            table(("metric", "type", "labels", ""), _rows()),
            labels,
            _values("`limit` of `statelessd_refusals_total`: what was refused", REFUSALS),
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
    return f"\n{heading}:\n\n{table(('value', ''), rows)}"


def _words(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "docs/reference/metrics.md"
    target.write_text(reference(), encoding="utf-8")
    print(f"wrote {target}")
