"""The scoreboard: memory in which the backends of one parent share their figures.

The parent makes it before it forks, with a slot for each listener. A backend
writes its snapshot there once a second. A backend that dies leaves its last
snapshot: the next writer adds its counters to the slot's past, so that totals
never go back. The lock is the file's, so it ends with a process that is killed.
A snapshot is written beside the last one before it replaces it, so nobody reads
half of one. Behind the slots lies the history of each listener, see ``history``.
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
SLOT = 8 + 2 * HALF  # which half is valid, and both halves
HISTORY = SLOTS * SLOT  # offset
WATCHED = HISTORY + SLOTS * LANE  # offset of the time at which somebody last read all figures
SIZE = WATCHED + 8
WATCHING = 10.0  # seconds for which somebody who has read them may be about to read them again

Listener = int | str
"""A TCP port, or ``unix:`` and the path of a socket."""

Key = tuple[str, ...]
"""A figure's name, and the value of each of its labels."""

Counters = dict[Key, list[int]]
"""What only grows: one number, or those of a histogram.

They are integers, because their sum is the same in any order: a sum that is
less by a rounding error looks to Prometheus like a restart.
"""


class Snapshot(msgspec.Struct, frozen=True):
    """What one backend had counted at a moment; ``documents`` in MessagePack, by their readers."""

    pid: int
    time: float  # Unix time
    counters: Counters
    gauges: dict[Key, float]
    documents: dict[str, msgspec.Raw]


class Page(msgspec.Struct):
    """The content of a slot: the living backends, oldest first, and the sum of the dead ones."""

    listener: Listener
    living: list[Snapshot]
    past: Counters

    def total(self, *, without: int = 0) -> Counters:
        """Return what all backends of the listener have counted; ``without`` that process."""
        total = dict(self.past)
        for each in self.living:
            if each.pid != without:
                add(total, each.counters)
        return total


class Scoreboard:
    """The shared memory behind ``descriptor``, which an exec has to keep open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        if os.fstat(descriptor).st_size < SIZE:  # made by the version before an upgrade
            os.ftruncate(descriptor, SIZE)
        self._memory = mmap.mmap(descriptor, SIZE)
        self._slots: dict[Listener, int] = {}  # a page stays in its slot
        self._lock, self._locker = -1, 0  # see _locked
        self._history = History(self._memory, HISTORY)

    @classmethod
    def make(cls) -> Self:
        """Return a new, empty one. Untouched pages of it cost nothing."""
        return cls(os.memfd_create("statelessd"))

    def write(self, listener: Listener, snapshot: Snapshot) -> bool:
        """Replace the process's last snapshot; return False if this one is too large."""
        with self._locked(fcntl.LOCK_EX):
            slot, page = self._find(listener)
            if slot < 0:
                return True  # there are more listeners than slots
            _fold(page)
            living = {each.pid: each for each in page.living}
            living[snapshot.pid] = snapshot  # in its old place: the last one is the youngest
            page.living = list(living.values())
            if not self._store(slot, page):
                return False
            self._slots[listener] = slot
            return True

    def pages(self) -> list[Page]:
        """Return a page for each listener that ever had a backend."""
        with self._locked(fcntl.LOCK_SH):
            pages = [page for page in map(self._load, range(SLOTS)) if page is not None]
        for page in pages:
            _fold(page)
        return pages

    def record(self, listener: Listener, second: int, sample: Sample) -> None:
        """Keep the sample of a second. A listener has a history once it has a page."""
        with self._locked(fcntl.LOCK_EX):
            if (slot := self._slot_of(listener)) is not None:
                self._history.write(slot, second, sample)

    def history(self, listener: Listener, first: int, last: int) -> dict[int, list[Sample]]:
        """Return the known seconds, with a sample of each process that served the listener."""
        with self._locked(fcntl.LOCK_SH):
            slot = self._slot_of(listener)
            return {} if slot is None else self._history.read(slot, first, last)

    def watch(self) -> None:
        """Note that somebody reads the figures of all backends."""
        struct.pack_into("d", self._memory, WATCHED, time.time())

    @property
    def is_watched(self) -> bool:
        """Return whether somebody reads them, or did a moment ago."""
        (watched_at,) = struct.unpack_from("d", self._memory, WATCHED)
        return bool(abs(time.time() - watched_at) < WATCHING)  # a clock can be set back

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        if self._locker != os.getpid():  # a lock from before a fork is the parent's
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
        except msgspec.MsgspecError:  # written by another version, before an upgrade
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
    """Add ``more`` to ``total``, key by key."""
    for key, values in more.items():
        before = total.get(key, [0] * len(values))
        total[key] = [a + b for a, b in zip(before, values, strict=True)]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process lives
    return True
