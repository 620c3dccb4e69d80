"""Long work in slices, between which the event loop runs."""

import asyncio
from collections.abc import Coroutine, Generator
from time import perf_counter
from typing import Any, TypeVar

SLICE = 0.003  # seconds; a step of the work may make it a little longer

T = TypeVar("T")


def at_once(steps: Generator[object, None, T]) -> T:
    """Do the work without pause, because it is little. Return what it returns."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


class Slices:
    """Runs work that would hold the event loop, such as decoding a large body.

    The work is a generator. It yields after each step, which takes less than some
    milliseconds. All work of a backend takes turns: one slice in each turn of the loop.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, steps: Generator[object, None, T]) -> T:
        """Run the work to its end, and return what it returns."""
        while True:
            async with self._turn:
                end = perf_counter() + SLICE
                try:
                    while perf_counter() < end:
                        next(steps)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                await asyncio.sleep(0)

    async def turn(self) -> None:
        """Wait until the caller's slice is the only one in this turn of the loop."""
        async with self._turn:
            await asyncio.sleep(0)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what nobody waits for in a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
