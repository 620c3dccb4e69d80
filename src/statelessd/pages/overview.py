"""``/dashboard.json``: the figures of all backends of this parent, and their last ten minutes."""

import asyncio
import bisect
import math
import socket
import time
from collections.abc import Callable

import msgspec

from ..config.settings import Listener
from ..gateway.gateway import Gateway
from ..telemetry.histogram import percentile
from ..telemetry.history import LATELY, WINDOW, Sample, Second, together, without_stalls
from ..version import __version__

BEHIND = 1.5  # seconds after whose beginning a second is over, and all have told of it
LATE = 5  # seconds that a page asks for again, as a backend may have told late
TURN = 60  # seconds of history that are read before others have their turn
# From the best to the worst: what several backends together are said to be.
WORSE = ["unused", "reachable", "connected", "refused", "blocked", "unreachable"]


class Broker(msgspec.Struct):
    """As in ``/stats``."""

    state: str = "unused"
    reason: str = ""


class BackendNow(msgspec.Struct, kw_only=True):
    """One backend at this moment; one that is not ``up`` has nothing but its name."""

    backend: str
    up: bool = False
    pid: int = 0
    started: float = 0.0
    loaded: float = 0.0
    draining: bool = False
    broker: Broker
    published: int = 0
    errors: dict[str, int] = {}
    in_flight: int = 0
    waiting: int = 0
    broker_connections: int = 0
    client_connections: int = 0
    cpu: float = 0.0
    memory: int = 0
    lag: float = 0.0
    descriptors: int | None = None


class Series(msgspec.Struct):
    """Columns of one length."""

    backend: str | None
    time: list[int]
    published: list[float]
    p50: list[float | None]
    p99: list[float | None]
    in_flight: list[int]
    waiting: list[int]
    errors: dict[str, list[float]]
    broker: list[str]

    def after(self, second: int) -> "Series":
        """Of later seconds only."""
        at = bisect.bisect_right(self.time, second)
        errors = {kind: rates[at:] for kind, rates in self.errors.items() if any(rates[at:])}
        return Series(
            self.backend,
            self.time[at:],
            self.published[at:],
            self.p50[at:],
            self.p99[at:],
            self.in_flight[at:],
            self.waiting[at:],
            errors,
            self.broker[at:],
        )


class Overview(msgspec.Struct):
    """The document."""

    version: str
    host: str
    time: float
    window: int
    backends: list[BackendNow]
    series: Series


def listeners(gateway: Gateway) -> dict[str, Listener]:
    """By name: those of the settings, in their order, and our own."""
    return {str(each): each for each in (*gateway.http_server.listeners, gateway.port)}


async def overview(
    gateway: Gateway,
    backend: str | None = None,
    since: int | None = None,
    clock: Callable[[], float] = time.time,
) -> Overview:
    """``backend``: whose series, instead of that of all; ``since``: of later seconds only."""
    now = clock()
    known = listeners(gateway)
    wanted = list(known.values()) if backend is None else [known[backend]]
    last = math.floor(now - BEHIND)
    first = last - WINDOW + 1 if since is None else max(since + 1, last - WINDOW + 1)
    return Overview(
        __version__,
        socket.gethostname(),
        now,
        WINDOW,
        [_backend(gateway, name, listener, int(now)) for name, listener in known.items()],
        _series(backend, await _seconds(gateway, wanted, first, last)),
    )


async def recent_overview(gateway: Gateway) -> Overview:
    """With the last seconds only."""
    return await overview(gateway, since=math.floor(time.time() - BEHIND) - LATE)


def _backend(gateway: Gateway, name: str, listener: Listener, second: int) -> BackendNow:
    newest = None
    if listener == gateway.port:
        newest = gateway.figures()
    elif gateway.board is not None:
        newest = gateway.board.newest(listener, second)
    if newest is None:
        return BackendNow(backend=name, broker=Broker())
    return BackendNow(
        backend=name,
        up=True,
        pid=newest.pid,
        started=newest.started,
        loaded=newest.loaded,
        draining=newest.draining,
        broker=Broker(newest.broker, newest.reason),
        published=newest.published,
        errors={kind: total for kind, (_, total) in newest.errors.items()},
        in_flight=newest.in_flight,
        waiting=newest.waiting,
        broker_connections=newest.broker_connections,
        client_connections=newest.client_connections,
        cpu=round(newest.cpu, 4),
        memory=newest.memory,
        lag=round(newest.lag, 6),
        descriptors=newest.descriptors,
    )


async def _seconds(
    gateway: Gateway, wanted: list[Listener], first: int, last: int
) -> dict[int, Second]:
    """Of all wanted together, those that are known, in order."""
    found: dict[int, Second] = {}
    for start in range(first, last + 1, TURN):
        end = min(start + TURN - 1, last)
        by_second = _read(gateway, wanted, start, end)
        found |= {second: together(by_second[second]) for second in sorted(by_second)}
        await asyncio.sleep(0)
    return found


def _read(
    gateway: Gateway, wanted: list[Listener], first: int, last: int
) -> dict[int, list[Sample]]:
    by_second: dict[int, list[Sample]] = {}
    if gateway.board is not None:
        for listener in wanted:
            # Those behind may tell of stalls before.
            known = gateway.board.history(listener, first, last + LATELY)
            for second, samples in without_stalls(known):
                if first <= second <= last:
                    by_second.setdefault(second, []).extend(samples)
    return by_second


def _series(backend: str | None, seconds: dict[int, Second]) -> Series:
    made = list(seconds.values())
    kinds = sorted({kind for each in made for kind, rate in each.errors.items() if rate})
    return Series(
        backend,
        list(seconds),
        [round(each.published, 3) for each in made],
        [_rounded(percentile(each.latency, 0.5)) for each in made],
        [_rounded(percentile(each.latency, 0.99)) for each in made],
        [each.in_flight for each in made],
        [each.waiting for each in made],
        {kind: [round(each.errors.get(kind, 0.0), 3) for each in made] for kind in kinds},
        [max(each.brokers, key=WORSE.index) for each in made],
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 7)
