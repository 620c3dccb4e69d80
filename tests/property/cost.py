"""What an input costs: CPU time, the longest turn of the event loop, and memory.

A failure keeps the input in a file. ``fuzz.py replay FILE`` shows what it costs.
"""

import asyncio
import functools
import hashlib
import os
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

from edge import Edge
from wire import Transport

from statelessd.amqp import events
from statelessd.amqp.protocol import Login, Protocol
from statelessd.http1.states import RESPONDING, WAITING

KEPT = Path(os.environ.get("FUZZ_KEPT", tempfile.gettempdir()))
READ = 256_000  # bytes that an event loop reads at most at once
TRIES = 4  # what counts is the best of them, because the machine does other work too

# The bounds: so much for any input, and so much for each byte of it, for each answer, and
# for each message or item that was published or refused.
SECONDS, SECONDS_PER_BYTE, SECONDS_PER_ANSWER, SECONDS_PER_OUTCOME = 0.1, 1e-6, 1e-3, 1e-4
TURN = 0.2  # seconds of CPU; a quarter of it where nothing else runs
MEMORY, MEMORY_PER_BYTE = 16 * 1024 * 1024, 16


class Cost(NamedTuple):
    """CPU time in seconds: of all, and of the longest turn; and what was done for it."""

    seconds: float
    turn: float
    answers: int
    outcomes: int

    def is_within(self, size: int) -> bool:
        allowed = SECONDS + size * SECONDS_PER_BYTE
        allowed += self.answers * SECONDS_PER_ANSWER + self.outcomes * SECONDS_PER_OUTCOME
        return self.turn < TURN and self.seconds < allowed


class Turns(asyncio.SelectorEventLoop):
    """An event loop that knows the CPU time of its longest turn."""

    longest = 0.0

    def _run_once(self):
        begun = time.thread_time()
        super()._run_once()
        self.longest = max(self.longest, time.thread_time() - begun)


class Playground:
    """One HTTP edge for all inputs, because making one costs more than most inputs do."""

    def __init__(self):
        self.loop = Turns()
        self.edge = self.loop.run_until_complete(self._make())

    async def _make(self):
        return Edge()

    def converse(self, data):
        """Send the bytes over one connection.

        Return the longest turn, and the numbers of answers and of outcomes.
        """
        pieces = [data[at : at + READ] for at in range(0, len(data), READ)]
        self.loop.longest = 0.0
        answers = self.loop.run_until_complete(self._converse(pieces))
        publisher, errors = self.edge.publisher, self.edge.gateway.statistics.errors
        outcomes = len(publisher.published) + sum(errors.values())
        errors.clear()
        for each in (publisher.published, publisher.headers, publisher.credentials):
            each.clear()
        return self.loop.longest, answers, outcomes

    async def _converse(self, pieces):
        transport = Transport()
        protocol = self.edge.new_connection()
        protocol.connection_made(transport)
        async with asyncio.timeout(120):
            for piece in pieces:
                if transport.closed:
                    break
                protocol.data_received(piece)
                await _until(lambda: transport.closed or not transport.paused)
            await _until(lambda: protocol.state not in (RESPONDING, WAITING))
            protocol.connection_lost(None)
            await _until(lambda: not self.edge.tasks)
        return transport.written.count(b"HTTP/1.1 ")


async def _until(condition):
    await asyncio.sleep(0)
    while not condition():  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0.001)


@functools.cache
def playground():
    """Return the edge that all inputs share."""
    return Playground()


def to_edge(data):
    """Let the HTTP edge answer the bytes, as from a client."""
    return playground().converse(data)


def to_broker_side(data):
    """Let an AMQP connection receive the bytes, as from a broker."""
    protocol, longest = Protocol(Login("guest", "secret", "test", {})), 0.0
    for at in range(0, len(data), READ):
        begun = time.thread_time()
        found = protocol.receive_data(data[at : at + READ])
        longest = max(longest, time.thread_time() - begun)
        if any(isinstance(event, events.Failed) for event in found):
            break
    return longest, 0, 0


WAYS = {"edge": to_edge, "broker": to_broker_side}


def cost(way, data):
    """Return the least CPU time of some tries, the first of which that is within the bounds."""
    found = []
    while len(found) < TRIES:
        begun = time.thread_time()
        counts = WAYS[way](data)
        found.append(Cost(time.thread_time() - begun, *counts))
        if found[-1].is_within(len(data)):
            break
    return Cost(*(min(each) for each in zip(*found, strict=True)))


def memory(way, data):
    """Return the most bytes that are held at once besides the input itself."""
    tracemalloc.start()
    try:
        WAYS[way](data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check(way, data):
    """Fail if the input costs more than it may, and keep it."""
    spent = cost(way, data)
    if spent.is_within(len(data)):
        held = memory(way, data)
        if held < MEMORY + len(data) * MEMORY_PER_BYTE:
            return
    else:
        held = None
    name = hashlib.sha256(data).hexdigest()[:12]
    kept = KEPT / f"fuzz-{way}-{name}.bin"
    kept.write_bytes(data)
    raise AssertionError(f"{told(len(data), spent, held)}; it is in {kept}")


def told(size, spent, held):
    """Return a cost in words."""
    words = (
        f"{size} bytes take {spent.seconds:.3f} s of CPU, {spent.turn:.3f} s of it in one turn, "
        f"for {spent.answers} answers and {spent.outcomes} outcomes"
    )
    return words if held is None else f"{words}, and {held / 2**20:.1f} MiB"


def replay(path):
    """Return in words what an input costs that was kept."""
    data, way = path.read_bytes(), path.name.split("-")[1]
    return told(len(data), cost(way, data), memory(way, data))
