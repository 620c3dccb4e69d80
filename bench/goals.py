"""The figures this project has set itself: each met, or not, by a result's medians."""

from collections.abc import Iterator, Sequence

from results import OURS, PHP_DIRECT, PIPELINED, RUST, Run

LARGE_POINT = "32, 64 KiB"
OWN, BROKER, RATE = "gateway_us", "broker_us", "requests_per_second"
TEXTS = {OWN: "CPU of the gateway", BROKER: "CPU of the broker", RATE: "rate"}
Name = tuple[str, str, str]
"""Scenario, point and gateway of a run."""


def goals() -> Iterator[tuple[str, Name, Name | None, float]]:
    """Return a figure, whose it is, whose it is divided by, and its bound.

    The bound is from below for a rate, and from above for CPU.
    """
    for point, limit in (("32", 20), ("256", 16), (LARGE_POINT, 78)):
        yield OWN, ("singles", point, OURS), None, limit
    for point in ("32", "256"):
        ours, plain, rust = (("singles", point, name) for name in (OURS, PIPELINED, RUST))
        yield RATE, ours, plain, 0.95
        yield BROKER, ours, plain, 1
        yield RATE, ours, rust, 1
        yield OWN, ours, rust, 1
    for scenario, many, point in (("users", 1000, "in turn at"), ("exchanges", 200, "at")):
        for count in (32, 256):
            first, last = (f"{number} {point} {count}" for number in (1, many))
            yield OWN, (scenario, last, OURS), (scenario, first, OURS), 1.2
    for name in PHP_DIRECT:
        yield RATE, ("php", "16 processes", OURS), ("php", "16 processes", name), 5
        yield BROKER, ("php", "16 processes", OURS), ("php", "16 processes", name), 1 / 12


def verdicts(medians: Sequence[Run]) -> Iterator[tuple[str, str, str, str]]:
    """Return what is measured, its value, the goal and whether it is met, where there are runs."""
    at = {(run["scenario"], run["point"], run["gateway"]): run for run in medians}
    for figure, of, beside, limit in goals():
        one, other = at.get(of), at.get(beside) if beside else {figure: 1}
        if not one or not other:
            continue
        text = f"{TEXTS[figure]}, {of[0]}: {of[2]} at {of[1]}"
        if beside:
            text += f" over {beside[1] if beside[2] == OURS else beside[2]}"
        value = one[figure] / other[figure]
        met = value >= limit if figure == RATE else value <= limit
        bound = f"at {'least' if figure == RATE else 'most'} {limit:.2g}"
        yield text, f"{value:,.2f}", bound, "met" if met else "not met"
