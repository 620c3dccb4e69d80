"""The figures this project has set itself: each met, or not, by a result's medians."""

from collections.abc import Sequence
from dataclasses import dataclass

from contenders import CEILING, OURS, RUST
from report import Run
from singles import LARGE_POINT, SCENARIO

PHP = ("php-amqplib", "php-amqp")
WHERE = {
    "32": "at 32 connections",
    "256": "at 256 connections",
    LARGE_POINT: "at 32 connections with 64 KiB",
}


@dataclass(frozen=True)
class Goal:
    """``value``: what was measured, which ``limit`` bounds from above, or from below."""

    text: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def measured(self) -> str:
        return f"{self.value:,.{2 if self.unit == ' times' else 1}f}{self.unit}"

    @property
    def bound(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit:,.4g}{self.unit}"

    def __str__(self) -> str:
        return f"{'met' if self.met else 'not met':8} {self.text}: {self.measured} ({self.bound})"


def goals(medians: Sequence[Run]) -> list[Goal]:
    """Those for which there are figures."""
    at = {(run["point"], run["gateway"]): run for run in medians if run["scenario"] == SCENARIO}
    found = []
    for point, limit in (("32", 20), ("256", 16), (LARGE_POINT, 78)):
        if ours := at.get((point, OURS)):
            text = f"CPU of the gateway for a publish {WHERE[point]}"
            found.append(Goal(text, ours["gateway_us"], limit, " us"))
    for point in ("32", "256"):
        if (ours := at.get((point, OURS))) and (plain := at.get((point, CEILING))):
            share = 100 * ours["requests_per_second"] / plain["requests_per_second"]
            text = f"rate beside the pipelined publisher's {WHERE[point]}"
            found.append(Goal(text, share, 95, " %", at_least=True))
            text = f"CPU of the broker for a publish {WHERE[point]}"
            found.append(Goal(text, ours["broker_us"], plain["broker_us"], " us"))
    for point in ("32", "256"):
        if (ours := at.get((point, OURS))) and (rust := at.get((point, RUST))):
            text = f"CPU of the gateway over {RUST}'s {WHERE[point]}"
            found.append(Goal(text, ours["gateway_us"] / rust["gateway_us"], 1, " times"))
            ratio = ours["requests_per_second"] / rust["requests_per_second"]
            text = f"rate over {RUST}'s {WHERE[point]}"
            found.append(Goal(text, ratio, 1, " times", at_least=True))
    return [*found, *flatness(medians), *php(medians)]


def flatness(medians: Sequence[Run]) -> list[Goal]:
    """Cost with more users, or exchanges, beside that with one, at the same connections."""
    found = []
    for scenario in ("users", "exchanges"):
        series: dict[tuple[str, int], list[Run]] = {}
        for run in medians:
            if run["scenario"] == scenario:
                series.setdefault((run["gateway"], run["connections"]), []).append(run)
        for (gateway, connections), runs in series.items():
            if len(runs) == 1:  # is beside nothing
                continue
            costs = [run["gateway_us"] for run in runs]
            where = f"{gateway} at {connections} connections"
            text = f"CPU for a publish, the dearest point of {scenario} over the first, {where}"
            found.append(Goal(text, max(costs) / costs[0], 1.2, " times"))
    return found


def php(medians: Sequence[Run]) -> list[Goal]:
    """Pages of PHP by the gateway, beside the better of the two that connect each time."""
    runs = {run["gateway"]: run for run in medians if run["scenario"] == "php"}
    direct = [runs[name] for name in PHP if name in runs]
    if OURS not in runs or not direct:
        return []
    rate = runs[OURS]["requests_per_second"] / max(run["requests_per_second"] for run in direct)
    share = min(run["broker_us"] for run in direct) / runs[OURS]["broker_us"]
    return [
        Goal("rate of PHP pages over direct connections", rate, 5, " times", at_least=True),
        Goal("broker CPU of direct connections over PHP pages by the gateway", share, 12,
             " times", at_least=True),
    ]  # fmt: skip
