"""Write docs/explanation/performance.md, the one page with figures: ``make bench-docs``."""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import page_ratios
import ratios
import results
from page_ratios import WAIT, figure, markdown, name_of, of_scenario
from ratios import short as _short_number
from results import (
    AMQPROXY,
    BROKER,
    FASTAPI,
    OURS,
    OWN,
    PHP_DIRECT,
    PIPELINED,
    RATE,
    Name,
    Rounds,
    Run,
)

PAGE = results.ROOT / "docs" / "explanation" / "performance.md"
APART = Path(__file__).with_name("apart.json")
FULL = 0.6  # how busy a core may be in a plan
FIGURES = {RATE: "rate", OWN: "gateway CPU", BROKER: "RabbitMQ CPU", WAIT: "p50"}
PHP_POINT = "16 processes"


class Section(NamedTuple):
    """``reference``: the point and gateway of 1.00. ``beside``: rounds of all points alternate."""

    title: str
    text: str
    reference: tuple[str, str]
    beside: bool = True


SECTIONS = {
    "php": Section(
        "PHP pages",
        "16 PHP processes serve page after page. Each page publishes one message, waits for its\n"
        "confirm, and keeps nothing open. The reference is php-amqp with a login for each page.",
        (PHP_POINT, PHP_DIRECT[-1]),
    ),
    "batches": Section(
        "Batches",
        "10,000 messages in one request. The reference is a plain AMQP publisher with 1,000\n"
        "messages under way. p50 is the time of the whole batch.",
        ("10000 messages", PIPELINED),
    ),
    "connections": Section(
        "Client connections",
        "Kept client connections, each with one request at a time. Small messages that arrive\n"
        "together share work, so each costs less when more clients are busy.",
        ("32", OURS),
    ),
    "bodies": Section(
        "Larger messages",
        "The size of the body in bytes, as a form and raw. Bodies of 1 MiB come over 8\n"
        "connections and those of 10 MB over 4, so compare their CPU and not their rates.",
        ("100 form", OURS),
    ),
    "users": Section(
        "Users in turn",
        "Pairs of virtual host and user that take turns. Each has a connection to RabbitMQ of its\n"
        "own, so fewer messages travel together.",
        ("1 in turn", OURS),
    ),
    "exchanges": Section(
        "Exchanges in turn",
        "Exchanges of one user that take turns, each with a channel of its own. With 64 channels\n"
        "for 200 exchanges, channels are closed and opened again all the time.",
        ("1", OURS),
    ),
    "tls": Section(
        "TLS",
        "`kept` connections, and a `new` connection for each request. A handshake costs far more\n"
        "than a publish. Keep TLS connections, or let a proxy do so.",
        ("plain, kept", OURS),
    ),
    "nginx": Section(
        "Behind nginx",
        "`deploy/nginx.conf` in front of one backend. `kept` connections between nginx and the\n"
        "gateway are what that file has. Clients keep theirs.",
        ("kept", OURS),
        beside=False,
    ),
    "no-keep-alive": Section(
        "A new connection for each request",
        "As PHP does it, with 1, 2 and 4 backends on {cores} cores.",
        ("1", OURS),
        beside=False,
    ),
    "backends": Section(
        "More backends",
        "1, 2 and 4 backends that share the clients, on {cores} cores. With one core for all\n"
        "of them, this shows the cost of the split, and not what another core adds.",
        ("1", OURS),
        beside=False,
    ),
}


