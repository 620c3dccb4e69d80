"""The raw ceiling: a plain pipelined AMQP publisher with confirms, as light as can be.

``python bench/ceiling.py PORT WINDOW SECONDS BYTES`` keeps WINDOW messages without a
confirm, each with BYTES of body, and prints what ``publish.lua`` does. The frames are
made beforehand, and the confirms are read as the 21 bytes that they are: so it takes the
least of the core that it shares with the broker, as wrk does.
"""

import json
import struct
import subprocess
import sys
import time
from pathlib import Path

from pamqp import body, commands, frame, header

import load
from measured_queue import EXCHANGE, PASSWORD, USER
from pipelined import PERSISTENT, ROUTING_KEY, Publisher

CONFIRM = struct.Struct(">BHIHHQBB")  # type, channel, size, class, method, tag, multiple, end
ACK = 80


def message(size: int) -> bytes:
    """The frames of what the gateways publish: persistent, ``text/plain``."""
    properties = commands.Basic.Properties(content_type="text/plain", delivery_mode=PERSISTENT)
    method = commands.Basic.Publish(exchange=EXCHANGE, routing_key=ROUTING_KEY)
    parts = [method, header.ContentHeader(0, size, properties), body.ContentBody(b"x" * size)]
    return b"".join(frame.marshal(part, 1) for part in parts)


def settle(waiting: dict[int, float], tag: int, *, multiple: bool) -> list[float]:
    """Take what an ack is for out of ``waiting``, which is in order; when each was sent."""
    if not multiple:
        return [waiting.pop(tag)]
    settled = []
    while waiting and (first := next(iter(waiting))) <= tag:
        settled.append(waiting.pop(first))
    return settled


class Ceiling(Publisher):
    """``keep``: publish for a time at a window."""

    def keep(self, window: int, seconds: float, size: int) -> dict[str, float]:
        one = message(size)
        waiting: dict[int, float] = {}
        took: list[float] = []
        tag = 0
        begun = now = time.perf_counter()
        while now < begun + seconds or waiting:
            room = window - len(waiting) if now < begun + seconds else 0
            if room:
                waiting.update(dict.fromkeys(range(tag + 1, tag + room + 1), now))
                tag += room
                self._socket.sendall(one * room)
            acks = self._acks()
            now = time.perf_counter()
            for acked, multiple in acks:
                took += [now - sent for sent in settle(waiting, acked, multiple=multiple)]
        took.sort()
        at = {
            f"p{name}_ms": took[int(share * (len(took) - 1))] * 1000
            for name, share in (("50", 0.5), ("99", 0.99), ("999", 0.999))
        }
        errors = dict.fromkeys(("connect_errors", "read_errors", "write_errors", "timeouts"), 0)
        return {"seconds": now - begun, "confirmed": len(took), "non_204": 0, **at, **errors}

    def _acks(self) -> list[tuple[int, int]]:
        """Tags with ``multiple``, of those that came. Raises RuntimeError for a nack."""
        self._buffer += self._receive()
        whole = len(self._buffer) // CONFIRM.size * CONFIRM.size
        acks = []
        for _, _, _, _, method, tag, multiple, _ in CONFIRM.iter_unpack(self._buffer[:whole]):
            if method != ACK:
                raise RuntimeError("the broker sent something else than an ack")
            acks.append((tag, multiple))
        self._buffer = self._buffer[whole:]
        return acks


def run(port: int, window: int, seconds: float, size: int) -> load.Load:
    """The same, in a process of its own. Raises ``CalledProcessError``."""
    command = [sys.executable, str(Path(__file__)), *map(str, (port, window, seconds, size))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return load.parse(done.stdout)


if __name__ == "__main__":
    _port, _window, _seconds, _size = sys.argv[1:]
    publisher = Ceiling(int(_port), USER, PASSWORD)
    print(json.dumps(publisher.keep(int(_window), float(_seconds), int(_size))))
