"""What bodies may cost that are made to be expensive: time of the event loop, and memory."""

import asyncio
import contextlib
import gc
import socket
import time
import tracemalloc

import pytest
from edge import AUTH, PATIENCE, edge_test, post
from hostile import BODIES, JSON, SIZE

from statelessd.config.settings import Publish

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
    return send(port, kind, kind.make(size))


def send(port, kind, body):
    """Send a body of that kind. Return the status and the document."""
    headers = AUTH + b"Connection: close\r\n" + kind.headers
    request = post(b"", path=kind.path, headers=headers).replace(
        b"Content-Length: 0", b"Content-Length: %d" % len(body)
    )
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        with contextlib.suppress(ConnectionError):  # an early answer may end it
            client.sendall(request)
            client.sendall(body)
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
    size, fixed = (MIB // 32, 4 * MIB) if name.startswith("lines of") else (MIB, MIB // 2)
    if name.startswith("a bomb"):
        fixed = 4 * SIZE  # it becomes as much as a body may have
    kind = BODIES[name]
    request = post(kind.make(size), path=kind.path, headers=AUTH + kind.headers)
    client = await edge.connect()
    client.send(request)
    tracemalloc.start()
    try:
        await client.answer(head_only=True)
        assert tracemalloc.get_traced_memory()[1] < 5 * size + fixed
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("connected", [True, False])
@edge_test(max_unverified_bytes=32 * MIB // 8)
async def test_ten_hostile_bodies_at_once_stay_within_the_limits(edge, connected):
    """Everything is an eighth of the defaults. No message is kept by anybody."""
    edge.publisher.known = connected
    edge.publisher.room = Publish().max_bytes // 8
    edge.publisher.forget = True
    names = [
        "form of percents", "form of escapes", "multipart of near boundaries", "raw",
        "array with a string of brackets", "array of numbers", "item with nested headers",
        "line with a huge json", "line with base64", "line without an end",
    ]  # fmt: skip
    tracemalloc.start()
    try:
        kinds = [BODIES[name] for name in names]
        bodies = [kind.make(SIZE // 8) for kind in kinds]
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        answers = await asyncio.gather(
            *(
                asyncio.to_thread(send, edge.port, kind, body)
                for kind, body in zip(kinds, bodies, strict=True)
            )
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for name, answer in zip(names, answers, strict=True):
        check(name, *answer)
    assert peak - before < 100_000_000 // 8
    assert (edge.publisher.reserved, edge.gateway.budget.held) == (0, 0)


@edge_test()
async def test_senders_who_are_not_verified_cannot_take_the_room_of_others(edge):
    edge.publisher.known = False
    kind = BODIES["line without an end"]
    request = post(kind.make(SIZE), path=kind.path, headers=AUTH + kind.headers)
    for _ in range(3):  # none of them ends
        (await edge.connect()).send(request[:-1])
    await edge.until(lambda: edge.gateway.budget.held > 29 * MIB)
    whole = post(b"body=" + b"x" * 4 * MIB)
    refused = await edge.ask(whole, step=MIB // 4)
    assert (refused.status, refused.problem) == (503, "overloaded")
    assert edge.gateway.budget.held <= 32 * MIB
    edge.publisher.known = True
    assert (await edge.ask(whole, step=MIB // 4)).status == 204
    batch = post(b'[{"routing_key":"k","body":"%b"}]' % (b"x" * MIB), b"/v/e", AUTH + JSON)
    assert (await edge.ask(batch)).status == 200


@pytest.mark.parametrize(
    "name", ["form of escapes", "line with a huge json", "array of large items"]
)
@edge_test()
async def test_a_client_that_hangs_up_gives_its_bytes_back(edge, name):
    edge.publisher.known = False
    kind = BODIES[name]
    request = post(kind.make(SIZE), path=kind.path, headers=AUTH + kind.headers)
    for part in (len(request) // 2, len(request)):
        client = await edge.connect()
        client.send(request[:part])
        await edge.until(lambda: edge.gateway.budget.held > MIB)
        client.writer.transport.abort()
        await edge.until(lambda: not edge.connections)
        await edge.until(lambda: edge.gateway.budget.held == 0)
    assert edge.publisher.reserved == 0
