"""The text of docs/benchmarks.md, from a result."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import goals
import needs
import report
import results
import singles
from contenders import CEILING, MANAGEMENT

WHERE = {
    "1": "1 connection",
    "32": "32 connections",
    "256": "256 connections",
    singles.LARGE_POINT: "32 connections, 64 KiB",
}
CPU = {"gateway_us": "CPU of the gateway, us", "broker_us": "CPU of RabbitMQ, us"}
WAY = {"requests_per_second": "requests/s", **CPU}
BEHIND = WAY | {"nginx_us": "CPU of nginx, us"}
TAIL = {"p50_ms": "p50, ms", "p99_ms": "p99, ms", "p999_ms": "p99.9, ms"}
PAGES = {
    "requests_per_second": "pages/s",
    "broker_us": "CPU of RabbitMQ, us",
    "connections_per_second": "connections/s on RabbitMQ",
}


@dataclass(frozen=True)
class Section:
    """Of one scenario. ``along``: what its points count; without it they are bars."""

    title: str
    text: str
    figures: dict[str, str]
    along: str = ""


SECTIONS = {
    "connections": Section("Client connections", "Kept, each with one request at a time.", CPU,
                           "connections"),
    "bodies": Section("Bodies", "As a form and raw.", CPU, "bytes"),
    "users": Section("Users", "Distinct pairs of a virtual host and a user: each has a connection "
                     "to RabbitMQ of its own.", CPU, "pairs"),
    "exchanges": Section("Exchanges", "In turn, by one user: each has a channel.", CPU,
                         "exchanges"),
    "no-keep-alive": Section("Without keep-alive", "A new connection for each request, as PHP "
                             "makes them; by the number of backends.", WAY),
    "backends": Section("Backends", "The clients are shared out among them.", WAY),
    "tls": Section("TLS", "On kept connections, and with a handshake for each request.", WAY),
    "nginx": Section("Through nginx", "With the project's nginx.conf, and without its kept "
                     "connections to the gateway.", BEHIND),
    "unix": Section("Through nginx and a Unix socket", "The same.", BEHIND),
    "batches": Section("Batches", "Beside a plain pipelined publisher. CPU is for each message, "
                       "p50 and p99 are those of a whole batch.",
                       WAY | {"requests_per_second": "messages/s"}),
    "latency": Section("Latency at half of the greatest rate", "At a constant rate; the time of "
                       "a request counts from when it was due.", TAIL),
    "php": Section("PHP", "Pages that publish one message each.", PAGES),
}  # fmt: skip


NUMBER = re.compile(r"([\d,]+)\s*(.*)")


Panel = tuple[str, Sequence[tuple[str, float | None, float | None]]]
"""Of a plot: a title, and bars: name, the value, and what is stacked on it."""


def page(document: results.Document, file: Path = results.REFERENCE) -> str:
    """Of the result in ``file``; without the plots that it shows, which ``docs.py`` makes."""
    return "\n".join([*_head(document, file), *_table(document), *_scenarios(document),
                      *needs.section(document), ""])  # fmt: skip


def _shown(document: results.Document) -> dict[str, list[report.Run]]:
    """The points of single publishes that are in the plots: at 1 all are far beyond the others."""
    found: dict[str, list[report.Run]] = {}
    for run in of(document, singles.SCENARIO):
        if run["point"] != "1":
            found.setdefault(run["point"], []).append(run)
    return found


def cpu_panels(document: results.Document) -> list[Panel]:
    """Of each point, the gateway's CPU and RabbitMQ's."""
    panels = []
    for point, runs in _shown(document).items():
        bars = [(run["gateway"], run["gateway_us"], run["broker_us"])
                for run in runs if run["gateway"] != MANAGEMENT]  # fmt: skip
        if bars:
            panels.append((WHERE.get(point, point), bars))
    return panels


def rate_panels(document: results.Document) -> list[Panel]:
    """Of each point, the rates in per cent of the pipelined publisher's."""
    panels: list[Panel] = []
    for point, runs in _shown(document).items():
        rates = {run["gateway"]: run["requests_per_second"] for run in runs}
        if (whole := rates.pop(CEILING, None)) and rates:
            shares = [(name, 100 * rate / whole, None) for name, rate in rates.items()]
            panels.append((WHERE.get(point, point), shares))
    return panels