def page(
    document: results.Document,
    file: Path = results.REFERENCE,
    others: Sequence[results.Document] = (),
) -> str:
    """Return the text of the page for the result in ``file``, with what was measured apart.

    ``others``: results with another RabbitMQ or Python.
    """
    apart = json.loads(APART.read_text())
    groups = results.groups(document["runs"])
    at = {name_of(run): run for run in document["medians"]}
    parts = (
        _head(document, file),
        _short(groups, document),
        _sizing(at, apart["cluster"]),
        page_ratios.side_by_side([document, *others]),
        page_ratios.latency([document, *others]),
        _singles(groups, document),
        _others(groups, document),
        _apart(apart, with_amqproxy=("php", PHP_POINT, AMQPROXY) not in at),
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _head(document: results.Document, file: Path) -> Iterator[str]:
    machine, versions = document["machine"], document["versions"]
    path = Path(os.path.relpath(file, results.ROOT))
    source = f"`{file.name}`" if ".." in path.parts else f"[{path}](../../{path})"
    yield f"""\
# Performance

This page has the figures of statelessd's speed, and what they mean for a plan. Other pages
link to it.

`make bench-docs` writes this page from {source}.
[Measuring](../development/measuring.md) says how to measure your own machine.

| | |
|---|---|
| command | `{document["command"]}` |
| date | {document["date"][:10]} |
| commit | {document["commit"]} |
| machine | {machine["cores"]} cores ({machine["cpu"]}), \
{machine["memory_mib"] / 1024:.0f} GiB, {machine["kernel"].rpartition(" ")[0]} |
| software | Python {versions["statelessd"]["python"]}, RabbitMQ {versions["RabbitMQ"]} |
| cores | {document["cores"]} |
"""
    if faults := results.faults(document):
        yield "**Faults, which make figures mean nothing:**\n"
        yield from (f"- {fault}" for fault in faults)
        yield ""


def _short(groups: Rounds, document: results.Document) -> Iterator[str]:
    lines = list(_findings(groups, document))
    if lines:
        yield "## In short\n"
        yield from lines
        yield ""


def _findings(groups: Rounds, document: results.Document) -> Iterator[str]:
    """Yield a line for each comparison that the result has the runs for."""
    at = {name_of(run): run for run in document["medians"]}
    ours, php = ("php", PHP_POINT, OURS), ("php", PHP_POINT, PHP_DIRECT[-1])
    if {ours, php} <= groups.keys():
        yield f"""\
- **PHP**: pages publish {_times(groups, ours, php, RATE)} times as often through statelessd as
  with php-amqp and a login for each page. RabbitMQ spends \
{_times(groups, ours, php, BROKER)} times the CPU for
  each message."""
    ours, other = ("singles", "32", OURS), ("singles", "32", FASTAPI)
    if ours in at and at[ours][OWN]:
        own, broker = at[ours][OWN], at[ours][BROKER]
        yield f"""\
- **CPU**: a message of 100 bytes costs a backend {own:.0f} us and RabbitMQ {broker:.0f} us, with 32
  connections. RabbitMQ spends {broker / own:.1f} times as much, so it is full first."""
    if {ours, other} <= groups.keys():
        yield f"""\
- **A gateway written with FastAPI and aio-pika**: statelessd answers \
{_times(groups, ours, other, RATE)} times
  as many requests, at {_times(groups, ours, other, OWN)} times the CPU for each."""
    batch, plain = (("batches", "10000 messages", name) for name in ("NDJSON", PIPELINED))
    if {batch, plain} <= groups.keys():
        yield f"""\
- **Batches** of 10,000 messages go through at \
{_times(groups, batch, plain, RATE)} times the rate of
  a plain AMQP publisher with confirms."""
    backends = [("backends", count, OURS) for count in ("1", "2", "4")]
    if at.keys() >= set(backends):
        one, two, four = backends
        cores = _cores_of_backends(document)
        used = at[one][RATE] * at[one][OWN] / 1e4
        more = (at[four]["resident_mib"] - at[one]["resident_mib"]) / 3
        yield f"""\
- **Another backend** adds throughput only if one backend fills its core and RabbitMQ has cores
  left. Here one backend used {used:.0f} % of its core, so a second one had nothing to add. Of
  1, 2 and 4 backends on {cores} cores, two spent {_times(groups, two, one, OWN)} times the CPU
  of one for a message. Four spent {_times(groups, four, one, OWN)} times as much. Each one more
  took {more:.0f} MiB."""
    if moved := _swing(groups):
        yield f"""\
- **The machine's speed changed** during the run: rounds of the same measurement differed by up to
  {moved:.1f} times. So compare the ratios. A ratio is the median of the rounds, each divided by the
  reference that ran beside it. The smallest and the largest are in parentheses."""


def _cores_of_backends(document: results.Document) -> str:
    """Return how many cores 1, 2 and 4 backends had, as ``fronts.py`` shares them out."""
    half = max(1, document["machine"]["cores"] // 2)
    one, two, four = (min(count, half) for count in (1, 2, 4))
    return f"{one}, {two} and {four}"


def _swing(groups: Rounds) -> float:
    """Return by how many times the rates of one of our points differ at most."""
    rates = [[run[RATE] for run in runs] for (_, _, name), runs in groups.items() if name == OURS]
    swings = [max(each) / min(each) for each in rates if len(each) > 1 and min(each)]
    return max(swings, default=0)


def _sizing(at: dict[Name, Run], cluster: dict[str, Any]) -> Iterator[str]:
    ours = at.get(("singles", "32", OURS))
    if not ours or not ours[OWN]:
        return
    classic, single, triple = (row for row in cluster["rows"] if row["connections"] == 32)
    own, broker = ours[OWN], ours[BROKER]
    one, three = (row[BROKER] / classic[BROKER] for row in (single, triple))
    more = triple[OWN] / classic[OWN]
    yield f"""\
## How many cores for how many messages

Messages of 100 bytes, one in each request, over kept connections, with every core at most
{FULL * 100:.0f} % busy. Cores are messages per second x microseconds / 1,000,000 / {FULL}.

| messages/s | backends, each with a core | RabbitMQ cores, one node, classic queues | \
RabbitMQ cores in all, three nodes, quorum queues | such queues, at least |
|---:|---:|---:|---:|---:|"""
    for rate in (1_000, 10_000, 100_000, 1_000_000):
        load = rate / 1e6 / FULL
        cells = (
            f"{rate:,}",
            f"{math.ceil(load * own * more)}",
            f"{load * broker:,.1f}",
            f"{load * broker * three:,.1f}",
            f"{math.ceil(load * broker * one)}",
        )
        yield f"| {' | '.join(cells)} |"
    yield f"""
- **N cores for the gateway and RabbitMQ together** take at most about N x \
{round(1e6 * FULL / (own + broker), -2):,.0f} messages
  per second, with one node and classic queues. RabbitMQ needs \
{broker / (own + broker) * 100:.0f} % of them.
- A backend has one thread. It takes about {round(1e6 * FULL / own, -3):,.0f} messages per second
  on its core, and about {ours["resident_mib"]:.0f} MiB of memory with \
{ours["connections"]} clients.
  The table counts backends for quorum queues.
- A queue is one Erlang process, so one queue takes one core at most. The last column counts all of
  RabbitMQ's CPU for a message against that core, so it is on the safe side.
- A message costs three nodes with a quorum queue {three:.1f} times the CPU of one node with a
  classic queue, and a backend {more:.2f} times ([measured apart](#quorum-queues-and-clusters)).
- This is arithmetic, not a measurement at that size. Your messages, disks and processors differ:
  measure there, and keep the arithmetic.
"""


def _singles(groups: Rounds, document: results.Document) -> Iterator[str]:
    medians = of_scenario(document, "singles")
    if not medians:
        return
    lost = sum(run["lost"] for run in document["medians"])
    found = f"**{lost} confirmed messages were not in the queue.**"
    if not lost:
        found = "Every confirmed message was in the queue."
    yield f"""\
## One message in each request

Persistent messages of 100 bytes, and of 64 KiB, over kept connections into one classic queue.
Every gateway waits for RabbitMQ's confirm. {found}
The table has the medians of {medians[0]["rounds"]} rounds of \
{page_ratios.seconds(document, medians[0]):.0f} s. Above 1 in the column "beside
statelessd", a gateway answers more than statelessd.

- `{PIPELINED}` is a plain publisher with confirms and as many messages under way as the others
  have connections. It shows the most that this RabbitMQ takes.
- `{results.RUST}` is a bridge in Rust. It takes plain bodies, without credentials.
- The `{results.MANAGEMENT}` is part of RabbitMQ, whose CPU has all of it.
"""
    units = ("gateway us", "RabbitMQ us", "p50 ms", "p99 ms", "MiB")
    rows = [("connections", "gateway", "requests/s", "beside statelessd", *units)]
    for run in medians:
        name, reference = name_of(run), ("singles", run["point"], OURS)
        beside = _times(groups, name, reference, RATE) if reference in groups else ""
        figures = (figure(run[OWN], 1), figure(run[BROKER], 1))
        waits = (figure(run[WAIT], 2), figure(run["p99_ms"], 2))
        rate, memory = figure(run[RATE], 0), figure(run["resident_mib"], 0)
        rows.append((run["point"], run["gateway"], rate, beside, *figures, *waits, memory))
    yield from markdown(rows, left=2)
    yield ""


def _others(groups: Rounds, document: results.Document) -> Iterator[str]:
    if any(run["scenario"] in SECTIONS for run in document["medians"]):
        yield """\
## How to read the next tables

The tables of the next sections have ratios to a reference, which is the row with a 1. A rate above
1 is better. CPU for each message, and time (p50), are better below 1. The smallest and the largest
ratio of the rounds are in parentheses.
"""
    for scenario, section in SECTIONS.items():
        runs = of_scenario(document, scenario)
        if not runs:
            continue
        yield f"## {section.title}\n\n{section.text.format(cores=_cores_of_backends(document))}"
        if not section.beside:
            yield "Points ran one after the other, so the table has no rates: compare the CPU."
        yield ""
        keys = [key for key in FIGURES if section.beside or key in (OWN, BROKER)]
        rows = [("point", "gateway", *(FIGURES[key] for key in keys))]
        for run in runs:
            reference = _reference(scenario, section, run["point"], groups)
            cells = [_times(groups, name_of(run), reference, key) for key in keys]
            rows.append((run["point"], run["gateway"], *cells))
        yield from markdown(_without_empty(rows), left=2)
        yield ""


def _reference(scenario: str, section: Section, point: str, groups: Rounds) -> Name:
    """Return what a point is divided by: the same number of connections, if the point has one."""
    first, gateway = section.reference
    _, at, connections = point.partition(" at ")
    name = (scenario, f"{first}{at}{connections}", gateway)
    return name if name in groups else (scenario, first, gateway)


def _times(groups: Rounds, of: Name, beside: Name, figure: str) -> str:
    """Return the median of the rounds' ratios, and the smallest and the largest of them."""
    if of == beside:
        return "1" if groups[of][0].get(figure) else ""
    found = ratios.pairs(groups, of, beside, figure)
    if not found:
        return ""
    least, most = min(found), max(found)
    return f"{_short_number(median(found))} ({_short_number(least)} to {_short_number(most)})"


def _apart(apart: dict[str, Any], *, with_amqproxy: bool) -> Iterator[str]:
    yield """\
## Measured apart

These figures are of other runs, on machines of another speed. Compare them within a table
only.
"""
    if with_amqproxy:
        yield from _amqproxy(apart["amqproxy"])
    yield from _cluster(apart["cluster"])


def _amqproxy(record: dict[str, Any]) -> Iterator[str]:
    rows = record["rows"]
    first, second, last = rows
    yield f"""\
### amqproxy

PHP pages that publish one message each, as [above](#php-pages), through statelessd, through
amqproxy, and without either ({record["where"]}).

- Through statelessd they published {first[RATE] / second[RATE]:.1f} times as many messages as \
through amqproxy, with
  {first[OWN] / second[OWN]:.2f} times the gateway CPU and \
{first[BROKER] / second[BROKER]:.2f} times the RabbitMQ CPU for each.
- Through amqproxy they published {second[RATE] / last[RATE]:.1f} times as many as with php-amqp \
alone.

`make bench BENCH="php --amqproxy PATH"` measures this where you have the program. This table
does not come from that command.
"""
    table = [("way", "messages/s", "gateway us", "RabbitMQ us")]
    for row in rows:
        cells = (figure(row[key], 0) for key in (RATE, OWN, BROKER))
        table.append((row["way"], *cells))
    yield from markdown(table, left=1)
    yield ""


def _cluster(record: dict[str, Any]) -> Iterator[str]:
    yield f"""\
### Quorum queues and clusters

Single messages of 100 bytes. RabbitMQ's CPU is that of all nodes. The reference is the classic
queue at the same number of connections.

- When and where: {record["date"]}, {record["where"]}.
- Command: `{record["command"]}`.
  The quorum queues had `--queue-type quorum` as well, and the cluster `--nodes 3`.
"""
    table = [("connections", "queue", "nodes", "rate", "gateway CPU", "RabbitMQ CPU")]
    for row in record["rows"]:
        first = next(each for each in record["rows"] if each["connections"] == row["connections"])
        cells = (
            "1" if row is first else _short_number(row[key] / first[key])
            for key in (RATE, OWN, BROKER)
        )
        table.append((f"{row['connections']}", row["queue"], f"{row['nodes']}", *cells))
    yield from markdown(table, left=2)
    alone, three = (row[BROKER] for row in record["rows"][1:3])
    yield f"""
- A quorum queue with one node cost less than a classic queue.
- Three nodes spent {three / alone:.1f} times as much as one on a message of a quorum queue. Each
  does about as much as one alone. They are for safety, and not for speed.

### How long a cluster confirms nothing

`make test-cluster` kills two nodes and stops one, one after the other, and parts the leader from
the others. With two backends the longest time without a 204 was 0.5 s, and 1.4 s for one of them
alone (`CLUSTER="--seeds 740245"`, on 2026-11-25, 2 cores).

### Network

A message of 100 bytes took 295 bytes of request and 118 of response, and 166 bytes to RabbitMQ and
2 back. The leader of a quorum queue of three sends it on twice.
"""


def _without_empty(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return a table without the columns that have no figure."""
    kept = [at for at in range(len(rows[0])) if any(row[at] for row in rows[1:])]
    return [[row[at] for at in kept] for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/docs.py", description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", default=results.REFERENCE)
    options = parser.parse_args()
    beside = [] if options.result != results.REFERENCE else results.references()[1:]
    try:
        document = results.read(options.result)
        others = [results.read(file) for file in beside]
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    PAGE.write_text(page(document, options.result, others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
