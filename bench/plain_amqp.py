"""A small AMQP client for measuring: it shows what a broker answers, and when, and decides nothing.

Publishes are encoded by the gateway's own encoder, so a broker gets the bytes
that the gateway would send.
"""

import collections
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from pamqp import commands, exceptions, frame
from pamqp.header import ContentHeader

from statelessd.amqp import encode

METHOD, HEADER, BODY = 1, 2, 3
BASIC_ACK = struct.pack(">HH", 60, 80)
BASIC_NACK = struct.pack(">HH", 60, 120)
CAPABILITIES = {"connection.blocked": True, "publisher_confirms": True, "basic.nack": True}


class Channel:
    """What is known of one channel of a connection."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.opened = self.confirming = self.ended = False
        self.closed: commands.Channel.Close | None = None
        self.newest = 0
        self.unconfirmed: set[int] = set()
        self._oldest = 1
        self.nacked: list[int] = []
        self.returned: list[tuple[commands.Basic.Return, bytes]] = []
        self.other: list[Any] = []
        self.delivered: list[tuple[Any, bytes]] = []

    @property
    def oldest(self) -> int:
        """The oldest unconfirmed delivery tag; the next one when all are confirmed."""
        while self._oldest <= self.newest and self._oldest not in self.unconfirmed:
            self._oldest += 1
        return self._oldest

    @property
    def behind_the_oldest(self) -> int:
        """How many messages were sent after the oldest unconfirmed one."""
        return max(self.newest - self.oldest, 0)

    def settle(self, tag: int, multiple: bool, positive: bool) -> None:
        for each in range(self.oldest, tag + 1) if multiple else (tag,):
            if each in self.unconfirmed:
                self.unconfirmed.remove(each)
                if not positive:
                    self.nacked.append(each)


class Connection:
    """A login over a plain socket. Raises OSError, or RuntimeError with the broker's words."""

    def __init__(
        self,
        port: int,
        user: str = "guest",
        password: str = "guest",
        virtual_host: str = "/",
        *,
        frame_max: int = 0,
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = bytearray()
        self._content: dict[int, list[Any]] = {}
        self.properties: list[Any] = []  # of each message that came, oldest first
        self.channels: dict[int, Channel] = collections.defaultdict(lambda: Channel(0))
        self.closed: commands.Connection.Close | None = None
        self.close_ok = self.lost = self.blocked = self.was_blocked = False
        self._tune: commands.Connection.Tune | None = None
        self.server: dict[str, Any] = {}
        self._opened = False
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(lambda: bool(self.server), "Connection.Start")
        start_ok = commands.Connection.StartOk(
            {"product": "statelessd bench", "capabilities": CAPABILITIES},
            "PLAIN",
            f"\0{user}\0{password}",
        )
        self.send(0, start_ok)
        self._expect(lambda: self._tune is not None, "Connection.Tune")
        assert self._tune is not None
        self.frame_max = frame_max or self._tune.frame_max
        self.send(0, commands.Connection.TuneOk(self._tune.channel_max, self.frame_max, 0))
        self.send(0, commands.Connection.Open(virtual_host))
        self._expect(lambda: self._opened, "Connection.OpenOk")

    def _expect(self, condition: Callable[[], bool], what: str) -> None:
        if not self.wait(condition, 30):
            raise RuntimeError(f"no {what}: {self.closed and self.closed.reply_text}")

    @property
    def version(self) -> str:
        return str(self.server.get("version", "?"))

    def open_channel(self, seconds: float = 10, *, confirms: bool = True) -> Channel | None:
        """A new channel; None when it is not answered in that many seconds."""
        number = max(self.channels, default=0) + 1
        channel = self.channels[number] = Channel(number)
        self.send(number, commands.Channel.Open())
        if not self.wait(lambda: channel.opened or self.gone, seconds) or self.gone:
            return None
        if confirms:
            self.send(number, commands.Confirm.Select())
            if not self.wait(lambda: channel.confirming or self.gone, seconds) or self.gone:
                return None
        return channel

    def new_channel(self) -> Channel:
        """The same where the broker is known to answer. Raises RuntimeError."""
        channel = self.open_channel()
        if channel is None:
            raise RuntimeError(f"no channel: {self.closed and self.closed.reply_text}")
        return channel

    def call(self, channel: Channel, method: Any, seconds: float = 20) -> Any:
        """The answer to a method without content, such as a declaration. Raises RuntimeError."""
        channel.other.clear()
        self.send(channel.number, method)
        done = self.wait(lambda: bool(channel.other or channel.closed or self.gone), seconds)
        if not done or not channel.other:
            closed = channel.closed or self.closed
            raise RuntimeError(f"{method.name}: {closed.reply_text if closed else 'no answer'}")
        return channel.other[-1]

    def send(self, number: int, method: Any) -> None:
        self._socket.sendall(frame.marshal(method, number))

    def publish(
        self,
        channel: Channel,
        exchange: str,
        routing_key: str,
        body: bytes = b"",
        *,
        mandatory: bool = False,
        properties: Mapping[str, Any] | None = None,
    ) -> int:
        """Send a message; its delivery tag."""
        self._socket.sendall(
            self.encoded(channel, exchange, routing_key, body, mandatory, properties)
        )
        return self.sent(channel)

    def encoded(
        self,
        channel: Channel,
        exchange: str,
        routing_key: str,
        body: bytes = b"",
        mandatory: bool = False,
        properties: Mapping[str, Any] | None = None,
    ) -> bytes:
        """A message's frames."""
        start = encode.publish_start(channel.number, exchange, routing_key, mandatory)
        header = encode.properties({"delivery_mode": 2} if properties is None else properties)
        return b"".join(encode.publish_frames(channel.number, start, header, body, self.frame_max))

    def sent(self, channel: Channel) -> int:
        """Count a message as sent; its delivery tag."""
        channel.newest += 1
        channel.unconfirmed.add(channel.newest)
        return channel.newest

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def confirmed(self, channel: Channel, tag: int, seconds: float) -> bool:
        """Whether it is settled in time."""
        return self.wait(lambda: tag not in channel.unconfirmed, seconds)

    @property
    def gone(self) -> bool:
        return self.lost or self.closed is not None

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Read until the condition holds; False after that many seconds, or when the socket
        has ended before."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or self.lost:
                return condition()
            if select.select([self._socket], [], [], left)[0]:
                self._read()
        return True

    def _read(self) -> None:
        try:
            received = self._socket.recv(1 << 18)
        except OSError:
            received = b""
        if not received:
            self.lost = True
            return
        self._data += received
        at = 0
        while len(self._data) - at >= 7:
            kind, number, size = struct.unpack_from(">BHI", self._data, at)
            if len(self._data) - at < size + 8:
                break
            self._take(kind, number, bytes(self._data[at : at + size + 8]))
            at += size + 8
        del self._data[:at]

    def _take(self, kind: int, number: int, data: bytes) -> None:
        payload = data[7:-1]
        if kind == METHOD and payload[:4] in (BASIC_ACK, BASIC_NACK):
            tag, bits = struct.unpack_from(">QB", payload, 4)
            self.channels[number].settle(tag, bool(bits & 1), payload[:4] == BASIC_ACK)
        elif kind in (HEADER, BODY):
            if kind == HEADER:
                header = frame.unmarshal(data)[2]
                assert isinstance(header, ContentHeader)
                self.properties.append(header.properties)
            self._take_content(kind, number, payload)
        else:
            try:
                self._take_method(number, frame.unmarshal(data)[2])
            except exceptions.UnmarshalingException as error:
                raise RuntimeError(f"a frame that cannot be read: {data!r}") from error

    def _take_content(self, kind: int, number: int, payload: bytes) -> None:
        content = self._content[number]
        if kind == HEADER:
            content[1] = struct.unpack_from(">Q", payload, 4)[0]
        else:
            content[2] += payload
        if len(content[2]) == content[1]:
            del self._content[number]
            channel = self.channels[number]
            if isinstance(content[0], commands.Basic.Return):
                channel.returned.append((content[0], bytes(content[2])))
            else:
                channel.delivered.append((content[0], bytes(content[2])))

    def _take_method(self, number: int, method: Any) -> None:
        channel = self.channels[number] if number else None
        match method:
            case commands.Connection.Start():
                self.server = method.server_properties
            case commands.Connection.Tune():
                self._tune = method
            case commands.Connection.OpenOk():
                self._opened = True
            case commands.Connection.Blocked():
                self.blocked = self.was_blocked = True
            case commands.Connection.Unblocked():
                self.blocked = False
            case commands.Connection.Close():
                self.closed = method
                self.send(0, commands.Connection.CloseOk())
            case commands.Connection.CloseOk():
                self.close_ok = True
            case commands.Channel.OpenOk() if channel:
                channel.opened = True
            case commands.Confirm.SelectOk() if channel:
                channel.confirming = True
            case commands.Channel.Close() if channel:
                channel.closed = method
                self.send(number, commands.Channel.CloseOk())
            case commands.Channel.CloseOk() if channel:
                channel.ended = True
            case commands.Basic.Return() | commands.Basic.Deliver() | commands.Basic.GetOk():
                self._content[number] = [method, 0, bytearray()]
            case _ if channel:
                channel.other.append(method)
            case _:
                pass  # a heartbeat

    def abort(self) -> None:
        """Close the socket without a word."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()
