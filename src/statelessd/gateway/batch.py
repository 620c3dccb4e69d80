"""Many messages of one request on their way: handed over in order, each with its own outcome.

A batch publishes as single requests do, through the same publisher and with
the same limits; it only waits for room where a single request would be told to
come again. What it holds is bounded, whatever its length.
"""

import asyncio
from collections.abc import Callable, Iterator

import msgspec

from ..broker.pending import Publish
from ..message import TABLE, Credentials, Message, Outcome, RequestError
from ..message import problem as problem_of
from .gateway import Gateway
from .request import Target

WINDOW = 1000  # items without an outcome, or whose result the client has not read yet
WINDOW_BYTES = 4 * 1024 * 1024  # of their messages
TURN = 100  # items between looks at what else there is to do
BREATH = 0.02  # seconds between attempts where others take all the room


class Result(msgspec.Struct, omit_defaults=True):
    """What became of one item: its place, its id, a status, and a problem document's members."""

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
    """One item, from being handed over to being told of."""

    __items__ = ("batch", "detail", "id", "index", "message_id", "outcome", "publish", "size")

    def __init__(self, batch: "Batch", index: int, item_id: str | int | None) -> None:
        self.batch = batch
        self.index = index
        self.id = item_id
        self.message_id: str | None = None
        self.size = 0  # bytes
        self.outcome: Outcome | None = None
        self.detail = ""
        self.publish: Publish | None = None

    def settled(self, outcome: Outcome, detail: str) -> None:
        """The publisher's word."""
        self.outcome = outcome
        self.detail = detail
        if self.publish is not None:  # else this is said within publish(), to its caller
            self.batch.settled(self)

    def result(self) -> Result:
        """For the client; the outcome is known."""
        assert self.outcome is not None  # noqa: S101 - who calls this has looked
        if self.outcome is Outcome.CONFIRMED:
            return Result(self.index, 204, self.id, self.message_id)
        handed_over = self.publish is not None and self.publish.handed_over
        problem = problem_of(self.outcome, self.detail, handed_over=handed_over)
        return Result(
            self.index, problem.status, self.id, self.message_id,
            problem.type, problem.title, problem.detail, problem.outcome, problem.retryable,
        )  # fmt: skip


