"""The messages of one batch: published in order, each with its own outcome.

A batch publishes as single requests do, through the same publisher and with the same
limits. But it waits for room where a single request would get a 503. What it holds is
bounded, whatever its length.
"""

import asyncio
import re
from collections.abc import Callable, Iterator

import msgspec

from ..broker.login_gate import Sender
from ..broker.pending import Publish
from ..message import Credentials, Message, Outcome, RequestError, is_unknown
from ..message import problem as problem_of
from .gateway import Gateway
from .target import Target

WINDOW = 1000  # items without an outcome, or whose result the client has not read yet
WINDOW_BYTES = 4 * 1024 * 1024  # of their messages
# Nothing more can be published after these. Reading on would only be work for a stranger.
REFUSED_LOGINS = (Outcome.UNAUTHORIZED, Outcome.TOO_MANY_FAILURES)
BREATH = 0.02  # seconds between attempts while others take all the room

_BLANK = re.compile(rb"[ \t\r\v\f\n]*+")


class Result(msgspec.Struct, omit_defaults=True):
    """The result of one item: its index and id, a status, and members of a problem document."""

    index: int
    status: int
    id: str | int | None = None
    message_id: str | None = None
    type: str | None = None
    title: str | None = None
    detail: str | None = None
    outcome: str | None = None
    retryable: bool | None = None


class BatchItem:
    """One item, from its publish to its result. ``size`` counts while it has no outcome."""

    __slots__ = ("batch", "detail", "id", "index", "message_id", "outcome", "publish", "size")

    def __init__(
        self, batch: "Batch", index: int, item_id: str | int | None, message_id: str | None = None
    ) -> None:
        self.batch = batch
        self.index = index
        self.id = item_id
        self.message_id = message_id
        self.size = 0  # bytes
        self.outcome: Outcome | None = None
        self.detail = ""
        self.publish: Publish | None = None

    @property
    def handed_over(self) -> bool:
        """Return whether a byte of the message may have left."""
        return self.publish is not None and self.publish.handed_over

    def settled(self, outcome: Outcome, detail: str) -> None:
        """Take the outcome from the publisher."""
        self.outcome, self.detail = outcome, detail
        if self.publish is not None:  # otherwise publish() has not returned, and looks itself
            self.batch.settled(self, outcome)

    def result(self) -> Result:
        """Return the result for the client. The outcome must be known."""
        assert self.outcome is not None  # noqa: S101 - who calls this has looked
        if self.outcome is Outcome.CONFIRMED:
            return Result(self.index, 204, self.id, self.message_id)
        problem = problem_of(self.outcome, self.detail, handed_over=self.handed_over)
        return Result(
            self.index, problem.status, self.id, self.message_id,
            problem.type, problem.title, problem.detail, problem.outcome, problem.retryable,
        )  # fmt: skip


