"""Whose turn it is: requests of one client connection are answered in their order.

uvicorn keeps pipelined requests in ``self.pipeline`` and starts the next from
``on_response_complete``; a PublishCycle is, to that machinery, one more cycle.
Nothing more is read while one waits there, or while the client does not read
its answers, so that what a connection holds is bounded by one read.
"""

import abc
from typing import Any

from .cycle import PublishCycle
from .lifetime import ClientConnection


class TurnTaking(ClientConnection):
    """Cycles of two kinds take turns: uvicorn's own, and publishes."""

    _advancing = False

    @abc.abstractmethod
    def _start_publish(self, cycle: PublishCycle) -> None:
        """Its turn has come; it ends in ``on_response_complete``, or with the connection."""

    def _enqueue(self, cycle: PublishCycle) -> None:
        """The cycle's turn is now, or after the requests before it."""
        previous = self.cycle
        self.cycle = cycle  # type: ignore[assignment]  # as good as one, to uvicorn
        if previous is None or previous.response_complete:
            self._active = cycle
            self._start_publish(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, None))  # type: ignore[arg-type]

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._active = cycle
        if isinstance(cycle, PublishCycle):
            self._start_publish(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """A request has been answered: start those that were pipelined behind it."""
        if self._advancing or self.transport.is_closing():
            return
        self.server_state.total_requests += 1
        self._progress += 1
        if self.pipeline:
            self._advance()
        elif self._deaf and not isinstance(self._active, PublishCycle):
            self._say_goodbye(True)  # the rest of its body may still arrive
        elif not self.flow.write_paused:
            self.flow.resume_reading()

    def _advance(self) -> None:
        # A loop, for each start may end in an answer, and a recursion has an end.
        self._advancing = True
        try:
            while self.pipeline and not self.flow.write_paused and not self.transport.is_closing():
                cycle, app = self.pipeline.pop()
                self._start_asgi_task(cycle, app)
                if not cycle.response_complete:
                    break
        finally:
            self._advancing = False
        # The last one may have arrived in part: the rest of it is wanted now.
        if not self.pipeline and not self.flow.write_paused:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more requests from it."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._progress += 1
        if not self.pipeline:
            self.flow.resume_reading()
        elif self._active.response_complete:
            self._advance()

    def _unanswered(self) -> set[Any]:
        """The cycles under way, of either kind."""
        cycles = {self._active, self.cycle, *(cycle for cycle, _ in self.pipeline)}
        return {c for c in cycles if c is not None and not c.response_complete}
