"""``GET /metrics``: of this process, in the text that Prometheus reads; ``?scope=all``: of all."""

from collections.abc import Iterable, Iterator

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from ..gateway.gateway import Gateway
from ..telemetry.histogram import BOUNDS
from ..telemetry.scoreboard import Page as BackendPage
from .metric_families import COUNTER, GAUGE, PREFIX, Family, backend_up, families, with_past
from .page import Page, gateway_of

Labelled = tuple[dict[str, str], Family]
BUCKETS = [*map(repr, BOUNDS), "+Inf"]


class Metrics(Page):
    """Prometheus' text or OpenMetrics, as the client prefers."""

    async def get(self, request: Request) -> Response:
        gateway = gateway_of(request)
        if request.query_params.get("scope") == "all":
            pages = gateway.pages()
            collectors: list[Collector] = [_Families(_of_all(gateway, pages)), _Processes(pages)]
        else:
            collectors = [_Families([({}, f) for f in families(gateway)]), _PROCESS]
        registry = CollectorRegistry(auto_describe=False)
        for collector in collectors:
            registry.register(collector)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        headers = {"content-type": content_type, "cache-control": "no-store"}
        return Response(encode(registry), headers=headers)


def _of_all(gateway: Gateway, pages: Iterable[BackendPage]) -> Iterator[Labelled]:
    """With what those that are gone have counted; what is now is told of the living only."""
    nothing = [msgspec.structs.replace(family, samples=[]) for family in families(gateway)]
    for page in pages:
        label = {"backend": str(page.listener)}
        past = page.past_with(page.living[:-1])  # while one replaces another there are two
        found = nothing
        if page.living:
            found = msgspec.msgpack.decode(page.living[-1].document["metrics"], type=list[Family])
        for family in found:
            yield label, with_past(family, past)
        if page.listener in gateway.http_server.listeners:  # a reload may have removed it
            yield label, backend_up(bool(page.living))


class _Families(Collector):
    """Ours, as prometheus_client takes them; families of one name come as one."""

    def __init__(self, found: Iterable[Labelled]) -> None:
        self._found = list(found)

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, list[Labelled]] = {}
        for labels, family in self._found:
            by_name.setdefault(family.name, []).append((labels, family))
        for those in by_name.values():
            yield _metric(those)


def _metric(those: list[Labelled]) -> Metric:
    first = those[0][1]
    names = sorted({n for labels, f in those for s, _ in f.samples for n in {**labels, **s}})
    name = PREFIX + first.name
    if first.kind == COUNTER:
        metric: Metric = CounterMetricFamily(name, first.help, labels=names)
    elif first.kind == GAUGE:
        metric = GaugeMetricFamily(name, first.help, labels=names)
    else:
        metric = HistogramMetricFamily(name, first.help, labels=names)
    for labels, family in those:
        for own, value in family.samples:
            all_labels = {**labels, **own}
            values = [all_labels.get(n, "") for n in names]
            if isinstance(metric, HistogramMetricFamily):
                buckets = list(zip(BUCKETS, value["counts"], strict=True))
                metric.add_metric(values, buckets, value["sum"] / family.per)
            else:
                metric.add_metric(values, value / family.per)  # type: ignore[attr-defined]  # of both kinds left
    return metric


class _Processes(Collector):
    """The process figures of all backends that live, read now: nothing of them is left behind."""

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