class Batch:
    """``told`` is called with each item that has an outcome, in no order.

    An item gives its room back with its outcome. With ``keep``, ``free`` gives it back, once
    the client has its result.
    """

    def __init__(
        self,
        gateway: Gateway,
        target: Target,
        credentials: Credentials,
        wait: float,
        told: Callable[[BatchItem], None],
        *,
        sender: Sender,
        keep: bool = False,
        request_id: bytes = b"",
    ) -> None:
        self.items = self.published = self.failed = self.unknown = 0
        self.first_failure: Outcome | None = None  # of those that are known
        self.cut_short: RequestError | None = None  # why no more of the body was taken
        self.gone = False  # nobody will read the answer
        self._gateway = gateway
        self._target = target
        self._credentials = credentials
        self._wait = wait  # seconds, for each item
        self._told = told
        self._sender = sender
        self._keep = keep
        self._request_id = request_id
        # Only a part of what one login may have in flight, because others publish with it too.
        in_flight = gateway.publisher.in_flight_per_login
        self._window = max(1, min(WINDOW, in_flight // 2))
        self._taken = self._bytes = 0
        self._open: set[BatchItem] = set()
        self._changed = asyncio.Event()
        self._patient = True

    def cut(self, error: RequestError | None) -> None:
        """Take no more of the body, because of ``error``; None: the client is gone."""
        if error is not None:
            # Not the error itself: its traceback leads to whatever is kept of the body.
            self.cut_short = self.cut_short or RequestError(error.outcome, error.detail)
            return
        self.gone = True
        for item in self._open:
            if item.publish is not None:
                self._gateway.publisher.cancel(item.publish)
        self._open.clear()
        self._changed.set()

    @property
    def may_be_published(self) -> bool:
        """Return whether the broker may have any of the items."""
        return bool(self._open) or self.published + self.unknown > 0

    async def publish(self, item_id: str | int | None, message: Message) -> None:
        """Hand the next item over, in order, as soon as there is room."""
        size, body = message.size, message.body
        item = await self._next(size, item_id, message.message_id)
        deadline = self._gateway.loop.time() + self._wait
        while not self.gone:
            item.publish = item.outcome = None
            message.body = body  # a publish that is refused drops it
            item.publish = self._gateway.publisher.publish(
                self._target.virtual_host,
                self._credentials,
                message,
                deadline,
                item.settled,
                self._sender,
            )
            if item.outcome is not Outcome.OVERLOADED or not self._may_wait(deadline):
                self._taken += 1
                if item.outcome is None:
                    item.size = size
                    self._bytes += size
                    self._open.add(item)
                else:
                    self._count(item, item.outcome)
                return
            # It was not handed over, and others may make room in time.
            await asyncio.sleep(BREATH)

    async def refuse(self, item_id: str | int | None, error: RequestError) -> None:
        """Let the next item fail alone, because it is not valid."""
        item = await self._next(0, item_id)
        if not self.gone:
            item.outcome, item.detail = error.outcome, error.detail
            self._taken += 1
            self._count(item, error.outcome)

    async def settle(self) -> None:
        """Wait until every item has its outcome."""
        while self._open:
            await self._change()

    def settled(self, item: BatchItem, outcome: Outcome) -> None:
        """Count an item whose outcome has become known."""
        self._open.discard(item)
        self._bytes -= item.size
        self._patient = True
        self._count(item, outcome)

    def free(self, count: int) -> None:
        """Give back the room of so many items, because the client has their results."""
        self._taken -= count
        self._changed.set()

    def summary(self) -> dict[str, int]:
        """Return how many items were published, failed, or are unknown."""
        return {"published": self.published, "failed": self.failed, "unknown": self.unknown}

    def count_error(self, outcome: Outcome, detail: str, *, handed_over: bool = False) -> None:
        """Count an outcome that is not a success, and keep it among the recent errors."""
        self._gateway.statistics.errors[outcome.value] += 1
        self._gateway.failed(
            outcome,
            detail,
            handed_over=handed_over,
            is_item=True,
            request_id=self._request_id,
            **self._target.about(self._credentials),
        )

    async def _next(
        self, size: int, item_id: str | int | None, message_id: str | None = None
    ) -> BatchItem:
        """Return the next item, once there is room for it, or the client is gone."""
        while not self.gone and not self._has_room(size):
            await self._change()
        self.items += 1
        return BatchItem(self, self.items - 1, item_id, message_id)

    def _has_room(self, size: int) -> bool:
        fits = not self._bytes or self._bytes + size <= WINDOW_BYTES
        return fits and self._taken < self._window

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _may_wait(self, deadline: float) -> bool:
        """Let an item wait for room until its deadline; those behind it do not wait again."""
        if self._patient and not self._gateway.draining:
            self._patient = self._gateway.loop.time() < deadline
        return self._patient and not self._gateway.draining

    def _count(self, item: BatchItem, outcome: Outcome) -> None:
        if outcome is Outcome.CONFIRMED:
            self.published += 1
        else:
            if is_unknown(outcome, handed_over=item.handed_over):
                self.unknown += 1
            else:
                self.failed += 1
            self.first_failure = self.first_failure or outcome
            self.count_error(outcome, item.detail, handed_over=item.handed_over)
            if outcome in REFUSED_LOGINS:
                self.cut(RequestError(outcome, item.detail))
        if not self._keep:
            self._taken -= 1
        self._changed.set()
        self._told(item)


class ReorderBuffer:
    """Gives items out in their order, as soon as those before them have an outcome."""

    def __init__(self) -> None:
        self._ready = asyncio.Event()
        self._known: dict[int, BatchItem] = {}
        self._next = 0
        self._finished = False

    def add(self, item: BatchItem) -> None:
        """Take an item that has its outcome."""
        self._known[item.index] = item
        if item.index == self._next:
            self._ready.set()

    def finish(self) -> None:
        """Expect no more items."""
        self._finished = True
        self._ready.set()

    async def take(self) -> list[BatchItem]:
        """Return the next items, as soon as there is one; at the end return none."""
        if not self._finished:
            await self._ready.wait()
            self._ready.clear()
        taken = []
        while (item := self._known.pop(self._next, None)) is not None:
            taken.append(item)
            self._next += 1
        return taken


class Lines:
    """Cuts a stream into lines, in bounded memory. A line that is too long becomes None.

    ``size`` is how many bytes of a line without an end are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()  # of a line whose end has not come
        self._is_blank = True

    @property
    def size(self) -> int:
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[bytes | bytearray | None]:
        """Yield the lines that end in ``data``, without the empty ones.

        A line that came in pieces is a bytearray, which the caller owns.
        """
        at = 0
        while at < len(data):
            if not self._rest:
                blank = _BLANK.match(data, at)
                at = data.rfind(b"\n", at, blank.end() if blank else at) + 1 or at
            end = data.find(b"\n", at)
            piece = data[at : end if end >= 0 else len(data)]
            at += len(piece) + 1
            if self._rest or end < 0:
                self._keep(piece)
                if end < 0:
                    return
                line, self._rest = self._rest, bytearray()
                is_blank, self._is_blank = self._is_blank, True
                if len(line) > self._limit:
                    yield None
                elif not is_blank:
                    yield line
            elif piece and not piece.isspace():
                yield None if len(piece) > self._limit else piece

    def _keep(self, piece: bytes) -> None:
        self._is_blank = self._is_blank and (not piece or piece.isspace())
        if len(self._rest) <= self._limit:  # else the line is too long, whatever follows
            self._rest += piece
