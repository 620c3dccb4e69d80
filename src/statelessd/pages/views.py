"""Rendered documents, kept for a moment: fifty open pages cost no more than one."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

import msgspec

from ..gateway.gateway import Gateway
from .details import details
from .overview import Overview, overview

OVERVIEWS = 1  # seconds, and for the next, for which a document is kept
DETAILS = 2
NEAR = 30  # seconds of history that are read for whoever asks; the rest is read once for all
MOST = 64  # documents; more than pages ask for


encode = msgspec.json.encode

T = TypeVar("T")


class Kept(Generic[T]):
    """What was made in the current ``seconds`` of ``clock``."""

    def __init__(self, seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._clock = clock
        self._made_in = 0
        self._kept: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Made if nobody has asked for it yet."""
        period = int(self._clock()) // self._seconds
        if period != self._made_in or len(self._kept) >= MOST:
            self._kept.clear()
            self._made_in = period
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = asyncio.create_task(make())
        return await asyncio.shield(found)  # others wait for it, too


class Views:
    """Of one backend."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._overviews = Kept[bytes](OVERVIEWS)
        self._whole = Kept[Overview](OVERVIEWS)
        self._details = Kept[bytes](DETAILS)

    async def overview(self, backend: str | None, since: int | None) -> bytes:
        """``/dashboard.json``."""

        async def make() -> bytes:
            if since is None or since < time.time() - NEAR:
                whole = await self._whole.get(backend, lambda: overview(self._gateway, backend))
                series = whole.series if since is None else whole.series.after(since)
                return encode(msgspec.structs.replace(whole, series=series))
            return encode(await overview(self._gateway, backend, since))

        return await self._overviews.get((backend, since), make)

    async def details(self) -> bytes:
        """``/details.json``."""

        async def make() -> bytes:
            return encode(await details(self._gateway))

        return await self._details.get(None, make)
