"""Where the backends of one parent leave what they have counted, for each other to read.

A piece of memory that the parent makes before it forks, with a slot for each
listener. A backend writes its snapshot there once a second. Of one that has
died the last snapshot is what is left: whoever comes next folds its counters
into the slot's past, so that totals never go back. There is a lock, which is
the file's and so ends with a process that is killed; and a snapshot is written
beside the last one before it takes its place, so that half of one is never read.
Behind the slots lies each listener's history, see ``history``.
"""

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import msgspec

from .history import LANE, History, Sample

SLOTS = 256
HALF = 1024 * 1024  # bytes of a snapshot, at most; untouched pages of it cost nothing
SLOT = 8 + 2 * HALF  # which half holds, and both
HISTORY = SLOTS * SLOT  # where it begins
WATCHED = HISTORY + SLOTS * LANE  # where it says when somebody last looked at all backends
SIZE = WATCHED + 8
WATCHING = 10.0  # seconds for which somebody who has looked may be about to look again

Listener = int | str
"""A TCP port, or ``unix:`` and the path of a socket."""

Counters = dict[str, list[int]]
"""Whatever only grows, by name: one number, or those of a histogram.

Integers, for their sum is the same in any order: one that is less by a rounding
error looks to Prometheus as if all had been counted once more.
"""


class Snapshot(msgspec.Struct, frozen=True):
    """What one backend had counted. ``document``: everything, in MessagePack, by who reads it."""

    pid: int
    counters: Counters
    document: dict[str, msgspec.Raw]


class Page(msgspec.Struct):
    """What a slot holds: those who live, and the sum of what the others had counted.

    ``living``: in the order in which they came.
    """

    listener: Listener
    living: list[Snapshot]
    past: Counters

    def past_with(self, others: list[Snapshot]) -> Counters:
        """What was counted before, and by others who live still."""
        total = dict(self.past)
        for each in others:
            add(total, each.counters)
        return total


class Board:
    """``descriptor``: of the memory, for an exec to keep."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        if os.fstat(descriptor).st_size < SIZE:  # that of the version before an upgrade
            os.ftruncate(descriptor, SIZE)
        self._memory = mmap.mmap(descriptor, SIZE)
        self._slots: dict[Listener, int] = {}  # where a page was found; it stays there
        self._lock, self._locker = -1, 0  # see _locked
        self._history = History(self._memory, HISTORY)

    @classmethod
    def make(cls) -> Self:
        """A new one, empty. Untouched pages of it cost nothing."""
        return cls(os.memfd_create("statelessd"))

    def write(self, listener: Listener, snapshot: Snapshot) -> bool:
        """Replace this process's last one. False: it is too large, and the last one stays."""
        with self._locked(fcntl.LOCK_EX):
            slot, page = self._find(listener)
            if slot < 0:
                return True  # more listeners than anybody has
            _fold(page)
            living = {each.pid: each for each in page.living}
            living[snapshot.pid] = snapshot  # in its old place: the last is who came last
            page.living = list(living.values())
            if not self._store(slot, page):
                return False
            self._slots[listener] = slot
            return True

    def pages(self) -> list[Page]:
        """Of each listener that ever had a backend; only the living are among the living."""
        with self._locked(fcntl.LOCK_SH):
            pages = [page for page in map(self._load, range(SLOTS)) if page is not None]
        for page in pages:
            _fold(page)
        return pages

    def record(self, listener: Listener, second: int, sample: Sample) -> None:
        """Of a second that is over. A listener has a history once it has a page."""
        with self._locked(fcntl.LOCK_EX):
            if (slot := self._slot_of(listener)) is not None:
                self._history.write(slot, second, sample)

    def history(self, listener: Listener, first: int, last: int) -> dict[int, list[Sample]]:
        """By seconds, those that are known; of each process that served the listener then."""
        with self._locked(fcntl.LOCK_SH):
            slot = self._slot_of(listener)
            return {} if slot is None else self._history.read(slot, first, last)

    def newest(self, listener: Listener, second: int) -> Sample | None:
        """The last one of whoever serves the listener; None: nobody does.

        While one replaces another there are two: then of who came last.
        """
        with self._locked(fcntl.LOCK_SH):
            slot = self._slot_of(listener)
            found = [] if slot is None else self._history.newest(slot, second)
        living = [sample for sample in found if _lives(sample.pid)]
        return max(living, key=lambda sample: sample.started, default=None)  # of equals the first

    def watch(self) -> None:
        """Somebody looks at the figures of all backends."""
        struct.pack_into("d", self._memory, WATCHED, time.time())

    @property
    def is_watched(self) -> bool:
        """Somebody does, or did a moment ago."""
        (watched_at,) = struct.unpack_from("d", self._memory, WATCHED)
        return bool(abs(time.time() - watched_at) < WATCHING)  # clocks can be set back

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        if self._locker != os.getpid():  # what a fork shares is one lock with its parent
            self._lock = os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDWR | os.O_CLOEXEC)
            self._locker = os.getpid()
        fcntl.flock(self._lock, how)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _slot_of(self, listener: Listener) -> int | None:
        if listener not in self._slots:
            self._find(listener)
        return self._slots.get(listener)

    def _find(self, listener: Listener) -> tuple[int, Page]:
        known = self._slots.get(listener)
        for slot in range(SLOTS) if known is None else (known,):
            page = self._load(slot)
            if page is not None and page.listener == listener:
                self._slots[listener] = slot
                return slot, page
            if page is None:
                return slot, Page(listener, [], {})
        return -1, Page(listener, [], {})

    def _load(self, slot: int) -> Page | None:
        base = slot * SLOT
        half = self._memory[base]
        if not half:
            return None
        start = base + 8 + (half - 1) * HALF
        size = int.from_bytes(self._memory[start : start + 4], "big")
        data = self._memory[start + 4 : start + 4 + size]
        try:
            return msgspec.msgpack.decode(data, type=Page)
        except msgspec.MsgspecError:  # of the version before an upgrade, in another form
            return None

    def _store(self, slot: int, page: Page) -> bool:
        base = slot * SLOT
        half = 1 if self._memory[base] != 1 else 2
        data = msgspec.msgpack.encode(page)
        if len(data) > HALF - 4:
            return False
        start = base + 8 + (half - 1) * HALF
        self._memory[start : start + 4 + len(data)] = len(data).to_bytes(4, "big") + data
        self._memory[base] = half
        return True


def _fold(page: Page) -> None:
    living = []
    for snapshot in page.living:
        if _lives(snapshot.pid):
            living.append(snapshot)
        else:
            add(page.past, snapshot.counters)
    page.living = living


def add(total: Counters, more: Counters) -> None:
    """Name by name."""
    for name, values in more.items():
        before = total.get(name, [0] * len(values))
        total[name] = [a + b for a, b in zip(before, values, strict=True)]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True
