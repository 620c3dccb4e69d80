"""What bodies may cost that are made to be expensive: time of the event loop, and memory."""

import asyncio
import contextlib
import gc
import socket
import time
import tracemalloc

import pytest
from edge import AUTH, edge_test, post
from hostile import BODIES, SIZE

TURN = 0.05  # seconds of CPU in one turn of the loop; it takes a quarter of that
MIB = 1024 * 1024


class Turns:
    """Measures the CPU time of the longest turn of the event loop, in its thread only."""

    def __init__(self):
        self.longest = 0.0

    async def _watch(self):
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            before = now

    async def __aenter__(self):
        gc.collect()
        gc.freeze()  # the objects of the tests are not the gateway's to look at
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        gc.unfreeze()


def exchange(port, name, size=SIZE):
    """Send a hostile request from a thread of its own. Return the status and the document."""
    kind = BODIES[name]
    headers = AUTH + b"Connection: close\r\n" + kind.headers
    request = post(kind.make(size), path=kind.path, headers=headers)
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        with contextlib.suppress(ConnectionError):  # an early answer may end it
            client.sendall(request)
        with client.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            body = answer.read().partition(b"\r\n\r\n")[2]
    return status, body


def check(name, status, body):
    """Every hostile body is refused as far as it is wrong, and never a fault of ours."""
    assert status in (200, 204, 207, 400, 413, 503), (name, status, body[:200])
    assert len(body) < 2 * MIB
    if b"internal-error" in body:
        pytest.fail(f"{name}: {body[:200]!r}")


@pytest.mark.parametrize("name", BODIES)
@edge_test()
async def test_a_hostile_body_never_holds_the_loop(edge, name):
    async with Turns() as turns:
        # Each line is an item with a result of its own, so these take their time.
        size = MIB // 16 if name.startswith("lines of") else SIZE
        status, body = await asyncio.to_thread(exchange, edge.port, name, size)
    check(name, status, body)
    assert turns.longest < TURN
    assert (edge.publisher.reserved, edge.gateway.budget.held) == (0, 0)


@pytest.mark.parametrize("name", BODIES)
@edge_test()
async def test_a_hostile_body_takes_a_few_times_its_size(edge, name):
    size = MIB
    kind = BODIES[name]
    request = post(kind.make(size), path=kind.path, headers=AUTH + kind.headers)
    client = await edge.connect()
    client.send(request)
    tracemalloc.start()
    try:
        await client.answer(head_only=True)
        assert tracemalloc.get_traced_memory()[1] < 5 * size
    finally:
        tracemalloc.stop()
