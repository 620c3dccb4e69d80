"""The ratios and latencies on the page of figures, and what its other sections use as well."""

from collections.abc import Iterator, Sequence

import goals
import ratios
import results
from results import PIPELINED, RATE, Name, Run

WAIT, LONG_WAIT = "p50_ms", "p99_ms"


def side_by_side(documents: Sequence[results.Document]) -> Iterator[str]:
    """Yield a table of the goals' ratios for each result that has pairs."""
    shown = [each for each in documents if of_scenario(each, "pairs")]
    if not shown:
        return
    yield f"""\
## The ratios

Each ratio is the median of pairs of runs, one beside the other, in turn. Its 95 % interval
is in parentheses, and it assumes no distribution. A goal is met if all of the interval is within
it. If the goal is inside the interval, the goal is not decided. `{results.COMPILED}` is
the same source with its hot path compiled. Where it was measured, the goal is for it.

"Cores of two backends at the rate of {PIPELINED}" says how busy two backends would be at the rate
of the plain publisher. Below 2, RabbitMQ is what limits.
"""
    for each in shown:
        yield from _heading(each, "pairs")
        found = [verdict for verdict in goals.verdicts(each) if verdict.goal.scenario == "pairs"]
        yield from markdown(goals.rows(found), left=2)
        yield ""


def latency(documents: Sequence[results.Document]) -> Iterator[str]:
    """Yield a table of latencies for each result that has them."""
    shown = [each for each in documents if of_scenario(each, "latency")]
    if not shown:
        return
    yield f"""\
## Latency at a constant rate

Messages of 100 bytes at 10 and 50 % of the most that the pure form takes with 256 connections. They
come evenly spaced, and the time counts from when each was due. `{results.OPEN}` is
a program with one connection to RabbitMQ, and no gateway. Medians of the rounds in
milliseconds, with their 95 % intervals.
"""
    for each in shown:
        yield from _heading(each, "latency")
        rounds = results.groups(each["runs"])
        rows = [("load", "gateway", "messages/s", "p50 ms", "p99 ms")]
        for run in of_scenario(each, "latency"):
            of_all = rounds[name_of(run)]
            waits = (ratios.of([one[key] for one in of_all]) for key in (WAIT, LONG_WAIT))
            rows.append((run["point"], run["gateway"], figure(run[RATE], 0), *map(str, waits)))
        yield from markdown(rows, left=2)
        yield ""


def of_scenario(document: results.Document, scenario: str) -> list[Run]:
    return [run for run in document["medians"] if run["scenario"] == scenario]


def _heading(document: results.Document, scenario: str) -> Iterator[str]:
    """Yield what a table's result was measured with."""
    machine, versions = document["machine"], document["versions"]
    runs = of_scenario(document, scenario)
    yield f"""\
### {scenario.capitalize()} with RabbitMQ {versions["RabbitMQ"]}, \
Python {versions["statelessd"]["python"]}

`{document["command"]}`, {document["date"][:10]}, commit {document["commit"]}, \
{machine["cores"]} cores ({machine["cpu"]}); {runs[0]["rounds"]} rounds of \
{seconds(document, runs[0]):.0f} s
"""


def seconds(document: results.Document, run: Run) -> float:
    """Return how long the runs were."""
    return float(run.get("seconds") or document["options"]["seconds"])


def name_of(run: Run) -> Name:
    return run["scenario"], run["point"], run["gateway"]


def figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def markdown(rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    head, *others = rows
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * left + "---:|" * (len(head) - left)
    for row in others:
        yield f"| {' | '.join(row)} |"
