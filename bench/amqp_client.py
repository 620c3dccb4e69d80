"""A small blocking AMQP client, and the durable queue that takes every message of a run."""

import socket
import time
from collections.abc import Sequence
from typing import Any

from pamqp import commands, frame

VIRTUAL_HOST = "test"
USER = PASSWORD = "bench"  # not guest, whom the gateway treats specially
EXCHANGE = "bench"
ROUTING_KEY = "bench.message"
QUEUE = "bench"
BINDING = "bench.#"


class Connection:
    """One connection with one channel.

    Raise ``OSError`` when the broker cannot be reached, and ``RuntimeError`` when it answers
    something else than was asked for (a wrong password, say).
    """

    def __init__(self, port: int, virtual_host: str = VIRTUAL_HOST) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.server: dict[str, Any] = self._receive("Connection.Start").server_properties
        login = commands.Connection.StartOk({}, "PLAIN", f"\0{USER}\0{PASSWORD}", "en_US")
        tune = self.call(login, "Connection.Tune", 0)
        # No heartbeats: nobody would send them during a run.
        self._send(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0), 0)
        self.call(commands.Connection.Open(virtual_host), "Connection.OpenOk", 0)
        self.call(commands.Channel.Open())

    def call(self, method: Any, expected: str = "", channel: int = 1) -> Any:
        """Return the answer to a method: by default the one whose name ends with ``Ok``."""
        self._send(method, channel)
        return self._receive(expected or f"{method.name}Ok")

    def _send(self, method: Any, channel: int) -> None:
        self.socket.sendall(frame.marshal(method, channel))

    def _receive(self, expected: str) -> Any:
        head = self._read(7)
        rest = self._read(int.from_bytes(head[3:7], "big") + 1)
        answer: Any = frame.unmarshal(head + rest)[2]
        if answer.name != expected:
            text = getattr(answer, "reply_text", "")
            raise RuntimeError(f"the broker answered {answer.name} {text}, not {expected}")
        return answer

    def _read(self, size: int) -> bytes:
        data = self.socket.recv(size, socket.MSG_WAITALL)
        if len(data) < size:
            raise ConnectionError("the broker closed the benchmark's own connection")
        return data

    def close(self) -> None:
        self.socket.close()


class MeasuredQueue:
    """A new queue in place of an earlier one of the same virtual host, bound to ``exchanges``."""

    def __init__(
        self,
        port: int,
        queue_type: str,
        virtual_host: str = VIRTUAL_HOST,
        exchanges: Sequence[str] = (EXCHANGE,),
    ) -> None:
        self._connection = Connection(port, virtual_host)
        self.server = self._connection.server
        self.close = self._connection.close
        call = self._connection.call
        call(commands.Queue.Delete(queue=QUEUE))
        arguments: Any = {"x-queue-type": queue_type}
        call(commands.Queue.Declare(queue=QUEUE, durable=True, arguments=arguments))
        for name in exchanges:
            call(commands.Exchange.Declare(exchange=name, exchange_type="topic", durable=True))
            call(commands.Queue.Bind(queue=QUEUE, exchange=name, routing_key=BINDING))

    def count(self) -> int:
        """Return how many messages are ready, by a passive declare."""
        declare = commands.Queue.Declare(queue=QUEUE, passive=True)
        return int(self._connection.call(declare).message_count)

    def purge(self) -> None:
        self._connection.call(commands.Queue.Purge(queue=QUEUE))


def empty(queues: Sequence[MeasuredQueue], quiet: float = 0.4, patience: float = 30.0) -> int:
    """Purge the queues and return how many messages they had.

    Wait until the counts stand still for ``quiet`` seconds: the last requests may still be on
    their way when the load has ended. Raise ``RuntimeError`` after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    before: list[int] = []
    while (now := [queue.count() for queue in queues]) != before:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the queue did not come to rest within {patience:.0f} s")
        before = now
        time.sleep(quiet)
    for queue in queues:
        queue.purge()
    return sum(now)
