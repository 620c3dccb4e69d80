"""For how long nothing was confirmed, and for how much of that the queue had a leader."""

from verdict import CONFIRMED


def confirmed_at(answers):
    """The times of the 204s, in order."""
    return sorted(answer.at for answer in answers if answer.outcome == CONFIRMED)


def longest(times, begun, ended, led_from=()):
    """The longest time between two 204s, as far as it lies between ``begun`` and ``ended``.

    ``led_from``: of a silence in which the queue got a leader only what comes
    after that counts.
    """
    within = [t for t in times if begun < t < ended]
    found = 0.0
    for start, end in zip([begun, *within], [*within, ended], strict=True):
        since = max([start, *(t for t in led_from if start < t <= end)])
        found = max(found, end - since)
    return found
