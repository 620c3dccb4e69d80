"""What an input costs: CPU time, the longest turn of the event loop, and memory.

A failure keeps the input in a file. ``fuzz.py replay FILE`` shows what it costs.
"""

import asyncio
import functools
import gc
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

KEPT = Path(os.environ.get("FUZZ_KEPT", tempfile.gettempdir()))
READ = 256_000  # bytes that an event loop reads at most at once
TRIES = 4  # what counts is the best of them, because the machine does other work too

# The bounds: so much for any input, and so much for each byte of it.
SECONDS, SECONDS_PER_BYTE = 0.1, 1e-6
TURN = 0.1  # seconds of CPU; 0.05 on a machine that is idle
MEMORY, MEMORY_PER_BYTE = 4 * 1024 * 1024, 16


class Cost(NamedTuple):
    """CPU time in seconds: of all, and of the longest turn."""

    seconds: float
    turn: float

    def is_within(self, size: int) -> bool:
        return self.turn < TURN and self.seconds < SECONDS + size * SECONDS_PER_BYTE


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
        """Send the bytes over one connection. Return the CPU time of the longest turn."""
        pieces = [data[at : at + READ] for at in range(0, len(data), READ)]
        self.loop.longest = 0.0
        self.loop.run_until_complete(self._converse(pieces))
        publisher = self.edge.publisher
        for each in (publisher.published, publisher.headers, publisher.credentials):
            each.clear()
        return self.loop.longest

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
            protocol.connection_lost(None)
            await _until(lambda: not self.edge.tasks)


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
    return longest


WAYS = {"edge": to_edge, "broker": to_broker_side}


def cost(way, data):
    """Return the least CPU time of some tries, the first of which that is within the bounds."""
    found = []
    while len(found) < TRIES:
        gc.collect()
        begun = time.thread_time()
        longest = WAYS[way](data)
        found.append(Cost(time.thread_time() - begun, longest))
        if found[-1].is_within(len(data)):
            break
    return Cost(min(each.seconds for each in found), min(each.turn for each in found))


def memory(way, data):
    """Return the most bytes that are held at once besides the input itself."""
    gc.collect()
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
    words = f"{size} bytes take {spent.seconds:.3f} s of CPU, {spent.turn:.3f} s of it in one turn"
    return words if held is None else f"{words}, and {held / 2**20:.1f} MiB"


def replay(path):
    """Return in words what an input costs that was kept."""
    data, way = path.read_bytes(), path.name.split("-")[1]
    return told(len(data), cost(way, data), memory(way, data))
