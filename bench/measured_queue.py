"""The durable queue that takes every message of a run, seen over a small blocking AMQP client."""

import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from pamqp import commands, frame

VIRTUAL_HOST = "test"
USER = PASSWORD = "bench"  # not guest, who is a case of its own wherever it comes
EXCHANGE = "bench"
QUEUE = "bench"
BINDING = "bench.#"


class MeasuredQueue:
    """Declares exchanges, a new queue and its bindings; then purges and counts.

    ``queue_type``: ``classic`` or ``quorum``.

    Raises ``OSError`` when the broker cannot be reached, and ``RuntimeError``
    when it answers something else than was asked for (a wrong password, say).
    """

    def __init__(
        self,
        port: int,
        username: str,
        password: str,
        queue_type: str = "classic",
        *,
        virtual_host: str = VIRTUAL_HOST,
        exchanges: Sequence[str] = (EXCHANGE,),
    ) -> None:
        self._virtual_host = virtual_host
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.server: dict[str, Any] = {}
        """What the broker says of itself: product, version, platform."""
        self._log_in(f"\0{username}\0{password}")
        self._call(1, commands.Channel.Open(), "Channel.OpenOk")
        for declaration in (
            commands.Queue.Delete(queue=QUEUE),  # of an earlier run, perhaps of another type
            commands.Queue.Declare(
                queue=QUEUE, durable=True, arguments={"x-queue-type": queue_type}
            ),
        ):
            self._call(1, declaration, f"{declaration.name}Ok")
        for exchange in exchanges:
            for declaration in (
                commands.Exchange.Declare(exchange=exchange, exchange_type="topic", durable=True),
                commands.Queue.Bind(queue=QUEUE, exchange=exchange, routing_key=BINDING),
            ):
                self._call(1, declaration, f"{declaration.name}Ok")

    def _log_in(self, response: str) -> None:
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        start = self._receive("Connection.Start")
        self.server = start.server_properties
        start_ok = commands.Connection.StartOk(
            {"product": "statelessd bench"}, "PLAIN", response, "en_US"
        )
        tune = self._call(0, start_ok, "Connection.Tune")
        # No heartbeats: nobody would send them while a run is on.
        self._send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._call(0, commands.Connection.Open(self._virtual_host), "Connection.OpenOk")

    def purge(self) -> None:
        self._call(1, commands.Queue.Purge(queue=QUEUE), "Queue.PurgeOk")

    def count(self) -> int:
        """The messages in the queue that are ready, by a passive declare."""
        declare = commands.Queue.Declare(queue=QUEUE, passive=True)
        ready: int = self._call(1, declare, "Queue.DeclareOk").message_count
        return ready

    def settled_count(self, quiet: float = 0.3, patience: float = 30.0) -> int:
        """The count once it has stood still for ``quiet`` seconds: the load's last requests
        may still be on their way when its program has ended."""
        deadline = time.monotonic() + patience
        before = self.count()
        while time.monotonic() < deadline:
            time.sleep(quiet)
            now = self.count()
            if now == before:
                return now
            before = now
        raise RuntimeError(f"the queue did not come to rest within {patience:.0f} s")

    def _call(self, channel: int, method: Any, expected: str) -> Any:
        self._send(channel, method)
        return self._receive(expected)

    def _send(self, channel: int, method: Any) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def _receive(self, expected: str) -> Any:
        head = self._read(7)
        rest = self._read(int.from_bytes(head[3:7], "big") + 1)
        answer = frame.unmarshal(head + rest)[2]
        if answer.name != expected:
            text = getattr(answer, "reply_text", "")
            raise RuntimeError(f"the broker answered {answer.name} {text}, not {expected}")
        return answer

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the broker closed the benchmark's own connection")
            data += more
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()