class Batch:
    """``told``: called with each item that has an outcome, in no order.

    Unless ``keep``, a item gives its room back with its outcome; else with
    ``free``, once the client has its result.
    """

    def __init__(
        self,
        gateway: Gateway,
        target: Target,
        credentials: Credentials,
        wait: float,
        told: Callable[[BatchItem], None],
        *,
        keep: bool = False,
        request_id: bytes = b"",
    ) -> None:
        self.items = self.published = self.failed = self.unknown = 0
        self.cut_short: RequestError | None = None  # why no more of the body was taken
        self._gateway = gateway
        self._target = target
        self._credentials = credentials
        self._wait = wait  # seconds, for each item
        self._told = told
        self._keep = keep
        self._request_id = request_id
        # A part of what one login may have in flight: others publish with it too.
        in_flight = gateway.publisher.in_flight_per_login
        self._window = max(1, min(WINDOW, in_flight // 2))
        self._taken = self._bytes = 0
        self._open: set[BatchItem] = set()
        self._changed = asyncio.Event()
        self._patient = True
        self._gone = False

    def cut(self, error: RequestError | None) -> None:
        """No more of the body will be taken: says why; None: the client is gone."""
        if error is not None:
            self.cut_short = self.cut_short or error
            return
        self._gone = True
        for item in self._open:
            if item.publish is not None:
                self._gateway.publisher.cancel(item.publish)
        self._open.clear()
        self._changed.set()

    async def publish(self, item_id: str | int | None, message: Message) -> BatchItem | None:
        """Hand the next item over, in order, as soon as there is room. None: the client is gone."""
        size, body = message.size, message.body
        while not self._has_room(size):
            await self._change()
        item = BatchItem(self, self._next(), item_id)
        item.message_id = message.message_id
        deadline = self._gateway.loop.time() + self._wait
        while not self._gone:
            item.publish = None
            item.outcome = None
            message.body = body  # which is let go of when a publish is refused
            publish = self._gateway.publisher.publish(
                self._target.virtual_host, self._credentials, message, deadline, item.settled
            )
            item.publish = publish
            if item.outcome is not Outcome.OVERLOADED or not self._may_wait(deadline):
                self._take(item, size)
                return item
            # Not a byte of it was handed over, and others may make room in time.
            await asyncio.sleep(BREATH)
        return None

    async def refuse(self, item_id: str | int | None, error: RequestError) -> BatchItem | None:
        """The next item is no valid one, and fails alone."""
        while not self._has_room(0):
            await self._change()
        if self._gone:
            return None
        item = BatchItem(self, self._next(), item_id)
        item.outcome, item.detail = error.outcome, error.detail
        self._take(item, 0)
        return item

    async def settle(self) -> None:
        """Wait until every item has its outcome."""
        while self._open:
            await self._change()

    def settled(self, item: BatchItem) -> None:
        """The item's outcome has become known."""
        self._open.discard(item)
        self._bytes -= item.size
        self._patient = True
        self._count(item)

    def free(self, count: int) -> None:
        """The client has the results of so many."""
        self._taken -= count
        self._changed.set()

    @property
    def gone(self) -> bool:
        """Nobody will read the answer."""
        return self._gone

    def summary(self) -> dict[str, int]:
        """How it went."""
        return {"published": self.published, "failed": self.failed, "unknown": self.unknown}

    def tell_of(self, outcome: Outcome, detail: str, *, handed_over: bool = False) -> None:
        """Of what went wrong, those who look at the figures."""
        self._gateway.statistics.errors[outcome.value] += 1
        self._gateway.recent_errors.add(
            outcome,
            detail,
            handed_over=handed_over,
            virtual_host=self._target.virtual_host,
            exchange=self._target.exchange,
            user=self._credentials.name,
            request_id=self._request_id,
        )

    def _next(self) -> int:
        self.items += 1
        return self.items - 1

    def _has_room(self, size: int) -> bool:
        if self._gone:
            return True  # to be told so at once
        fits = not self._bytes or self._bytes + size <= WINDOW_BYTES
        return fits and self._taken < self._window

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _may_wait(self, deadline: float) -> bool:
        """An item waits for room until its deadline; those behind it then do not wait again."""
        if self._patient and not self._gateway.draining:
            self._patient = self._gateway.loop.time() < deadline
        return self._patient and not self._gateway.draining

    def _take(self, item: BatchItem, size: int) -> None:
        self._taken += 1
        if item.outcome is None:
            item.size = size
            self._bytes += size
            self._open.add(item)
        else:
            self._count(item)

    def _count(self, item: BatchItem) -> None:
        assert item.outcome is not None  # noqa: S101 - it has just become known
        row = TABLE[item.outcome]
        if item.outcome is Outcome.CONFIRMED:
            self.published += 1
        else:
            handed_over = item.publish is not None and item.publish.handed_over
            if row.unknown or (handed_over and item.outcome is Outcome.INTERNAL_ERROR):
                self.unknown += 1
            else:
                self.failed += 1
            self.tell_of(item.outcome, item.detail, handed_over=handed_over)
        if not self._keep:
            self._taken -= 1
        self._changed.set()
        self._told(item)


class ReorderBuffer:
    """Results in the order of their items, as soon as those before them are known."""

    def __init__(self) -> None:
        self._ready = asyncio.Event()
        self._known: dict[int, BatchItem] = {}
        self._next = 0
        self._finished = False

    def add(self, item: BatchItem) -> None:
        """The item has its outcome."""
        self._known[item.index] = item
        if item.index == self._next:
            self._ready.set()

    def finish(self) -> None:
        """No more will be added."""
        self._finished = True
        self._ready.set()

    async def take(self) -> list[BatchItem]:
        """Those whose turn has come, as soon as there is one; none at the end."""
        if not self._finished:
            await self._ready.wait()
            self._ready.clear()
        return self.now()

    def now(self) -> list[BatchItem]:
        """Those whose turn has come."""
        taken = []
        while (item := self._known.pop(self._next, None)) is not None:
            taken.append(item)
            self._next += 1
        return taken


class Lines:
    """A stream cut at its line ends, in bounded memory; a line that is too long comes as None."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """The lines that end in ``data``, without the empty ones."""
        first, *others = data.split(b"\n")
        yield from self._grow(first, ended=bool(others))
        if others:
            *whole, last = others
            for line in whole:
                if len(line) > self._limit:
                    yield None
                elif not _is_blank(line):
                    yield line
            yield from self._grow(last, ended=False)

    def end(self) -> Iterator[bytes | None]:
        """The last line, where no line end follows it."""
        yield from self._grow(b"", ended=True)

    def _grow(self, piece: bytes, *, ended: bool) -> Iterator[bytes | None]:
        if not self._too_long:
            self._rest += piece
            if len(self._rest) > self._limit:
                self._too_long = True
                self._rest.clear()
        if not ended:
            return
        line, too_long = bytes(self._rest), self._too_long
        self._rest.clear()
        self._too_long = False
        if too_long:
            yield None
        elif not _is_blank(line):
            yield line


def _is_blank(line: bytes) -> bool:
    return not line or line.isspace()
