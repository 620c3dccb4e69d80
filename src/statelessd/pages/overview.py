"""``/dashboard.json``: the figures of all backends of this parent, and their last ten minutes."""

import asyncio
import bisect
import math
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from ..broker.figures import BrokerState, BrokerStatus
from ..config.settings import Listener
from ..gateway.gateway import Gateway
from ..telemetry.histogram import percentile
from ..telemetry.history import WINDOW, Sample, Second, without_stalls
from ..version import __version__
from .figures import GAUGE, HISTOGRAM, HISTORY, NOW
from .monitoring import Monitoring

BEHIND = 1.5  # seconds after its beginning, a second is over and all have reported it
LATE = 5  # seconds; a backend that reports nothing for so long serves nobody, or may report late
TURN = 60  # seconds of history that are read before other tasks run
# From the best to the worst: the worst one stands for several backends.
WORSE = ["unused", "reachable", "connected", "refused", "blocked", "unreachable"]

Document = dict[str, Any]


def listeners(gateway: Gateway) -> dict[str, Listener]:
    """Return the listeners of the settings, in their order, and our own, by name."""
    return {str(each): each for each in (*gateway.http_server.listeners, gateway.port)}


async def overview(
    monitoring: Monitoring,
    backend: str | None = None,
    since: int | None = None,
    clock: Callable[[], float] = time.time,
) -> Document:
    """Return the document, with the series of one ``backend`` or of all, later than ``since``."""
    now = clock()
    known = listeners(monitoring.gateway)
    wanted = list(known.values()) if backend is None else [known[backend]]
    last = math.floor(now - BEHIND)
    first = last - WINDOW + 1 if since is None else max(since + 1, last - WINDOW + 1)
    return {
        "version": __version__,
        "host": socket.gethostname(),
        "time": now,
        "window": WINDOW,
        "backends": _backends(monitoring, known, now),
        "series": _series(backend, await _seconds(monitoring, wanted, first, last)),
    }


async def recent_overview(monitoring: Monitoring) -> Document:
    """Return the document with the last seconds only."""
    return await overview(monitoring, since=math.floor(time.time() - BEHIND) - LATE)


def _backends(monitoring: Monitoring, known: dict[str, Listener], now: float) -> list[Document]:
    """Return each backend as it is now; one that is not up has zeros and empty members."""
    nothing: Document = {figure.dashboard: {} if figure.labels else 0 for figure in NOW}
    unused = BrokerState(BrokerStatus.UNUSED)
    nothing |= {"up": False, "pid": 0, "draining": False, "broker": unused}
    found = {name: {**nothing, "backend": name} for name in known}
    for page in monitoring.pages():
        name = str(page.listener)
        # While one backend replaces another there are two: the younger one counts.
        if name in known and page.living and now - page.living[-1].time < LATE:
            found[name] = msgspec.msgpack.decode(page.living[-1].documents["backend"])
    found[str(monitoring.gateway.port)] = monitoring.backend()
    return list(found.values())


async def _seconds(
    monitoring: Monitoring, wanted: list[Listener], first: int, last: int
) -> dict[int, Second]:
    """Return the seconds that are known of the wanted listeners together, in order."""
    found: dict[int, Second] = {}
    for start in range(first, last + 1, TURN):
        end = min(start + TURN - 1, last)
        by_second = _read(monitoring, wanted, start, end)
        found |= {second: Second(by_second[second]) for second in sorted(by_second)}
        await asyncio.sleep(0)
    return found


def _read(
    monitoring: Monitoring, wanted: list[Listener], first: int, last: int
) -> dict[int, list[Sample]]:
    by_second: dict[int, list[Sample]] = {}
    if monitoring.scoreboard is not None:
        for listener in wanted:
            # Later samples may cover stalls before them.
            known = monitoring.scoreboard.history(listener, first, last + LATE)
            for second, samples in without_stalls(known):
                if first <= second <= last:
                    by_second.setdefault(second, []).extend(samples)
    return by_second


def _series(backend: str | None, seconds: dict[int, Second]) -> Document:
    """Return the history in columns of one length."""
    made = list(seconds.values())
    series: Document = {"backend": backend, "time": list(seconds)}
    for figure in HISTORY:
        name = figure.dashboard
        rates = [each.rates.get(name, {}) for each in made]
        if figure.kind is HISTOGRAM:
            for column, share in (("p50", 0.5), ("p99", 0.99)):
                series[column] = [_percentile(each.durations.get(name, {}), share) for each in made]
        elif figure.kind is GAUGE:
            series[name] = [each.gauges[name] for each in made]
        elif figure.labels:
            labels = sorted({label for each in rates for label in each})
            series[name] = {
                label: [round(each.get(label, 0.0), 3) for each in rates] for label in labels
            }
        else:
            series[name] = [round(each.get("", 0.0), 3) for each in rates]
    series["broker"] = [max(each.brokers, key=WORSE.index) for each in made]
    return series


def later(series: Document, second: int) -> Document:
    """Return the series of the seconds after ``second`` only."""
    at = bisect.bisect_right(series["time"], second)
    found: Document = {}
    for name, column in series.items():
        if isinstance(column, dict):
            found[name] = {label: rates[at:] for label, rates in column.items() if any(rates[at:])}
        else:
            found[name] = column[at:] if isinstance(column, list) else column
    return found


def _percentile(counts: dict[int, int], share: float) -> float | None:
    seconds = percentile(counts, share)
    return None if seconds is None else round(seconds, 7)
