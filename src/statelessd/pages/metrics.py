"""``GET /metrics``: the figures of this process for Prometheus; with ``?scope=all`` of all."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from ..telemetry.histogram import BOUNDS
from ..telemetry.scoreboard import Key, add
from ..telemetry.scoreboard import Page as BackendPage
from .figures import BACKEND_UP, COUNTER, HISTOGRAM, METRICS, PREFIX, Figure
from .monitoring import Monitoring
from .page import Page, monitoring_of

BUCKETS = [*map(repr, BOUNDS), "+Inf"]


class Metrics(Page):
    """The figures in Prometheus' text format or OpenMetrics, as the client prefers."""

    async def get(self, request: Request) -> Response:
        monitoring = monitoring_of(request)
        if request.query_params.get("scope") == "all":
            pages = monitoring.pages()
            collectors: list[Collector] = [_of_all(monitoring, pages), _Processes(pages)]
        else:
            ours = _Ours()
            for values in monitoring.samples(monitoring.read()):
                ours.add((), values)
            collectors = [ours, _PROCESS]
        registry = CollectorRegistry(auto_describe=False)
        for collector in collectors:
            registry.register(collector)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        headers = {"content-type": content_type, "cache-control": "no-store"}
        return Response(encode(registry), headers=headers)


class _Ours(Collector):
    """Our figures, as prometheus_client takes them; ``labels``: those beside a figure's own."""

    def __init__(self, *labels: str) -> None:
        self._labels = labels
        self._values: dict[str, list[tuple[list[str], Any]]] = {}

    def add(self, labels: tuple[str, ...], values: Mapping[Key, Any]) -> None:
        """Add figures of one backend, with the values of those labels."""
        for (name, *own), value in values.items():
            self._values.setdefault(name, []).append(([*labels, *own], value))

    def collect(self) -> Iterator[Metric]:
        for figure in (*METRICS, BACKEND_UP):
            if figure.name in self._values:
                yield self._metric(figure, self._values[figure.name])

    def _metric(self, figure: Figure, found: list[tuple[list[str], Any]]) -> Metric:
        name, names = PREFIX + figure.name, [*self._labels, *figure.labels]
        metric = Metric(name, figure.help, figure.kind.value)
        for values, value in found:
            labels = dict(zip(names, values, strict=True))
            if figure.kind is HISTOGRAM:
                total, *counts = value
                for bound, count in zip(BUCKETS, counts, strict=True):
                    metric.add_sample(f"{name}_bucket", labels | {"le": bound}, count)
                metric.add_sample(f"{name}_count", labels, counts[-1])
                metric.add_sample(f"{name}_sum", labels, total / figure.per)
            elif figure.kind is COUNTER:
                metric.add_sample(f"{name}_total", labels, value[0] / figure.per)
            else:
                metric.add_sample(name, labels, value)
        return metric


def _of_all(monitoring: Monitoring, pages: Iterable[BackendPage]) -> _Ours:
    """Return the figures of all; a backend that is gone keeps its counters and has no gauges."""
    gateway, ours = monitoring.gateway, _Ours("backend")
    own_counters, own_gauges = monitoring.samples(monitoring.read())
    for page in pages:
        backend = (str(page.listener),)
        counters = page.total(without=os.getpid())
        if page.listener == gateway.port:
            add(counters, own_counters)  # of this moment, and not of the last second
        ours.add(backend, counters)
        if page.living:
            newest = page.living[-1]
            ours.add(backend, own_gauges if newest.pid == os.getpid() else newest.gauges)
        # A reload may have removed the listener: then it is not down.
        if page.listener in gateway.http_server.listeners:
            ours.add(backend, {(BACKEND_UP.name,): float(bool(page.living))})
    return ours


class _Processes(Collector):
    """The process figures of all living backends, which the kernel tells at this moment."""

    def __init__(self, pages: Iterable[BackendPage]) -> None:
        self._pids = {str(page.listener): page.living[-1].pid for page in pages if page.living}

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, Metric] = {}
        for backend, pid in self._pids.items():
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]  # mypy sees no type in a default
                empty = Metric(metric.name, metric.documentation, metric.type)
                family = by_name.setdefault(metric.name, empty)
                for sample in metric.samples:
                    family.add_sample(sample.name, {"backend": backend}, sample.value)
        return iter(by_name.values())


_PROCESS = ProcessCollector(registry=None)
