"""Bounds how many log lines of one kind are written, without losing how many there were.

Of each kind, the first lines in ten seconds are written at once. Of the others the last one
is written when the ten seconds are over, with the number of those left out.
"""

import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

LINES, WINDOW = 20, 10.0  # lines of one kind, in so many seconds
MOST_KINDS = 200  # at a time; further ones count as one kind


class Line(NamedTuple):
    """A line to write: what it says, and for how many like it it stands, in how many seconds."""

    content: Any
    left_out: int = 0
    seconds: float = 0.0

    @property
    def suffix(self) -> str:
        """Return what the text has to end with."""
        if not self.left_out:
            return ""
        return f" (and {self.left_out:,} more like it in the last {self.seconds:.0f} s)"


class _Kind:
    __slots__ = ("count", "last", "last_at", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.count = 0
        self.last: Any = None  # of those that were not written
        self.last_at = 0.0


class LogLimit:
    """Decides for each line whether to write it. Call ``due`` about once a second."""

    def __init__(
        self,
        lines: int = LINES,
        *,
        kinds: int = MOST_KINDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = lines
        self._most_kinds = kinds
        self._clock = clock
        self._kinds: dict[Hashable, _Kind] = {}

    def add(self, kind: Hashable, content: Any) -> list[Line]:
        """Return what to write now that there is a line of this kind."""
        now = self._clock()
        found = self._kinds.get(kind)
        if found is None:
            if len(self._kinds) >= self._most_kinds:
                kind = None
            found = self._kinds.setdefault(kind, _Kind(now))
        before = []
        if now - found.since >= WINDOW:
            before = self._end(kind, now)
            found = self._kinds[kind] = _Kind(now)
        found.count += 1
        if found.count <= self._lines:
            return [*before, Line(content)]
        found.last, found.last_at = content, now
        return before

    def due(self, *, at_once: bool = False) -> list[Line]:
        """Return the last lines of the kinds whose time is over, or of all, in their order."""
        now = self._clock()
        over = [k for k, v in self._kinds.items() if at_once or now - v.since >= WINDOW]
        over.sort(key=lambda kind: self._kinds[kind].last_at)
        return [line for kind in over for line in self._end(kind, now)]

    def _end(self, kind: Hashable, now: float) -> list[Line]:
        ended = self._kinds.pop(kind)
        left_out = ended.count - self._lines
        if left_out <= 0:
            return []
        return [Line(ended.last, left_out - 1, now - ended.since)]