def _head(document: results.Document, file: Path) -> Iterator[str]:
    machine, versions = document["machine"], document["versions"]
    path = Path(os.path.relpath(file, results.ROOT))
    kept = ".." not in path.parts
    source = f"[{path}](../{path})" if kept else f"`{file.name}`"
    yield f"""\
# Benchmarks

Written by `make bench-docs` from {source},
which `{document["command"]}` made on {document["date"][:10]}, at commit
{document["commit"]}: {machine["cores"]} cores ({machine["cpu"]}), \
{machine["memory_mib"] / 1024:.0f} GiB, {machine["kernel"].rpartition(" ")[0]}, \
Python {versions["statelessd"]["python"]},
RabbitMQ {versions["RabbitMQ"]}. {document["cores"].capitalize()}.

[bench/README.md](../bench/README.md) says how it is measured, how to run it, and how to
read it.
"""
    if faults := results.faults(document):
        yield "**Faults, which make figures mean nothing:**\n"
        yield from (f"- {fault}" for fault in faults)
        yield ""


def _table(document: results.Document) -> Iterator[str]:
    medians = of(document, singles.SCENARIO)
    if not medians:
        return
    yield f"""\
## One message for each request

Persistent messages of 100 bytes, and of 64 KiB, over kept connections into one classic
queue. Every gateway waits for RabbitMQ's confirm. Medians of \
{medians[0]["rounds"]} runs of {document["options"]["seconds"]} s.
`{CEILING}` is a plain publisher with confirms that keeps as many messages under way as the
others have connections: the most that this RabbitMQ takes. The management API is a part
of RabbitMQ, whose CPU is all of it. `mq-bridge-basic` takes plain bodies, without
credentials.
"""
    if cpu_panels(document):
        yield """\
![CPU for each request](images/bench-cpu.svg)

CPU for each request in us: the gateway's, and RabbitMQ's in the lighter colour. The
management API is so far beyond the others that it is in the table only.
"""
    if rate_panels(document):
        yield """\
![rate beside the pipelined publisher's](images/bench-rate.svg)

Requests/s in per cent of the pipelined publisher's.
"""
    yield from _markdown(report.rows(medians, CEILING), left=1)
    yield "\n### The goal\n"
    verdicts = goals.goals(document["medians"])
    rows = [("", "measured", "goal", "")]
    rows += [
        (each.text, each.measured, each.bound, "met" if each.met else "not met")
        for each in verdicts
    ]
    yield from _markdown(rows, left=1)
    yield ""


def _scenarios(document: results.Document) -> Iterator[str]:
    for name, section in SECTIONS.items():
        runs = of(document, name)
        if not runs:
            continue
        yield (
            f"## {section.title}\n\n{section.text}\n\n![{section.title}](images/bench-{name}.svg)\n"
        )
        figures = {"requests_per_second": "requests/s"} | section.figures
        figures |= {"p50_ms": "p50, ms", "p99_ms": "p99, ms"}
        rows = [("point", "gateway", *figures.values())]
        rows += [
            (run["point"], run["gateway"],
             *(report.figure(run.get(key), 0 if "second" in key else 2) for key in figures))
            for run in runs
        ]  # fmt: skip
        yield from _markdown(rows, left=2)
        yield ""


def of(document: results.Document, scenario: str) -> list[report.Run]:
    """The medians of a scenario."""
    return [run for run in document["medians"] if run["scenario"] == scenario]


def _markdown(rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    head, *others = rows
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * left + "---:|" * (len(head) - left)
    for row in others:
        yield f"| {' | '.join(row)} |"


def series(runs: Sequence[report.Run], key: str) -> dict[str, list[tuple[float, float]]]:
    """Points ``10 kept at 32`` and ``100 kept at 32`` are the line ``kept at 32``."""
    found: dict[str, list[tuple[float, float]]] = {}
    several = len({run["gateway"] for run in runs}) > 1
    for run in runs:
        number, rest = NUMBER.fullmatch(run["point"]).groups()
        name = ", ".join(filter(None, (run["gateway"] if several or not rest else "", rest)))
        found.setdefault(name, []).append((float(number.replace(",", "")), run[key]))
    return found
