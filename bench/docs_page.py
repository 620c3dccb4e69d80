"""Writes docs/benchmarks.md and its plots from a result: ``make bench-docs``."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import charts
import goals
import needs
import report
import results
import singles
from contenders import CEILING, MANAGEMENT

DOCS = results.ROOT / "docs"
IMAGES = DOCS / "images"
WHERE = {
    "1": "1 connection",
    "32": "32 connections",
    "256": "256 connections",
    singles.LARGE_POINT: "32 connections, 64 KiB",
}
CPU = {"gateway_us": "CPU of the gateway, us", "broker_us": "CPU of RabbitMQ, us"}
WAY = {"requests_per_second": "requests/s", **CPU}
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
                     "connections to the gateway.", WAY),
    "unix": Section("Through nginx and a Unix socket", "The same.", WAY),
    "batches": Section("Batches", "Beside a plain pipelined publisher.", WAY),
    "latency": Section("Latency at half of the greatest rate", "At a constant rate; the time of "
                       "a request counts from when it was due.", TAIL),
    "php": Section("PHP", "Pages that publish one message each.", PAGES),
}  # fmt: skip


def page(document: results.Document) -> str:
    """Without plots, which ``draw`` makes."""
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
    medians = _of(document, singles.SCENARIO)
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
        runs = _of(document, name)
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


def _of(document: results.Document, scenario: str) -> list[report.Run]:
    return [run for run in document["medians"] if run["scenario"] == scenario]


def _markdown(rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    head, *others = rows
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * left + "---:|" * (len(head) - left)
    for row in others:
        yield f"| {' | '.join(row)} |"


def draw(document: results.Document, directory: Path) -> None:
    """Every plot that the page shows."""
    of_point: dict[str, list[report.Run]] = {}
    for run in _of(document, singles.SCENARIO):
        of_point.setdefault(run["point"], []).append(run)
    shown = {point: runs for point, runs in of_point.items() if point != "1"}
    charts.bars(
        directory / "bench-cpu.svg",
        [
            (WHERE.get(point, point),
             [(run["gateway"], run["gateway_us"], run["broker_us"])
              for run in runs if run["gateway"] != MANAGEMENT])
            for point, runs in shown.items()
        ],
    )  # fmt: skip
    panels: list[charts.Panel] = []
    for point, runs in shown.items():
        rates = {run["gateway"]: run["requests_per_second"] for run in runs}
        if whole := rates.pop(CEILING, None):
            shares = [(name, 100 * rate / whole, None) for name, rate in rates.items()]
            panels.append((WHERE.get(point, point), shares))
    if panels:
        charts.bars(directory / "bench-rate.svg", panels, unit=" %")
    for name, section in SECTIONS.items():
        # What the rate was taken from is no part of the comparison.
        if runs := [run for run in _of(document, name) if run["point"] != "greatest rate"]:
            _draw(directory / f"bench-{name}.svg", section, runs)


def _draw(file: Path, section: Section, runs: Sequence[report.Run]) -> None:
    if section.along:
        charts.lines(file, runs, section.figures, section.along)
        return
    several = len({run["gateway"] for run in runs}) > 1
    one = len({run["point"] for run in runs}) == 1
    panels: list[charts.Panel] = []
    for key, title in section.figures.items():
        rows = []
        for run in runs:
            gateway = run["gateway"] if several else ""
            name = ", ".join(filter(None, (gateway, "" if one else run["point"])))
            rows.append((name, run.get(key), None))
        panels.append((title, rows))
    charts.bars(file, panels, digits=1 if "ms" in panels[0][0] else 0, all_ours=not several)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/docs_page.py", description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", default=results.REFERENCE)
    options = parser.parse_args()
    try:
        document = results.read(options.result)
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for old in IMAGES.glob("bench-*.svg"):
        old.unlink()
    draw(document, IMAGES)
    (DOCS / "benchmarks.md").write_text(page(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
