"""The figures this project has set itself: each met, or not, by a result's medians."""

from collections.abc import Sequence
from dataclasses import dataclass

from contenders import CEILING, OURS, RUST
from report import Run
from singles import SCENARIO

LARGE = "32, 64 KiB"


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

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        verdict = "met    " if self.met else "not met"
        value, limit = (f"{number:,.4g}{self.unit}" for number in (self.value, self.limit))
        return f"{verdict}  {self.text}: {value} ({bound} {limit})"


def goals(medians: Sequence[Run]) -> list[Goal]:
    """Those for which there are figures."""
    at = {(run["point"], run["gateway"]): run for run in medians if run["scenario"] == SCENARIO}
    found = []
    for point, limit in (("32", 20), ("256", 16), (LARGE, 78)):
        if ours := at.get((point, OURS)):
            text = f"CPU of the gateway for a publish at {point} connections"
            found.append(Goal(text, ours["gateway_us"], limit, " us"))
    for point in ("32", "256"):
        ours, plain = at.get((point, OURS)), at.get((point, CEILING))
        if ours and plain:
            share = 100 * ours["requests_per_second"] / plain["requests_per_second"]
            where = f"at {point} connections"
            text = f"rate beside the pipelined publisher's {where}"
            found.append(Goal(text, share, 95, " %", at_least=True))
            text = f"CPU of the broker for a publish {where}"
            found.append(Goal(text, ours["broker_us"], plain["broker_us"], " us"))
    for point in ("32", "256"):
        ours, rust = at.get((point, OURS)), at.get((point, RUST))
        if ours and rust:
            text = f"CPU beside {RUST}'s at {point} connections"
            found.append(Goal(text, ours["gateway_us"] / rust["gateway_us"], 1, " times"))
            text = f"rate beside {RUST}'s at {point} connections"
            ratio = ours["requests_per_second"] / rust["requests_per_second"]
            found.append(Goal(text, ratio, 1, " times", at_least=True))
    return found + flatness(medians)


def flatness(medians: Sequence[Run]) -> list[Goal]:
    """Cost with more users, or exchanges, beside that with one, at the same connections."""
    found = []
    for scenario in ("users", "exchanges"):
        series: dict[tuple[str, int], list[Run]] = {}
        for run in medians:
            if run["scenario"] == scenario:
                series.setdefault((run["gateway"], run["connections"]), []).append(run)
        for (gateway, connections), runs in series.items():
            costs = [run["gateway_us"] for run in runs]
            where = f"{gateway} at {connections} connections"
            text = f"CPU for a publish, the dearest point of {scenario} over the first, {where}"
            found.append(Goal(text, max(costs) / costs[0], 1.2, " times"))
    return found
