"""Take one message from a queue, and print it: ``make read QUEUE=test``.

QUEUE is the queue, VHOST its virtual host; without VHOST it is the first of "test" and "/"
that has a message there. KEEP=1 leaves the message in the queue. All three are read from the
environment, in which make puts them.

The broker is the private one of ``make run`` or ``make broker``, or that of AMQP_URL. The
script needs Python alone. Its exit status is 1 if the queue is empty, and 2 if there is no
such queue or no broker.
"""

import json
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import broker as broker_script
import fields
import login

EMPTY, IMPOSSIBLE = 1, 2
DUMPED = 4096  # bytes of a body that is not text: 256 lines

CONNECTION_CLOSE, CHANNEL_CLOSE = (10, 50), (20, 40)
GET_OK, GET_EMPTY = (60, 71), (60, 72)
HEARTBEAT = 8
# NOT_FOUND: no such queue. NOT_ALLOWED: no such virtual host, or not for this user.
NOT_FOUND, NOT_ALLOWED = 404, 530


class ReadError(Exception):
    """The message cannot be read; the text says why."""


class MissingError(ReadError):
    """There is no such queue, or no such virtual host."""


@dataclass
class Message:
    """A message that the broker has delivered and that is not acknowledged yet."""

    tag: int
    exchange: str | bytes
    routing_key: str | bytes
    left: int
    properties: dict[str, Any]
    body: bytes


