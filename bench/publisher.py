"""A plain pipelined AMQP publisher with confirms: what gateways and batches are measured against.

    publisher.py PORT WINDOW BYTES SECONDS COUNT

Publish for SECONDS, or COUNT messages if SECONDS is 0, with at most WINDOW of them
unconfirmed, and print what ``publish.lua`` prints. With SECONDS the frames are made
beforehand, so it takes the least of the core that it shares with the broker. With COUNT each
message is encoded by pamqp, as a careful program of one's own does.
"""

import json
import math
import struct
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from pamqp import body, commands, frame, header

import load
from amqp_client import EXCHANGE, ROUTING_KEY, Connection
from processes import on_cores

CONFIRM = struct.Struct(">BHIHHQBB")  # type, channel, size, class, method, tag, multiple, end
ACK = 80
PERSISTENT = 2


def message(size: int) -> bytes:
    """Return the frames of what the gateways publish: persistent, ``text/plain``."""
    properties = commands.Basic.Properties(content_type="text/plain", delivery_mode=PERSISTENT)
    method = commands.Basic.Publish(exchange=EXCHANGE, routing_key=ROUTING_KEY)
    parts: list[Any] = [
        method,
        header.ContentHeader(0, size, properties),
        body.ContentBody(b"x" * size),
    ]
    return b"".join(frame.marshal(part, 1) for part in parts)


def settle(waiting: dict[int, float], tag: int, *, multiple: bool) -> list[float]:
    """Remove what an ack confirms from ``waiting``, oldest first; return when each was sent."""
    if not multiple:
        return [waiting.pop(tag)]
    settled = []
    while waiting and (first := next(iter(waiting))) <= tag:
        settled.append(waiting.pop(first))
    return settled


def confirms(waiting: dict[int, float], received: bytes) -> tuple[list[float], bytes]:
    """Remove what was confirmed from ``waiting``; return when it was sent, and what is left.

    Raise ``RuntimeError`` for anything that is not an ack.
    """
    confirmed: list[float] = []
    whole = len(received) // CONFIRM.size * CONFIRM.size
    for _, _, _, _, method, acked, multiple, _ in CONFIRM.iter_unpack(received[:whole]):
        if method != ACK:
            raise RuntimeError("the broker sent something else than an ack")
        confirmed += settle(waiting, acked, multiple=bool(multiple))
    return confirmed, received[whole:]


def publish(port: int, window: int, size: int, seconds: float, count: float) -> load.Load:
    """Publish, and return what was confirmed. Raise ``RuntimeError`` for a nack."""
    connection = Connection(port)
    connection.call(commands.Confirm.Select())
    made = message(size) if seconds else b""
    waiting: dict[int, float] = {}
    took: list[float] = []
    received = b""
    tag = 0
    begun = now = time.perf_counter()
    end = begun + seconds if seconds else math.inf
    while (more := now < end and tag < count) or waiting:
        room = int(min(window - len(waiting), count - tag)) if more else 0
        if room:
            waiting.update(dict.fromkeys(range(tag + 1, tag + room + 1), now))
            tag += room
            frames = made * room or b"".join(message(size) for _ in range(room))
            connection.socket.sendall(frames)
        data = connection.socket.recv(65536)
        if not data:
            raise ConnectionError("the broker closed the connection")
        now = time.perf_counter()
        confirmed, received = confirms(waiting, received + data)
        took += [now - sent for sent in confirmed]
    return load.of_latencies(now - begun, [each * 1000 for each in took])


def run(
    port: int,
    window: int,
    size: int,
    seconds: float = 0,
    count: int = sys.maxsize,
    cores: Collection[int] | None = None,
) -> load.Load:
    """Publish from a process of its own. Raise ``CalledProcessError`` if it fails."""
    command = [sys.executable, __file__, *map(str, (port, window, size, seconds, count))]
    with on_cores(cores):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return load.parse(done.stdout)


if __name__ == "__main__":
    _port, _window, _size, _seconds, _count = map(float, sys.argv[1:])
    print(json.dumps(asdict(publish(int(_port), int(_window), int(_size), _seconds, _count))))
