"""The figures of a run, their medians, the table, and what makes them worthless."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from load import Load

Run = dict[str, Any]
"""As it is in the results: ``scenario``, ``point`` and ``gateway`` name it, and figures that
are None were not to be had. Every scenario makes such."""

NAMES = ("scenario", "point", "gateway")


@dataclass(frozen=True)
class Point:
    """One run of one gateway under one number of connections.

    Times of CPU are microseconds for each answered request.
    """

    gateway: str
    connections: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    gateway_cpu_us: float
    broker_cpu_us: float
    resident_mib: float
    confirmed: int
    non_204: int
    socket_errors: int
    lost: int
    surplus: int
    found: int


def point(
    gateway: str,
    connections: int,
    load: Load,
    gateway_cpu: float,
    broker_cpu: float,
    resident: int,
    found: int,
) -> Point:
    """Turn one run's measurements (CPU in seconds, memory in bytes) into its figures.

    wrk leaves when its time is over, with up to one request on each connection
    unanswered. Their messages may be in the queue or not: only what is missing
    from the 204s is lost, and only what exceeds both is surplus.
    """
    answered = max(load.requests, 1)
    return Point(
        gateway=gateway,
        connections=connections,
        requests_per_second=load.confirmed / load.seconds,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        gateway_cpu_us=gateway_cpu / answered * 1e6,
        broker_cpu_us=broker_cpu / answered * 1e6,
        resident_mib=resident / 2**20,
        confirmed=load.confirmed,
        non_204=load.non_204,
        socket_errors=load.socket_errors,
        lost=max(0, load.confirmed - found),
        surplus=max(0, found - load.confirmed - load.non_204 - connections),
        found=found,
    )


def named(run: Run) -> tuple[str, str, str]:
    return run["scenario"], run["point"], run["gateway"]


def groups(runs: Sequence[Run]) -> dict[tuple[str, str, str], list[Run]]:
    """The rounds of each point and gateway, in order of appearance."""
    found: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        found.setdefault(named(run), []).append(run)
    return found


# Of these a median would hide a fault.
COUNTS = frozenset({"confirmed", "non_204", "socket_errors", "lost", "surplus", "found"})


def medians(runs: Sequence[Run]) -> list[Run]:
    """Of each point and gateway: the medians of its figures, the sums of its counts."""
    return [_median(rounds) for rounds in groups(runs).values()]


def _median(rounds: Sequence[Run]) -> Run:
    result: Run = dict(rounds[0]) | {"rounds": len(rounds)}
    for key, value in rounds[0].items():
        values = [run[key] for run in rounds if run.get(key) is not None]
        if key in COUNTS:
            result[key] = sum(values)
        elif key == "faults":
            result[key] = [fault for faults in values for fault in faults]
        elif key not in NAMES and isinstance(value, int | float):
            result[key] = median(values)
    return result


HEADINGS = ("gateway", "connections", "requests/s", "of pipelined", "p50 ms", "p99 ms",
            "gateway us", "broker us", "MiB", "lost")  # fmt: skip


def row(run: Run, ceiling: Run | None) -> tuple[str, ...]:
    """The cells of the table; ``ceiling``: the plain pipelined publisher at that point."""
    return (
        run["gateway"],
        run["point"],
        figure(run["requests_per_second"], 0),
        f"{run['requests_per_second'] / ceiling['requests_per_second']:.0%}" if ceiling else "",
        figure(run["p50_ms"], 2),
        figure(run["p99_ms"], 2),
        figure(run["gateway_us"], 1),
        figure(run["broker_us"], 1),
        figure(run["resident_mib"], 1),
        figure(run["lost"], 0),
    )


def figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def rows(medians: Sequence[Run], ceiling: str) -> list[tuple[str, ...]]:
    """Headings and rows, those of a point together."""
    of_point = {run["point"]: run for run in medians if run["gateway"] == ceiling}
    return [HEADINGS, *(row(run, of_point.get(run["point"])) for run in medians)]


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """As text: the first ``left`` columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    )


def faults(points: Sequence[Point]) -> list[str]:
    """What makes a run worthless as a measurement, a line for each; empty when all is well."""
    found = []
    for run in points:
        counts = {
            "answers of no success": run.non_204,
            "socket errors": run.socket_errors,
            "confirmed messages that are not in the queue": run.lost,
            "messages in the queue that nobody asked for": run.surplus,
        }
        where = f"{run.gateway} at {run.connections}"
        found += [f"{where}: {count} {what}" for what, count in counts.items() if count]
        if not run.confirmed:
            found.append(f"{where}: no answer at all")
    return found


def faults_of(runs: Sequence[Run]) -> list[str]:
    """Those that the runs tell of themselves."""
    return [fault for run in runs for fault in run.get("faults", [])]
