"""A plain pipelined AMQP publisher with confirms, on pamqp: what a batch is measured against.

``python bench/pipelined.py PORT COUNT`` publishes COUNT messages and prints the
seconds from the first byte to the last confirm. It does what a careful program
of one's own would do: up to 1,000 messages without a confirm, many frames in
each write, many confirms in each read.
"""

import socket
import sys
import time

from pamqp import body, commands, frame, header

from measured_queue import EXCHANGE, PASSWORD, USER, VIRTUAL_HOST

WINDOW = 1000  # messages without a confirm
ROUTING_KEY = "bench.message"
MESSAGE = b"x" * 100
PERSISTENT = 2


class Confirmed:
    """``count``: the messages confirmed without a gap; acks may be multiple and out of order."""

    def __init__(self) -> None:
        self.count = 0
        self._beyond: set[int] = set()

    def add(self, tag: int, *, multiple: bool) -> None:
        if multiple:
            self.count = max(self.count, tag)
            self._beyond = {each for each in self._beyond if each > tag}
        else:
            self._beyond.add(tag)
        while self.count + 1 in self._beyond:
            self.count += 1
            self._beyond.remove(self.count)


class Publisher:
    """One connection with one channel in confirm mode."""

    def __init__(self, port: int, username: str, password: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(commands.Connection.Start)
        login = f"\0{username}\0{password}"
        self._send(0, commands.Connection.StartOk({}, "PLAIN", login, "en_US"))
        tune = self._expect(commands.Connection.Tune)
        self._send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._call(0, commands.Connection.Open(VIRTUAL_HOST), commands.Connection.OpenOk)
        self._call(1, commands.Channel.Open(), commands.Channel.OpenOk)
        self._call(1, commands.Confirm.Select(), commands.Confirm.SelectOk)

    def publish(self, count: int) -> float:
        """Publish so many messages; the seconds until the last confirm."""
        sent = 0
        confirmed = Confirmed()
        begun = time.perf_counter()
        while confirmed.count < count:
            room = min(count, confirmed.count + WINDOW) - sent
            if room:
                self._socket.sendall(b"".join(self._message() for _ in range(room)))
                sent += room
            self._buffer += self._receive()
            while (received := self._next()) is not None:
                confirmed.add(received.delivery_tag, multiple=received.multiple)
        return time.perf_counter() - begun

    @staticmethod
    def _message() -> bytes:
        properties = commands.Basic.Properties(delivery_mode=PERSISTENT)
        method = commands.Basic.Publish(exchange=EXCHANGE, routing_key=ROUTING_KEY)
        return b"".join(
            (
                frame.marshal(method, 1),
                frame.marshal(header.ContentHeader(0, len(MESSAGE), properties), 1),
                frame.marshal(body.ContentBody(MESSAGE), 1),
            )
        )

    def _call(self, channel: int, method: object, expected: type) -> None:
        self._send(channel, method)
        self._expect(expected)

    def _send(self, channel: int, method: object) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def _expect(self, expected: type):
        while (received := self._next()) is None:
            self._buffer += self._receive()
        if not isinstance(received, expected):
            raise RuntimeError(f"the broker answered {received.name}")  # noqa: TRY004 - no argument of ours
        return received

    def _next(self):
        if len(self._buffer) < 7:
            return None
        size = int.from_bytes(self._buffer[3:7], "big") + 8
        if len(self._buffer) < size:
            return None
        _, _, received = frame.unmarshal(self._buffer[:size])
        self._buffer = self._buffer[size:]
        return received

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the broker closed the connection")
        return data


if __name__ == "__main__":
    print(Publisher(int(sys.argv[1]), USER, PASSWORD).publish(int(sys.argv[2])))
