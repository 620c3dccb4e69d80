"""The points of a benchmark: one run's figures, their medians, the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from load import Load


@dataclass(frozen=True)
class Point:
    """One gateway under one number of connections: one run, or the median of several.

    Times of CPU are microseconds for each answered request. In a median the
    counts (``confirmed`` to ``found``) are the sums of all its runs.
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


def medians(points: Sequence[Point]) -> list[Point]:
    """The median of the runs of each gateway and number of connections, in order of appearance."""
    groups: dict[tuple[int, str], list[Point]] = {}
    for run in points:
        groups.setdefault((run.connections, run.gateway), []).append(run)
    return [_median(runs) for runs in groups.values()]


def _median(runs: list[Point]) -> Point:
    return Point(
        gateway=runs[0].gateway,
        connections=runs[0].connections,
        requests_per_second=median(run.requests_per_second for run in runs),
        p50_ms=median(run.p50_ms for run in runs),
        p99_ms=median(run.p99_ms for run in runs),
        gateway_cpu_us=median(run.gateway_cpu_us for run in runs),
        broker_cpu_us=median(run.broker_cpu_us for run in runs),
        resident_mib=median(run.resident_mib for run in runs),
        confirmed=sum(run.confirmed for run in runs),
        non_204=sum(run.non_204 for run in runs),
        socket_errors=sum(run.socket_errors for run in runs),
        lost=sum(run.lost for run in runs),
        surplus=sum(run.surplus for run in runs),
        found=sum(run.found for run in runs),
    )


HEADINGS = ("conns", "gateway", "requests/s", "p50 ms", "p99 ms", "gateway us", "broker us",
            "MiB", "204s", "not 204", "in queue", "lost")  # fmt: skip


def row(run: Point) -> tuple[str, ...]:
    return (
        str(run.connections),
        run.gateway,
        f"{run.requests_per_second:,.0f}",
        f"{run.p50_ms:.2f}",
        f"{run.p99_ms:.2f}",
        f"{run.gateway_cpu_us:.1f}",
        f"{run.broker_cpu_us:.1f}",
        f"{run.resident_mib:.1f}",
        f"{run.confirmed:,}",
        f"{run.non_204:,}",
        f"{run.found:,}",
        f"{run.lost:,}",
    )


def table(points: Sequence[Point]) -> str:
    """The points as text, figures to the right."""
    rows = [HEADINGS, *map(row, points)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for cells in rows:
        cells_padded = [
            cell.ljust(width) if heading == "gateway" else cell.rjust(width)
            for cell, width, heading in zip(cells, widths, HEADINGS, strict=True)
        ]
        lines.append("  ".join(cells_padded).rstrip())
    return "\n".join(lines)


def comparison(points: Sequence[Point], ours: str, peer: str) -> list[str]:
    """A line for each number of connections: the peer's figures and ours as ratios."""
    by_name = {(run.connections, run.gateway): run for run in points}
    lines = []
    for (connections, name), our in by_name.items():
        their = by_name.get((connections, peer))
        if name == ours and their is not None and our.gateway_cpu_us and their.requests_per_second:
            lines.append(
                f"at {connections}: {ours} answers "
                f"{our.requests_per_second / their.requests_per_second:.1f} times the requests/s, "
                f"{peer} takes {their.gateway_cpu_us / our.gateway_cpu_us:.1f} times the CPU "
                "for each request"
            )
    return lines


def faults(points: Sequence[Point]) -> list[str]:
    """What makes a run worthless as a measurement, a line for each; empty when all is well."""
    found = []
    for run in points:
        counts = {
            "answers other than 204": run.non_204,
            "socket errors": run.socket_errors,
            "confirmed messages that are not in the queue": run.lost,
            "messages in the queue that nobody asked for": run.surplus,
        }
        where = f"{run.gateway} at {run.connections}"
        found += [f"{where}: {count} {what}" for what, count in counts.items() if count]
    return found
