"""The arithmetic: what was answered against what is in the queues."""

import collections
import dataclasses

CONFIRMED, NOT_PUBLISHED, UNKNOWN = "confirmed", "not-published", "unknown"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a client was told of one message. ``cause`` says why, in the gateway's words."""

    message_id: str
    outcome: str
    cause: str = ""
    at: float = 0.0  # seconds since the run's begin
    seconds: float = 0.0


@dataclasses.dataclass
class Verdict:
    """The first three have to be empty."""

    lost: list[str]  # 204, and not in a queue
    denied: list[str]  # "not-published", and in a queue
    doubled: list[str]  # in the queues twice
    outcomes: collections.Counter
    causes: collections.Counter  # of the unknown and the not published

    @classmethod
    def nothing(cls):
        return cls([], [], [], collections.Counter(), collections.Counter())

    def __add__(self, other):
        return Verdict(
            *(
                getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(self)
            )
        )

    @property
    def true(self):
        return not (self.lost or self.denied or self.doubled)

    def __str__(self):
        lines = [
            f"answered 204 but not found:           {len(self.lost)}",
            f"answered not-published but found:     {len(self.denied)}",
            f"found twice:                          {len(self.doubled)}",
            "answers: " + ", ".join(f"{n} {name}" for name, n in self.outcomes.most_common()),
            "by cause:",
            *(f"  {n:7} {outcome}: {cause}" for (outcome, cause), n in self.causes.most_common()),
        ]
        lines += [f"  for example {name}" for name in (self.lost + self.denied + self.doubled)[:5]]
        return "\n".join(lines)


def judge(answers, found):
    """Return the verdict; ``found``: how often each message id is in the queues."""
    told = {answer.message_id: answer for answer in answers}
    assert len(told) == len(answers), "an id was used for two requests"
    return Verdict(
        lost=[i for i, a in told.items() if a.outcome == CONFIRMED and not found[i]],
        denied=[i for i, a in told.items() if a.outcome == NOT_PUBLISHED and found[i]],
        doubled=[i for i, n in found.items() if n > 1],
        outcomes=collections.Counter(a.outcome for a in answers),
        causes=collections.Counter((a.outcome, a.cause) for a in answers if a.outcome != CONFIRMED),
    )
