"""Rendered documents, kept for a moment: fifty open pages cost no more than one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

import msgspec

from .details import details
from .gateway import Gateway
from .overview import overview

OVERVIEWS = 1  # seconds, and for the next, for which a document is kept
DETAILS = 2
MOST = 64  # documents; more than pages ask for


class Kept:
    """What was made in the current ``seconds`` of ``clock``."""

    def __init__(self, seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._clock = clock
        self._made_in = 0
        self._kept: dict[Hashable, asyncio.Task[bytes]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[object]]) -> bytes:
        """As JSON; made if nobody has asked for it yet."""
        period = int(self._clock()) // self._seconds
        if period != self._made_in or len(self._kept) >= MOST:
            self._kept.clear()
            self._made_in = period
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = asyncio.create_task(_encoded(make))
        return await asyncio.shield(found)  # others wait for it, too


async def _encoded(make: Callable[[], Awaitable[object]]) -> bytes:
    return msgspec.json.encode(await make())


class Views:
    """Of one backend."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._overviews = Kept(OVERVIEWS)
        self._details = Kept(DETAILS)

    async def overview(self, backend: str | None, since: int | None) -> bytes:
        """``/dashboard.json``."""
        return await self._overviews.get(
            (backend, since), lambda: overview(self._gateway, backend, since)
        )

    async def details(self) -> bytes:
        """``/details.json``."""
        return await self._details.get(None, lambda: details(self._gateway))
