"""Ten thousand clients that wait for a broker which is away."""

import asyncio
import collections
import concurrent.futures
import contextlib
import json
import re
import resource
import time
from pathlib import Path

from gateway import free_ports
from waiting import wait_until

CROWD = 10_000
WAIT = 6  # seconds
MIB = 1024 * 1024
MEMORY = 200 * MIB  # bytes above idle
REQUEST = (
    b"POST /test/test/k HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n"
    b"Prefer: wait=%d\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
)


class Waiter(asyncio.Protocol):
    """One client: a request, and how long its answer took."""

    def __init__(self, seconds):
        self.answered = asyncio.get_running_loop().create_future()
        self._seconds = seconds
        self._asked_at = 0.0
        self._got = b""

    def connection_made(self, transport):
        self._transport = transport
        self._asked_at = time.monotonic()
        transport.write(REQUEST % self._seconds)

    def data_received(self, data):
        self._got += data
        head, blank, body = self._got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if blank and len(body) == (int(length[1]) if length else 0):
            status = int(head.split()[1])
            kind = json.loads(body)["type"] if body else ""
            self.answered.set_result((status, kind, time.monotonic() - self._asked_at))
            self._transport.close()

    def connection_lost(self, exc):
        if not self.answered.done():
            self.answered.set_result(("lost", repr(exc), 0.0))


async def ask(port, clients, seconds):
    """That many clients at once; the answers, when the last one has come."""
    loop = asyncio.get_running_loop()
    at_once = asyncio.Semaphore(500)  # connecting, not waiting

    async def one():
        async with at_once:
            _, waiter = await loop.create_connection(lambda: Waiter(seconds), "127.0.0.1", port)
        return await waiter.answered

    return await asyncio.gather(*(one() for _ in range(clients)))


def memory(pid, line):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{line}:\s+(\d+) kB", status)[1]) * 1024


def backend_of(gateway):
    """The process id of its only backend."""
    parent = gateway.process.pid
    [backend] = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return backend


@contextlib.contextmanager
def open_files(count):
    """A limit of open files for this process and what it starts meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, count)))


def test_a_crowd_that_waits_for_a_broker(own, start_gateway):
    settings = {"Application": {"rabbitmq": {"in_flight_per_connection": CROWD}}}
    with open_files(1024):  # as in a shell: it must help itself
        gateway = start_gateway(settings, against=own)
    assert gateway.publish("/test/test/k", data={"body": "before"}).status_code == 204
    own.node.stop()
    wait_until(lambda: not gateway.stats()["connections"]["test:guest"]["connected"])
    backend = backend_of(gateway)
    idle = memory(backend, "VmRSS")

    with open_files(CROWD + 500):
        told = asyncio.run(ask(gateway.port, CROWD, WAIT))
    assert collections.Counter((status, kind) for status, kind, _ in told) == {
        (503, "/docs#broker-unavailable"): CROWD
    }
    assert min(seconds for _, _, seconds in told) > WAIT - 0.5
    assert max(seconds for _, _, seconds in told) < 3 * WAIT  # the clients are slow, too
    assert memory(backend, "VmHWM") - idle < MEMORY

    async def meanwhile():
        waiting = asyncio.create_task(ask(gateway.port, 500, 60))
        await asyncio.to_thread(own.node.start)
        returned = time.monotonic()
        return await waiting, time.monotonic() - returned

    told, late = asyncio.run(meanwhile())
    assert {(status, kind) for status, kind, _ in told} == {(204, "")}
    assert late < 2


def test_large_messages_that_wait_are_bounded_in_bytes(start_gateway):
    limit = 32 * MIB
    settings = {
        "Application": {
            "rabbitmq": {"port": free_ports(1)[0]},  # where nobody listens
            "publish": {"max_bytes": limit, "timeout": 3},
        }
    }
    gateway = start_gateway(settings)
    idle = memory(backend_of(gateway), "VmRSS")
    headers = {"Content-Type": "application/octet-stream"}

    def publish(_):
        begun = time.monotonic()
        answer = gateway.publish("/test/test/k", data=b"x" * 4 * MIB, headers=headers)
        return answer.json()["type"], time.monotonic() - begun

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        told = list(pool.map(publish, range(24)))
    kinds = collections.Counter(kind for kind, _ in told)
    assert set(kinds) == {"/docs#broker-unavailable", "/docs#overloaded"}
    assert kinds["/docs#broker-unavailable"] * 4 * MIB <= limit
    # Refused at once, and not when the others gave up.
    assert max(seconds for kind, seconds in told if kind == "/docs#overloaded") < 2.5
    assert memory(backend_of(gateway), "VmHWM") - idle < 2 * limit
    # Nothing is left behind: there is room for as many again.
    assert publish(0)[0] == "/docs#broker-unavailable"
