"""Ten thousand clients that wait for a broker which is away."""

import asyncio
import collections
import concurrent.futures
import re
import time
from pathlib import Path

from gateway import free_port
from stream import steady
from waiting import open_files, wait_until

CROWD = 10_000
WAIT = 6  # seconds
MIB = 1024 * 1024
MEMORY = 200 * MIB  # bytes above idle
REQUEST = (
    b"POST /test/test/k HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n"
    b"Prefer: wait=%d\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
)


def ask(gateway, clients, seconds):
    """Return a coroutine of the answers to so many clients, who come within two seconds."""
    request = REQUEST % seconds
    return steady.ask_steadily(gateway.port, lambda _: request, clients / 2, 2 - 1 / clients)


def peak(gateway):
    """Return the most memory that its only backend has had, in bytes."""
    [backend] = gateway.backends()
    status = Path(f"/proc/{backend}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def test_a_crowd_that_waits_for_a_broker(own, start_gateway):
    settings = {"Application": {"rabbitmq": {"in_flight_per_connection": CROWD}}}
    with open_files(1024):  # as in a shell: it must help itself
        gateway = start_gateway(settings, against=own)
    assert gateway.publish().status_code == 204
    own.node.stop()
    wait_until(lambda: not gateway.stats()["connections"]["test:guest"]["connected"])
    idle = gateway.resident()

    with open_files(CROWD + 500):
        told = asyncio.run(ask(gateway, CROWD, WAIT))
    assert collections.Counter(answer.status for answer in told) == {503: CROWD}
    assert min(answer.seconds for answer in told) > WAIT - 0.5
    assert peak(gateway) - idle < MEMORY

    async def meanwhile():
        waiting = asyncio.create_task(ask(gateway, 500, 60))
        await asyncio.to_thread(own.node.start)
        returned = time.monotonic()
        return await waiting, time.monotonic() - returned

    told, late = asyncio.run(meanwhile())
    assert {answer.status for answer in told} == {204}
    assert late < 15  # and not when their own time was over


def test_large_messages_that_wait_are_bounded_in_bytes(start_gateway):
    limit = 32 * MIB
    settings = {
        "Application": {
            "rabbitmq": {"port": free_port()},  # where nobody listens
            "publish": {"max_bytes": limit, "timeout": 8},
        }
    }
    gateway = start_gateway(settings)
    idle = gateway.resident()
    headers = {"Content-Type": "application/octet-stream"}

    def publish(_):
        begun = time.monotonic()
        answer = gateway.publish(data=b"x" * 4 * MIB, headers=headers)
        return answer.json()["type"], time.monotonic() - begun

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        told = list(pool.map(publish, range(24)))
    waited, refused = "/docs#broker-unavailable", "/docs#overloaded"
    kinds = collections.Counter(kind for kind, _ in told)
    assert set(kinds) == {waited, refused}
    assert kinds[waited] * 4 * MIB <= limit
    # At once, and not when the others gave up.
    assert max(seconds for kind, seconds in told if kind == refused) < 7
    assert peak(gateway) - idle < 2 * limit
    # Nothing is left behind: there is room for as many again.
    assert publish(0)[0] == waited
