"""A single-flight cache: those who ask for the same thing at the same time share one answer."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

MOST = 64  # answers; more than pages ask for

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Keeps answers for ``seconds`` of ``clock``, also those that are still being made."""

    def __init__(self, seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._clock = clock
        self._period = 0
        self._kept: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the answer for ``key``; make it if nobody has asked for it in this period."""
        period = int(self._clock()) // self._seconds
        if period != self._period or len(self._kept) >= MOST:
            self._kept.clear()
            self._period = period
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = asyncio.create_task(make())
        try:
            return await asyncio.shield(found)  # a client that leaves must not cancel it for others
        except Exception:
            if self._kept.get(key) is found:  # the next one who asks may get an answer
                del self._kept[key]
            raise

    def __len__(self) -> int:
        """Return the number of answers that are kept."""
        return len(self._kept)