class Channel:
    """The one channel of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, address: broker_script.Address, virtual_host: str) -> Iterator[Self]:
        """Yield a channel to a virtual host. Raise ReadError or OSError if there is none."""
        with socket.create_connection((address.host, address.port), timeout=30) as connection:
            tune = login.log_in(connection, address.user, address.password)
            if not tune:
                raise ReadError("the broker does not take the login")
            channel = cls(connection)
            limits = tune[4:10] + struct.pack(">H", 0)  # the broker's, but no heartbeat
            channel._send(10, 31, limits, on=0)  # Tune-Ok
            channel._call(10, 40, _short(virtual_host) + b"\0\0", on=0)  # Open
            channel._call(20, 10, b"\0")
            yield channel
            channel._call(10, 50, struct.pack(">HBHH", 200, 0, 0, 0), on=0)  # Close

    def get(self, queue: str) -> Message | None:
        """Return the next message of a queue, or None if it is empty."""
        payload = self._call(60, 70, b"\0\0" + _short(queue) + b"\0")
        if login.method(payload) == GET_EMPTY:
            return None
        if login.method(payload) != GET_OK:
            raise ReadError("the broker sent something that is not a message")
        (tag,) = struct.unpack_from(">Q", payload, 4)
        exchange, routing_key = fields.short_strings(payload[13:], 2)
        (left,) = struct.unpack(">I", payload[-4:])
        header = self._receive()
        (size,) = struct.unpack_from(">Q", header, 4)
        body = bytearray()
        while len(body) < size:
            body += self._receive()
        return Message(
            tag, exchange, routing_key, left, fields.properties(header[12:]), bytes(body)
        )

    def acknowledge(self, message: Message) -> None:
        """Let the broker delete the message."""
        self._send(60, 80, struct.pack(">QB", message.tag, 0))

    def _send(self, of_class: int, method: int, arguments: bytes, on: int = 1) -> None:
        login.send(self._connection, on, struct.pack(">HH", of_class, method) + arguments)

    def _call(self, of_class: int, method: int, arguments: bytes, on: int = 1) -> bytes:
        """Return the payload of the answer. Raise ReadError if that is a close."""
        self._send(of_class, method, arguments, on)
        payload = self._receive()
        if login.method(payload) in (CONNECTION_CLOSE, CHANNEL_CLOSE):
            (code,) = struct.unpack_from(">H", payload, 4)
            (text,) = fields.short_strings(payload[6:], 1)
            kind = MissingError if code in (NOT_FOUND, NOT_ALLOWED) else ReadError
            raise kind(f"the broker says: {_printable(text)}")
        return payload

    def _receive(self) -> bytes:
        while True:
            kind, payload = login.receive(self._connection)
            if kind != HEARTBEAT:
                return payload


def main() -> int:
    """Read and print one message. Return the exit status."""
    queue = os.environ.get("QUEUE") or "test"
    given = os.environ.get("VHOST")
    keep = os.environ.get("KEEP", "") not in ("", "0")
    try:
        return _read(_address(), queue, [given] if given else ["test", "/"], keep=keep)
    except (ReadError, broker_script.BrokerError) as error:
        return _fails(str(error), IMPOSSIBLE)
    except (OSError, struct.error) as error:
        return _fails(f"the broker did not answer as expected: {error}", IMPOSSIBLE)


def _address() -> broker_script.Address:
    if url := os.environ.get("AMQP_URL"):
        return broker_script.Address.of_url(url)
    broker = broker_script.private_broker()
    if not broker.running:
        raise ReadError("the broker does not run; start it with make run, or name one in AMQP_URL")
    return broker_script.Address(broker.host, broker.amqp_port)


def _read(
    address: broker_script.Address, queue: str, virtual_hosts: list[str], *, keep: bool
) -> int:
    empty = []
    for name in virtual_hosts:
        with suppress(MissingError), Channel.opened(address, name) as channel:
            message = channel.get(queue)
            if message:
                try:
                    _print(message, queue, name, keep=keep)
                except BrokenPipeError:  # of a pager or of head, and nothing of the broker
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                    return _fails("not all was printed, so the message stays", IMPOSSIBLE)
                if not keep:  # now that it is printed
                    channel.acknowledge(message)
                return 0
            empty.append(name)
    named = _printable(queue)
    if not empty:
        where = " or ".join(f'"{_printable(each)}"' for each in virtual_hosts)
        return _fails(f'there is no queue "{named}" in the virtual host {where}', IMPOSSIBLE)
    where = " and ".join(f'"{_printable(each)}"' for each in empty)
    return _fails(f'the queue "{named}" is empty (virtual host {where})', EMPTY)


def _print(message: Message, queue: str, virtual_host: str, *, keep: bool) -> None:
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    done = "kept there" if keep else "taken out"
    print(f'1 message of the queue "{_printable(queue)}", {done}; {message.left} more behind it')
    print()
    lines = {
        "virtual host": virtual_host,
        "exchange": message.exchange or "(the default exchange)",
        "routing key": message.routing_key,
        **message.properties,
    }
    headers = lines.pop("headers", {})
    lines |= {f"header {_printable(name)}": _value(value) for name, value in headers.items()}
    for name, value in lines.items():
        print(f"{name + ':':<17} {_printable(value)}")
    print()
    for line in _body(message.body):
        print(line)
    sys.stdout.flush()


def _value(value: Any) -> str:
    """Return a header's value as JSON, and as Python's literal where JSON has none for it."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return repr(value)


def _body(body: bytes) -> Iterator[str]:
    """Yield the lines of a text, or of a hex dump if it is none."""
    if not body:
        yield "(the body is empty)"
        return
    with suppress(UnicodeDecodeError):
        text = body.decode()
        if not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text):
            yield from map(_printable, re.split(r"\r?\n", text.removesuffix("\n")))
            return
    cut = f"; the first {DUMPED} of them:" if len(body) > DUMPED else ""
    yield f"({len(body)} bytes that are not text{cut})"
    for at in range(0, min(len(body), DUMPED), 16):
        part = body[at : at + 16]
        shown = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        yield f"{at:08x}  {part.hex(' '):<47}  {shown}"


def _printable(value: object) -> str:
    """Return a text that does nothing to a terminal."""
    text = repr(value) if isinstance(value, bytes) else str(value)
    return "".join(
        each if each.isprintable() or each == "\t" else each.encode("unicode_escape").decode()
        for each in text
    )


def _short(text: str) -> bytes:
    data = text.encode(errors="surrogateescape")
    if len(data) > 255:
        raise ReadError("a name has at most 255 bytes")
    return bytes((len(data),)) + data


def _fails(text: str, status: int) -> int:
    print(f"read.py: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
