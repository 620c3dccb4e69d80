"""Outcomes become answers, each in its turn; what cannot be read is refused in turn as well."""

from time import perf_counter_ns
from typing import Any

from ..message import TABLE, Outcome, Public, RequestError
from . import response
from .access import AccessLog
from .cycle import CHUNKED, UNTOLD, PublishCycle
from .known_heads import NOWHERE, Head
from .turns import TurnTaking

DISCARD_IN_STEP = 64 * 1024  # bytes of an unread body worth reading to keep a connection
CONFIRMED = Outcome.CONFIRMED
SHUTTING_DOWN = Outcome.SHUTTING_DOWN
MORE_CAME = Public("Bytes follow the request's head, which has no Content-Length.")


class Answering(TurnTaking):
    """What a connection says."""

    def _decide(self, cycle: PublishCycle, outcome: Outcome, detail: str) -> None:
        """The answer is known while the request still arrives."""
        cycle.decided = (outcome, detail)
        cycle.pieces.clear()
        self._release(cycle)
        if cycle.started:
            self._answer(cycle, outcome, detail)

    def _answer(self, cycle: PublishCycle, outcome: Outcome, detail: str) -> None:
        gateway = self.gateway
        if cycle.response_complete or self.transport.is_closing():
            return
        cycle.response_complete = True
        if gateway.date_seen is not self.server_state.default_headers:
            gateway.refresh(self.server_state.default_headers)
        unread = not cycle.complete and not self._in_step(cycle)
        keep_alive = (
            cycle.keep_alive
            and not unread
            and not (gateway.draining and not self.pipeline)
            and outcome is not SHUTTING_DOWN
        )
        statistics = gateway.statistics
        elapsed = perf_counter_ns() - cycle.started_at
        request_id = cycle.request_id or gateway.request_id(cycle.head.headers)
        if outcome is CONFIRMED and not cycle.extra:
            start = gateway.confirmed if keep_alive else gateway.confirmed_last
            data = start + request_id + b"\r\n\r\n"
            statistics.answered_confirmed(elapsed, len(data))
        elif cycle.options:
            data = response.options(
                cycle.extra, keep_alive=keep_alive, date=gateway.date, request_id=request_id
            )
            statistics.answered(cycle.method, 204, "", elapsed, len(data))
        else:
            data = response.render(
                outcome,
                detail,
                keep_alive=keep_alive,
                date=gateway.date,
                request_id=request_id,
                handed_over=cycle.publish is not None and cycle.publish.handed_over,
                head=cycle.without_document,
                retry_after=gateway.retry_after.get(outcome),
                extra=cycle.extra,
            )
            kind = "" if outcome is CONFIRMED else outcome.value
            status = TABLE[outcome].status
            statistics.answered(cycle.method, status, kind, elapsed, len(data))
            if kind:
                self._remember(cycle, outcome, detail, request_id)
        self.transport.write(data)
        if gateway.access is not None and gateway.access.due():
            self._log(gateway.access, cycle, outcome, request_id, elapsed / 1e9)
        if keep_alive:
            self.on_response_complete()
        else:
            cycle.keep_alive = False
            self._say_goodbye(not cycle.complete or cycle.length == UNTOLD)

    def _remember(
        self, cycle: PublishCycle, outcome: Outcome, detail: str, request_id: bytes
    ) -> None:
        target = cycle.head.target
        self.gateway.recent_errors.add(
            outcome,
            detail,
            handed_over=cycle.publish is not None and cycle.publish.handed_over,
            virtual_host=target.virtual_host,
            exchange=target.exchange,
            user=cycle.head.credentials.name,
            request_id=request_id,
        )

    def _log(
        self,
        access: AccessLog,
        cycle: PublishCycle,
        outcome: Outcome,
        request_id: bytes,
        seconds: float,
    ) -> None:
        target, credentials = cycle.head.target, cycle.head.credentials
        access.log(
            request_id,
            cycle.method,
            "" if target is not NOWHERE else self.url.decode("latin-1").partition("?")[0],
            204 if cycle.options else TABLE[outcome].status,
            "options" if cycle.options else outcome.value,
            seconds,
            virtual_host=target.virtual_host,
            exchange=target.exchange,
            user=credentials.name,
        )

    def _in_step(self, cycle: PublishCycle) -> bool:
        """Whether the unread body is worth reading, and is sure to come."""
        return 0 <= cycle.length <= DISCARD_IN_STEP and not (cycle.expects and cycle.length)

    # What cannot be read any further

    def _more_came(self, cycle: Any) -> None:
        """Refuse the last request if these bytes may be its body, and if it is not too late."""
        if not isinstance(cycle, PublishCycle) or cycle.length != UNTOLD:
            return
        publish = cycle.publish
        if cycle.response_complete or cycle.decided or (publish and publish.handed_over):
            return
        if publish is not None:
            self.gateway.publisher.cancel(publish)
        cycle.complete = True
        self._decide(cycle, Outcome.LENGTH_REQUIRED, MORE_CAME)

    def refuse(self, error: RequestError) -> None:
        """The stream cannot be read any further: answer in turn, and end it."""
        self._deaf = True
        cycle = self.cycle
        if cycle is None or self._in_head or not self._is_incomplete(cycle):
            self._in_head = False
            self._enqueue(self._refused(error))
        elif not isinstance(cycle, PublishCycle):
            self._refuse_page(cycle, error)
        elif cycle.response_complete:
            self._say_goodbye(True)
        else:
            cycle.keep_alive = False
            self._decide(cycle, error.outcome, error.detail)

    def _refuse_page(self, cycle: Any, error: RequestError) -> None:
        """The page may wait for a body that will not come: answer in its stead.

        Unless it has made something of what came: then it has the last word.
        """
        if self._cut(cycle, error):
            return
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.cycle = self._refused(error)  # type: ignore[assignment]
            self.pipeline[0] = (self.cycle, None)  # type: ignore[assignment]
            return
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self._say_goodbye(True)
        else:
            cycle.response_complete = True
            self._enqueue(self._refused(error))

    def end_stream(self, error: RequestError) -> None:
        """A body that is worked on as it arrives ends here, whatever is still to come."""
        cycle = self.cycle
        if cycle in self._unanswered() and not isinstance(cycle, PublishCycle):
            self._cut(cycle, error)

    def _cut(self, cycle: Any, error: RequestError | None) -> bool:
        """Tell a page that works on its body as it arrives that no more will come."""
        cut = cycle.scope["state"].get("cut")
        if cut is None:
            return False
        cut(error)
        if cycle.more_body:
            self._deaf = True
            cycle.more_body = False
            cycle.message_event.set()
        return True

    def _refused(self, error: RequestError) -> PublishCycle:
        """Stands for a request that cannot be read; nothing behind it is in step."""
        refused = PublishCycle(self._answer, Head({}, keep_alive=False))
        refused.length = CHUNKED
        refused.decided = (error.outcome, error.detail)
        return refused

    def _release(self, cycle: PublishCycle) -> None:
        if cycle.reserved:
            self.gateway.publisher.release(cycle.reserved)
            cycle.reserved = 0
