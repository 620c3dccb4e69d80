"""Turns of the event loop for work that would not fit in one if all were done at once."""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Lets one of the connections that wait here work in each turn of the event loop.

    So however many clients send long pipelines or ask for pages, the others wait for a part
    of one pipeline or for one page only.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` when those who wait already have had their turn."""
        self._waiting.append(go_on)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._next)

    def come(self) -> asyncio.Future[None]:
        """Return a future that is done when it is the caller's turn."""
        turn = self._loop.create_future()

        def begin() -> None:
            if not turn.cancelled():
                turn.set_result(None)

        self.wait(begin)
        return turn

    def _next(self) -> None:
        if len(self._waiting) > 1:
            self._loop.call_soon(self._next)
        self._waiting.popleft()()
