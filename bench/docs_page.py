"""The text of docs/benchmarks.md, from a result."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import goals
import needs
import report
import results
import singles
from contenders import CEILING

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
    "batches": Section("Batches", "Beside a plain pipelined publisher.", WAY),
    "latency": Section("Latency at half of the greatest rate", "At a constant rate; the time of "
                       "a request counts from when it was due.", TAIL),
    "php": Section("PHP", "Pages that publish one message each.", PAGES),
}  # fmt: skip


NUMBER = re.compile(r"([\d,]+)\s*(.*)")


def page(document: results.Document) -> str:
    """Without the plots that it shows, which ``docs.py`` makes."""
    return "\n".join([*_head(document), *_table(document), *_scenarios(document),
                      *needs.section(document), ""])  # fmt: skip


def _head(document: results.Document) -> Iterator[str]:
    machine, versions = document["machine"], document["versions"]
    yield f"""\
# Benchmarks

Written by `make bench-docs` from [bench/results/reference.json](../bench/results/reference.json),
which `{document["command"]}` made on {document["date"][:10]}, at commit
{document["commit"]}: {machine["cores"]} cores ({machine["cpu"]}), \
{machine["memory_mib"] / 1024:.0f} GiB, {machine["kernel"].rpartition(" ")[0]}, \
Python {versions["statelessd"]["python"]},
RabbitMQ {versions["RabbitMQ"]}. {document["cores"].capitalize()}.

[bench/README.md](../bench/README.md) says how it is measured, how to run it, and how to
read it.
"""


def _table(document: results.Document) -> Iterator[str]:
    medians = of(document, singles.SCENARIO)
    yield f"""\
## One message for each request

Persistent messages of 100 bytes, and of 64 KiB, over kept connections into one classic
queue. Every gateway waits for RabbitMQ's confirm. Medians of \
{medians[0]["rounds"]} runs of {document["options"]["seconds"]} s.
`{CEILING}` is a plain publisher with confirms that keeps as many messages under way as the
others have connections: the most that this RabbitMQ takes. The management API is a part
of RabbitMQ, whose CPU is all of it. `mq-bridge-basic` takes plain bodies, without
credentials.

![CPU for each request](images/bench-cpu.svg)

CPU for each request in us: the gateway's, and RabbitMQ's in the lighter colour. The
management API is so far beyond the others that it is in the table only.
"""
    if any(run["gateway"] == CEILING for run in medians):
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
