"""Publishes at a constant rate, however slow the confirms are: over HTTP, or AMQP itself.

``python bench/constant.py http|amqp PORT RATE SECONDS`` prints what ``publish.lua``
does. Latencies count from when a message was due, not from when it could be sent:
else a stall would hide the messages that it kept from being sent. ``steady.py`` does
the same with asyncio, whose timers have milliseconds; these have microseconds.
"""

import collections
import gc
import json
import select
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

import gateways
import load
import steady
from measured_queue import PASSWORD, USER
from pipelined import Confirmed, Publisher

CONNECTIONS = 256  # of HTTP; a message that is due while all are in use waits
FORM = "body=" + "0123456789" * 10 + "&content-type=text%2Fplain"
PATIENCE = 10.0  # seconds for the last confirms


class Way(ABC):
    """``failed``: messages that were not confirmed, and never will be."""

    def __init__(self) -> None:
        self.ready = select.epoll()
        self.failed = 0

    @abstractmethod
    def send(self, due: float) -> bool:
        """False when there is no room at the moment."""

    @abstractmethod
    def receive(self) -> list[float]:
        """When those were due that have been confirmed. Called when ``ready`` is readable."""


class Http(Way):
    """A form for each message, on kept connections."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._request = steady.form_request(gateways.PATH, USER, PASSWORD, FORM)(0)
        self._sockets: dict[int, socket.socket] = {}
        self._due: dict[int, float] = {}
        for _ in range(CONNECTIONS):
            client = socket.create_connection(("127.0.0.1", port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[client.fileno()] = client
            self.ready.register(client, select.EPOLLIN)
        self._idle = list(self._sockets)

    def send(self, due: float) -> bool:
        if not self._idle:
            return False
        number = self._idle.pop()
        self._due[number] = due
        self._sockets[number].sendall(self._request)
        return True

    def receive(self) -> list[float]:
        confirmed = []
        for number, _ in self.ready.poll(0):
            answer = self._sockets[number].recv(65536)
            due = self._due.pop(number)
            if answer.startswith(b"HTTP/1.1 204"):
                confirmed.append(due)
                self._idle.append(number)
            else:
                self.failed += 1
                self.ready.unregister(number)
        return confirmed


class Amqp(Way, Publisher):
    """One open connection, one channel in confirm mode."""

    def __init__(self, port: int) -> None:
        Way.__init__(self)
        Publisher.__init__(self, port, USER, PASSWORD)
        self._frames = self._message()
        self._due: collections.deque[float] = collections.deque()
        self._confirmed = Confirmed()
        self.ready.register(self._socket, select.EPOLLIN)

    def send(self, due: float) -> bool:
        self._due.append(due)
        self._socket.sendall(self._frames)
        return True

    def receive(self) -> list[float]:
        before = self._confirmed.count
        self._buffer += self._receive()
        while (received := self._next()) is not None:
            self._confirmed.add(received.delivery_tag, multiple=received.multiple)
        return [self._due.popleft() for _ in range(self._confirmed.count - before)]


def play(way: Way, rate: float, seconds: float) -> dict[str, float]:
    """Send what is due, and take what comes, in turn."""
    taken: list[float] = []
    clock = time.perf_counter
    begun = clock()
    total = int(rate * seconds)
    sent = 0
    while len(taken) + way.failed < total:
        now = clock()
        while sent < total and (due := begun + sent / rate) <= now and way.send(due):
            sent += 1
        if now > begun + seconds + PATIENCE:
            break
        wait = begun + sent / rate - clock() if sent < total else 1.0
        # The epoll itself would wait for whole milliseconds.
        if select.select([way.ready], [], [], max(0.0, wait if wait > 0 else 0.001))[0]:
            confirmed = way.receive()
            now = clock()
            taken += [now - due for due in confirmed]
    ordered = sorted(taken)
    return {
        "seconds": clock() - begun, "confirmed": len(taken), "non_204": way.failed,
        "p50_ms": steady.nearest_rank(ordered, 0.50) * 1000,
        "p99_ms": steady.nearest_rank(ordered, 0.99) * 1000,
        "p999_ms": steady.nearest_rank(ordered, 0.999) * 1000,
        "connect_errors": 0, "read_errors": 0, "write_errors": 0,
        "timeouts": total - len(taken) - way.failed,
    }  # fmt: skip


def run(way: str, port: int, rate: float, seconds: float) -> load.Load:
    """The same in a process of its own. Raises ``CalledProcessError``."""
    command = [sys.executable, Path(__file__), way, *map(str, (port, rate, seconds))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return load.parse(done.stdout)


if __name__ == "__main__":
    gc.disable()
    kind = {"http": Http, "amqp": Amqp}[sys.argv[1]]
    print(json.dumps(play(kind(int(sys.argv[2])), float(sys.argv[3]), float(sys.argv[4]))))
