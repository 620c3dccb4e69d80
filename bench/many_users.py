"""Clients of many users on kept connections, which wrk cannot tell apart.

``python bench/many_users.py`` takes a JSON object on its standard input: ``port``,
``connections``, ``seconds``, ``requests`` and ``order``: ``kept`` (each client has one
request), ``in turn`` or ``once`` (each request is sent once; ``seconds`` is then only a
bound). It prints what ``publish.lua`` does.
"""

import asyncio
import gc
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

import load
from steady import nearest_rank

BLANK = b"\r\n\r\n"
PATIENCE = 10.0  # seconds for the last answers


class Clients:
    """What all connections count together."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.confirmed = self.refused = self.lost = 0
        self.seconds: list[float] = []
        self.busy = 0
        self.done = asyncio.get_running_loop().create_future()


class Client(asyncio.Protocol):
    """One connection, one request at a time; the last answer is waited for."""

    def __init__(self, clients: Clients, requests: Iterator[bytes]) -> None:
        self._clients = clients
        self._requests = requests
        self._asked = 0.0
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._clients.busy += 1

    def ask(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._leave()
            return
        self._asked = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        if BLANK not in data:
            self._received = data
            return
        self._received = b""
        clients = self._clients
        now = time.perf_counter()
        clients.seconds.append(now - self._asked)
        if data.startswith(b"HTTP/1.1 204"):
            clients.confirmed += 1
        else:  # a fault, whose document is not worth reading
            clients.refused += 1
            self._transport.close()
            self._leave()
            return
        if now < clients.until:
            self.ask()
        else:
            self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._clients.until:
            self._clients.lost += 1

    def _leave(self) -> None:
        self._clients.busy -= 1
        if not self._clients.busy and not self._clients.done.done():
            self._clients.done.set_result(None)


async def play(
    port: int, connections: int, seconds: float, requests: Sequence[str], order: str
) -> dict[str, float]:
    wanted = [request.encode() for request in requests]
    turns = iter(wanted) if order == "once" else itertools.cycle(wanted)
    loop = asyncio.get_running_loop()
    clients = Clients(until=float("inf"))
    crowd = []
    for number in range(connections):
        mine = itertools.repeat(wanted[number % len(wanted)]) if order == "kept" else turns
        _, client = await loop.create_connection(
            lambda mine=mine: Client(clients, mine), "127.0.0.1", port
        )
        crowd.append(client)
    begun = time.perf_counter()
    clients.until = begun + seconds
    for client in crowd:
        client.ask()
    unanswered = 0
    try:
        await asyncio.wait_for(clients.done, seconds + PATIENCE)
    except TimeoutError:
        unanswered = clients.busy
    taken = time.perf_counter() - begun
    ordered = sorted(clients.seconds)
    return {
        "seconds": taken, "confirmed": clients.confirmed, "non_204": clients.refused,
        "p50_ms": nearest_rank(ordered, 0.50) * 1000,
        "p99_ms": nearest_rank(ordered, 0.99) * 1000,
        "p999_ms": nearest_rank(ordered, 0.999) * 1000,
        "connect_errors": 0, "read_errors": clients.lost, "write_errors": 0,
        "timeouts": unanswered,
    }  # fmt: skip


def run(
    port: int, connections: int, seconds: float, requests: Sequence[str], order: str
) -> load.Load:
    """The same, in a process of its own. Raises ``CalledProcessError``."""
    wanted = {"port": port, "connections": connections, "seconds": seconds,
              "requests": requests, "order": order}  # fmt: skip
    done = subprocess.run(
        [sys.executable, Path(__file__)],
        input=json.dumps(wanted), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return load.parse(done.stdout)


if __name__ == "__main__":
    gc.disable()
    print(json.dumps(uvloop.run(play(**json.load(sys.stdin)))))
