"""The log of answers that are not a client's fault: one line for each 5xx, within bounds.

A broker that is away makes thousands of them a second. So a line costs little until it is
written, and of too many of one kind only some are.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..message import TABLE, Outcome, is_unknown
from ..telemetry.log_limit import Line, LogLimit
from .access import shown

logger = logging.getLogger(__name__)

BATCHES = 20  # whose lines are told apart at a time
LONGEST_NAME = 255  # characters, as the next
LONGEST_DETAIL = 500


class _Failure(NamedTuple):
    outcome: Outcome
    detail: str
    handed_over: bool
    request_id: bytes
    virtual_host: str
    exchange: str
    user: str
    endpoint: str


class FailureLog:
    """The failures of one backend. Call ``write_left_out`` about once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = LogLimit(clock=clock)
        self._batches = LogLimit(1, kinds=BATCHES, clock=clock)

    def add(
        self,
        outcome: Outcome,
        detail: str,
        *,
        handed_over: bool,
        virtual_host: str = "",
        exchange: str = "",
        user: str = "",
        endpoint: str = "",
        request_id: bytes = b"",
        is_item: bool = False,
    ) -> None:
        """Log a request, or an item of a batch, whose status is 5xx."""
        if TABLE[outcome].status < 500:
            return
        failure = _Failure(
            outcome, detail, handed_over, request_id, virtual_host, exchange, user, endpoint
        )
        if is_item:
            _write(self._batches.add((outcome, request_id), failure))
        else:
            _write(self._requests.add(outcome, failure))

    def write_left_out(self, *, at_once: bool = False) -> None:
        """Log how many lines were left out; ``at_once``: although more may follow."""
        for limit in (self._requests, self._batches):
            _write(limit.due(at_once=at_once))


def _write(lines: Sequence[Line]) -> None:
    for line in lines:
        failure: _Failure = line.content
        outcome = failure.outcome
        status = TABLE[outcome].status
        unknown = is_unknown(outcome, handed_over=failure.handed_over)
        named = {
            "request_id": failure.request_id.decode(),
            "virtual_host": failure.virtual_host[:LONGEST_NAME],
            "exchange": failure.exchange[:LONGEST_NAME],
            "user": failure.user[:LONGEST_NAME],
            "endpoint": failure.endpoint,
            "outcome": "unknown" if unknown else "not-published",
            "detail": failure.detail[:LONGEST_DETAIL],
        }
        text = " ".join(f"{name}={shown(value)}" for name, value in named.items() if value)
        fields = {"status": status, "type": outcome.value, **named, "left_out": line.left_out}
        logger.warning("%d %s %s%s", status, outcome.value, text, line.suffix, extra=fields)
