"""The ratios that this project has set itself: each met, or not, or not decided by a result."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import ratios
import results
from ratios import CORES, Ratio
from results import BROKER, COMPILED, OURS, OWN, PHP_DIRECT, PIPELINED, RATE, RUST, TWO_BACKENDS

LARGE_POINT = "32, 64 KiB"
MET, NOT_MET, NOT_DECIDED = "met", "not met", "not decided"


class Goal(NamedTuple):
    """A ratio and its bound, which is from below for a rate, and from above for CPU.

    ``one`` and ``other``: the points and gateways. The pure form's name in ``one`` stands for
    either form. ``rabbitmq``: the first major version that the goal is for.
    """

    text: str
    figure: str
    scenario: str
    one: tuple[str, str]
    other: tuple[str, str]
    bound: float
    rabbitmq: int = 0

    @property
    def limit(self) -> str:
        return f"at {'least' if self.figure == RATE else 'most'} {ratios.short(self.bound)}"

    def judge(self, ratio: Ratio) -> str:
        """Return MET or NOT_MET if all of the interval is on one side, else NOT_DECIDED."""
        low, high, bound = ratio.low, ratio.high, self.bound
        if self.figure == RATE:  # more is better
            low, high, bound = -high, -low, -bound
        return MET if high <= bound else NOT_MET if low > bound else NOT_DECIDED


def goals() -> Iterator[Goal]:
    small = ("32", "256")
    for point, bound in (("32", 0.45), ("256", 0.45), (LARGE_POINT, 0.6)):
        text = f"gateway CPU over {RUST}"
        yield Goal(text, OWN, "pairs", (point, OURS), (point, RUST), bound)
    for point in small:
        text = f"gateway CPU over pure {OURS}"
        yield Goal(text, OWN, "pairs", (point, OURS), (point, OURS), 0.75)
    for point, bound in (("32", 0.80), ("256", 0.85)):
        text = f"rate over {PIPELINED}"
        yield Goal(text, RATE, "pairs", (point, OURS), (point, PIPELINED), bound, rabbitmq=4)
    for point in small:
        two, text = f"{OURS}, {TWO_BACKENDS}", f"cores of two backends at the rate of {PIPELINED}"
        yield Goal(text, CORES, "pairs", (point, two), (point, PIPELINED), 2)
    for point in small:
        text = f"RabbitMQ CPU over {PIPELINED}"
        yield Goal(text, BROKER, "pairs", (point, OURS), (point, PIPELINED), 1)
    for point in small:
        yield Goal(f"rate over {RUST}", RATE, "pairs", (point, OURS), (point, RUST), 1)
    for scenario, many, at in (("users", 1000, "in turn at"), ("exchanges", 200, "at")):
        for count in (32, 256):
            one, last = ((f"{number} {at} {count}", OURS) for number in (1, many))
            yield Goal(f"gateway CPU over that of 1 {scenario[:-1]}", OWN, scenario, last, one, 1.2)
    ours = "16 processes", OURS
    for name in PHP_DIRECT:
        direct = "16 processes", name
        yield Goal(f"rate over {name}", RATE, "php", ours, direct, 5)
        yield Goal(f"RabbitMQ CPU over {name}", BROKER, "php", ours, direct, 1 / 12)


class Verdict(NamedTuple):
    """A goal with the ratio of each form, or None. The compiled one, if measured, is judged."""

    goal: Goal
    pure: Ratio | None
    compiled: Ratio | None
    verdict: str


def verdicts(document: results.Document) -> Iterator[Verdict]:
    """Yield each goal that the result has runs for; one for other brokers has no verdict."""
    rounds = results.groups(document["runs"])
    major = int(document["versions"].get("RabbitMQ", "0").partition(".")[0])
    for goal in goals():
        other = (goal.scenario, *goal.other)
        if other not in rounds:  # the pure form was not measured
            other = (*other[:2], other[2].replace(OURS, COMPILED, 1))
        point, name = goal.one
        found: list[Ratio | None] = []
        for form in (OURS, COMPILED):
            one = (goal.scenario, point, name.replace(OURS, form, 1))
            found.append(None if one == other else ratios.between(rounds, one, other, goal.figure))
        pure, compiled = found
        if judged := compiled or pure:
            yield Verdict(
                goal, pure, compiled, goal.judge(judged) if major >= goal.rabbitmq else ""
            )


def rows(found: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """Return the headings and cells of a table of ratios."""
    return [("ratio", "at", OURS, COMPILED, "goal", "verdict")] + [
        (
            each.goal.text,
            each.goal.one[0],
            *("" if ratio is None else str(ratio) for ratio in (each.pure, each.compiled)),
            each.goal.limit if each.verdict else f"from RabbitMQ {each.goal.rabbitmq}",
            each.verdict,
        )
        for each in found
    ]
