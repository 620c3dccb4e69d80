"""For how long nothing was confirmed, and for how much of that the queue had a leader."""

import dataclasses

from verdict import CONFIRMED

WORKS = {"leader", "follower"}


@dataclasses.dataclass(frozen=True)
class Change:
    """``leader``: a node's name, or None; ``states``: of each node's member of the queue."""

    at: float  # seconds since the run's begin
    leader: str | None
    states: tuple[str, ...] = ()

    @property
    def whole(self):
        """Return whether there is a leader whom all the others follow."""
        return self.leader is not None and set(self.states) <= WORKS


def spans_led(changes, ended):
    """Return from when to when the queue had one leader, the last one until ``ended``."""
    spans, last = [], None
    for change in changes:
        if change.leader != last:
            if last is not None:
                spans[-1] = spans[-1][0], change.at
            if change.leader is not None:
                spans.append((change.at, ended))
            last = change.leader
    return spans


def confirmed_at(answers):
    """Return the times of the 204s, in order."""
    return sorted(answer.at for answer in answers if answer.outcome == CONFIRMED)


def longest(times, begun, ended, led=None):
    """Return the longest time between two 204s, as far as it is in the given span.

    With ``led``, spans of time: the longest time that lies within one of them.
    """
    within = [t for t in times if begun < t < ended]
    silences = list(zip([begun, *within], [*within, ended], strict=True))
    if led is None:
        return max(end - start for start, end in silences)
    return max(
        (min(end, until) - max(start, since) for start, end in silences for since, until in led),
        default=0.0,
    )


def without_leader(begun, ended, led):
    """Return for how many seconds between ``begun`` and ``ended`` there was no leader."""
    return ended - begun - sum(max(0.0, min(ended, e) - max(begun, b)) for b, e in led)
