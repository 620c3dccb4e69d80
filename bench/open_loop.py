"""A load of a constant rate, whatever the answers do: the latency is counted from the due time.

    open_loop.py http|amqp PORT RATE SECONDS

Publish RATE messages in a second, evenly spaced, for SECONDS, and print what ``publish.lua``
prints. ``http``: over kept connections, of which more are opened when none is free. ``amqp``:
over one open connection, as a program would that can keep one. A timer's signal says when the next
message is due, because a timer of the event loop has no more than milliseconds.
"""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import uvloop
from pamqp import commands

import load
import publisher
from amqp_client import Connection
from gateways import PATH

PATIENCE = 5.0  # seconds for the last answers
HUNDRED = 100  # bytes of a message
FORM = "body=" + "x" * HUNDRED + "&content-type=text%2Fplain"
REQUEST = (
    f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {load.token()}\r\n"
    f"Content-Type: {load.FORM}\r\nContent-Length: {len(FORM)}\r\n\r\n{FORM}"
).encode()
CREATED = b"HTTP/1.1 204 "
END = b"\r\n\r\n"


class Target(ABC):
    """What so many messages are published to.

    ``took`` has the milliseconds of each confirmed one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.took: list[float] = []
        self.failed = 0
        self.all_answered = asyncio.Event()

    @abstractmethod
    async def open(self, port: int) -> None:
        """Open the first connection."""

    @abstractmethod
    def publish(self, due: float) -> None:
        """Publish one message now that was due at that time."""

    def answered(self, due: float, *, confirmed: bool = True) -> None:
        """Count the answer to a message that was due at that time."""
        if confirmed:
            self.took.append((time.perf_counter() - due) * 1000)
        else:
            self.failed += 1
        if len(self.took) + self.failed == self.count:
            self.all_answered.set()


class Client(asyncio.Protocol):
    """A kept connection to a gateway, with one request at a time."""

    def __init__(self, target: "Gateway") -> None:
        self._target = target
        self._received = b""
        self._due = 0.0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._target.is_free(self)

    def request(self, due: float) -> None:
        self._due = due
        self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.startswith(CREATED):
            self._target.answered(self._due, confirmed=False)
            self._transport.close()  # how long that answer is, nobody looks at
        elif self._received.endswith(END):
            self._received = b""
            self._target.answered(self._due)
            self._target.is_free(self)


class Gateway(Target):
    """A gateway, asked over as many connections as are needed."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._free: list[Client] = []
        self._waiting: deque[float] = deque()
        self._opening: set[asyncio.Task[Any]] = set()
        self._port = 0

    async def open(self, port: int) -> None:
        self._port = port
        await self._connect()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Client(self), "127.0.0.1", self._port)

    def publish(self, due: float) -> None:
        if self._free:
            self._free.pop().request(due)
            return
        self._waiting.append(due)
        if len(self._opening) < len(self._waiting):
            opening = asyncio.ensure_future(self._connect())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    def is_free(self, client: Client) -> None:
        if self._waiting:
            client.request(self._waiting.popleft())
        else:
            self._free.append(client)


class Broker(Target, asyncio.Protocol):
    """RabbitMQ itself, over one connection and channel."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._waiting: dict[int, float] = {}
        self._tag = 0
        self._received = b""
        self._message = publisher.message(HUNDRED)
        self._transport: Any = None

    async def open(self, port: int) -> None:
        connection = Connection(port)
        connection.call(commands.Confirm.Select())
        loop = asyncio.get_running_loop()
        connection.socket.setblocking(False)
        self._transport, _ = await loop.create_connection(lambda: self, sock=connection.socket)

    def publish(self, due: float) -> None:
        self._tag += 1
        self._waiting[self._tag] = due
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        dues, self._received = publisher.confirms(self._waiting, self._received + data)
        for due in dues:
            self.answered(due)


async def publish(target: Target, port: int, rate: float) -> load.Load:
    """Publish at the rate, wait for the last answers, and return what came of it."""
    await target.open(port)
    loop = asyncio.get_running_loop()
    sent = 0
    all_sent = asyncio.Event()
    begun = time.perf_counter()

    def send_what_is_due() -> None:
        nonlocal sent
        while sent < target.count and (due := begun + sent / rate) <= time.perf_counter():
            sent += 1
            target.publish(due)
        if sent == target.count:
            all_sent.set()

    loop.add_signal_handler(signal.SIGALRM, send_what_is_due)
    signal.setitimer(signal.ITIMER_REAL, 1 / rate, 1 / rate)
    await all_sent.wait()
    signal.setitimer(signal.ITIMER_REAL, 0)
    taken = time.perf_counter() - begun
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(target.all_answered.wait(), PATIENCE)
    unanswered = target.count - len(target.took) - target.failed
    answered = load.of_latencies(taken, target.took, target.failed)
    return replace(answered, socket_errors=unanswered)


TARGETS: dict[str, Callable[[int], Target]] = {"http": Gateway, "amqp": Broker}


def run(kind: str, port: int, rate: float, seconds: float) -> load.Load:
    """Publish from a process of its own. Raise ``CalledProcessError`` if it fails."""
    command = [sys.executable, __file__, kind, *map(str, (port, rate, seconds))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return load.parse(done.stdout)


if __name__ == "__main__":
    _kind, _port, _rate, _seconds = sys.argv[1:]
    _target = TARGETS[_kind](max(1, round(float(_rate) * float(_seconds))))
    print(json.dumps(asdict(uvloop.run(publish(_target, int(_port), float(_rate))))))
