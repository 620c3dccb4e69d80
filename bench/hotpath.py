"""Publish through all of our code, in one process and without a socket.

    hotpath.py [--scenario NAME ...] [--publishes N]

prints CPU microseconds for each publish. Only the two transports are not real: the client's
end takes answers, the broker's end confirms. What the kernel, uvloop's sockets and the broker
cost is missing, so the figures compare changes, not gateways.
"""

import argparse
import asyncio
import base64
import enum
import gc
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Any, NamedTuple

import uvloop
from pamqp import commands, frame

from statelessd.broker.channel import WINDOW
from statelessd.broker.publisher import Publisher
from statelessd.config.settings import HTTPServer, Publish, RabbitMQ
from statelessd.gateway.client_handler import share
from statelessd.gateway.gateway import Gateway
from statelessd.gateway.router import BUILT_IN_PUBLISH, Router
from statelessd.http1.asgi import Bridge
from statelessd.http1.connection import Connection

BASIC_PUBLISH = b"\x00\x3c\x00\x28"  # class 60, method 40
ACK = Struct(">BHIHHQBB")
FRAME_END = 0xCE
CHANNEL = 1
UNDER_VALGRIND = 50.0  # times as long
PATIENCE = 60.0  # seconds for the login at the broker in this process, under valgrind

ANSWERS: dict[str, Callable[[], Any]] = {
    "ProtocolHeader": lambda: commands.Connection.Start(
        server_properties={"capabilities": {}}, mechanisms="PLAIN", locales="en_US"
    ),
    "Connection.StartOk": lambda: commands.Connection.Tune(2047, 131072, 0),
    "Connection.Open": commands.Connection.OpenOk,
    "Connection.Close": commands.Connection.CloseOk,
    "Channel.Open": commands.Channel.OpenOk,
    "Channel.Close": commands.Channel.CloseOk,
    "Confirm.Select": commands.Confirm.SelectOk,
}


class Client(asyncio.Transport):
    """A client's end of its connection: counts its answers of 204."""

    def __init__(self) -> None:
        super().__init__()
        self.confirmed = 0

    def write(self, data: Any) -> None:
        if not data.startswith(b"HTTP/1.1 204 "):
            raise RuntimeError(f"the gateway answered {bytes(data)!r}")
        self.confirmed += 1

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        """Whoever opened it tells the protocol."""


class Broker(asyncio.Transport):
    """RabbitMQ's end of a connection to it: opens what it is asked to, and confirms."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._tags: dict[int, int] = {}  # the last one that was confirmed, by channel

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered here."""

    def write(self, data: Any) -> None:
        if data[7:11] == BASIC_PUBLISH:
            return
        while data:
            size, channel, method = frame.unmarshal(data)
            data = data[size:]
            if answer := ANSWERS.get(method.name):
                said = frame.marshal(answer(), channel)
                self._loop.call_soon(self._protocol.data_received, said)

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def confirm(self, count: int, channel: int = CHANNEL) -> None:
        """The next so many messages, as many at once as may be unconfirmed on a channel."""
        tag = self._tags.get(channel, 0)
        while count:
            part = min(count, WINDOW)
            count -= part
            tag += part
            ack = ACK.pack(1, channel, 13, 60, 80, tag, part > 1, FRAME_END)
            self._protocol.data_received(ack)
        self._tags[channel] = tag

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close


class Loop(uvloop.Loop):
    """Whatever connects on it is connected to a broker in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.brokers: list[Broker] = []  # in the order of the connections
        self.slowness = 1.0  # how many times as long as on a machine of its own all takes

    def call_later(self, delay: float, callback: Any, *args: Any, **more: Any) -> Any:  # type: ignore[override]
        """As ever, but timers are as rare between publishes as they are elsewhere."""
        return super().call_later(delay * self.slowness, callback, *args, **more)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        pass

    async def create_connection(self, make: Any, *, sock: Any, **_: Any) -> Any:  # type: ignore[override]
        sock.close()
        protocol = make()
        broker = Broker(self, protocol)
        self.brokers.append(broker)
        protocol.connection_made(broker)
        return broker, protocol


class Heads(enum.Enum):
    """How requests follow on each other."""

    ALIKE = "alike"  # on each connection the same
    IN_TURN = "in turn"  # on each connection seven, one after the other
    WITH_ID = "with an id"  # an X-Request-ID that each has for itself, as from a proxy
    UNSEEN = "unseen"  # none comes twice
    CLOSING = "closing"  # the same, each on a connection of its own


class Scenario(NamedTuple):
    """What is published, and how."""

    window: int  # requests at a time, each on a connection of its own
    body: bytes
    content_type: bytes = b"application/x-www-form-urlencoded"
    heads: Heads = Heads.ALIKE
    users: int = 1  # in turn, each with a connection to the broker
    exchanges: int = 1  # in turn, each with a channel

    def places(self) -> list[tuple[int, int]]:
        """The broker's connection and channel of each message, until they begin again."""
        return [(user, 1 + each) for user in range(self.users) for each in range(self.exchanges)]

    def request(self, user: int, channel: int) -> tuple[bytes, bytes]:
        """A request of this user to the exchange of this channel, in two parts."""
        login = base64.b64encode(b"bench-%d:secret" % user)
        line = b"POST /test/bench-%d/bench.message HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n" % channel
        end = b"Authorization: Basic %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            login, self.content_type, len(self.body), self.body,
        )  # fmt: skip
        return line, end

    def requests(self) -> Iterator[bytes]:
        """As wrk sends them, without end."""
        line, end = self.request(*self.places()[0])
        numbered = (line + b"X-Number: %d\r\n" % n + end for n in itertools.count())
        match self.heads:
            case Heads.ALIKE:
                yield from itertools.cycle([b"".join(self.request(*p)) for p in self.places()])
            case Heads.IN_TURN:
                for one in itertools.cycle(list(itertools.islice(numbered, 7))):
                    yield from itertools.repeat(one, self.window)
            case Heads.WITH_ID:
                for number in itertools.count():
                    yield line + b"X-Request-ID: request-%d\r\n" % number + end
            case Heads.UNSEEN:
                yield from numbered
            case Heads.CLOSING:
                yield from itertools.repeat(line + b"Connection: close\r\n" + end)


HUNDRED = b"0123456789" * 10
FORM = b"body=" + HUNDRED + b"&content-type=text%2Fplain"
SCENARIOS = {
    "form, 32 at a time": Scenario(32, FORM),
    "form, 1 at a time": Scenario(1, FORM),
    "form, 256 at a time": Scenario(256, FORM),
    "heads in turn": Scenario(32, FORM, heads=Heads.IN_TURN),
    "an id for each": Scenario(32, FORM, heads=Heads.WITH_ID),
    "heads never seen": Scenario(32, FORM, heads=Heads.UNSEEN),
    "a connection for each": Scenario(32, FORM, heads=Heads.CLOSING),
    "raw JSON": Scenario(32, b'{"text": "%b"}' % HUNDRED[:88], b"application/json"),
    "mandatory": Scenario(32, FORM + b"&mandatory=1"),
    "64 KiB": Scenario(32, b"body=" + b"0123456789abcdef" * 4096),
    "100 users in turn": Scenario(32, FORM, users=100),
    "200 exchanges in turn": Scenario(32, FORM, exchanges=200),
}


async def _no_page(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing but publishes is asked for here")


class HotPath:
    """One backend without sockets, and the scenario's client connections to it."""

    def __init__(self, scenario: Scenario, loop: Loop) -> None:
        limits, server = Publish(timeout=PATIENCE), HTTPServer()
        self._loop = loop
        self._base = len(loop.brokers)  # other scenarios had those before
        rabbitmq = RabbitMQ(login_timeout=PATIENCE, channel_timeout=PATIENCE, heartbeat=3600)
        self._publisher = Publisher(rabbitmq, limits, loop=loop, backend="bench")
        self._gateway = Gateway(
            server,
            limits,
            port=8000,
            publisher=self._publisher,
            router=Router([(BUILT_IN_PUBLISH, None)]),
            loop=loop,
        )
        self._shared = share(self._gateway, Bridge(_no_page))
        self._window = scenario.window
        self._places = scenario.places()
        self._next = itertools.cycle(self._places)
        self._first = [b"".join(scenario.request(*place)) for place in self._places]
        self._connects = scenario.heads is Heads.CLOSING
        self._clients: list[tuple[Connection, Client]] = []
        self._requests = scenario.requests()
        self._confirmed = self._published = 0

    async def warm_up(self) -> None:
        """Log in, open the channel, and let every connection know its heads, or give up on them."""
        for place, request in zip(self._places, self._first, strict=True):
            await self._open(*place, request)
        # A connection is given up as one that does not repeat after 20 other heads.
        await self.publish(24)

    async def _open(self, user: int, channel: int, request: bytes) -> None:
        """Publish the first message of a user to an exchange, over a connection of its own."""
        self._disconnect()
        self._connect()
        self._clients[0][0].data_received(request)
        deadline = time.monotonic() + PATIENCE
        while not self._gateway.publisher.figures().in_flight:
            if time.monotonic() > deadline:
                raise RuntimeError("the first message was not sent")
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._loop.brokers[self._base + user].confirm(1, channel)
        self._published += 1

    def _connect(self) -> None:
        for _ in range(self._window):
            client = Client()
            protocol = Connection(self._shared)
            protocol.connection_made(client)
            self._clients.append((protocol, client))

    def _disconnect(self) -> None:
        for protocol, client in self._clients:
            protocol.connection_lost(None)
            self._confirmed += client.confirmed
        self._clients.clear()

    async def publish(self, turns: int) -> None:
        """``turns`` times one request on each connection, and one confirm for all of them."""
        for _ in range(turns):
            if self._connects:
                self._disconnect()
                self._connect()
            for protocol, _ in self._clients:
                protocol.data_received(next(self._requests))
            await asyncio.sleep(0)  # the messages are written
            if len(self._places) == 1:
                self._loop.brokers[self._base].confirm(self._window)
            else:
                for user, channel in itertools.islice(self._next, self._window):
                    self._loop.brokers[self._base + user].confirm(1, channel)
            await asyncio.sleep(0)
        self._published += turns * self._window

    async def close(self) -> None:
        """Raises RuntimeError if a publish was not answered with 204."""
        self._disconnect()
        if self._confirmed != self._published:
            raise RuntimeError(f"{self._confirmed} of {self._published} publishes were confirmed")
        await self._publisher.close()


class Reference:
    """What a publish is made of, done always alike: a measure of the interpreter."""

    __slots__ = ("count", "entries", "size")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.entries: dict[int, tuple[bytes, bytes]] = {}

    def turn(self, data: bytes) -> bytes:
        """Find, slice, keep, count, join, format, as often as a publish does."""
        for _ in range(20):
            self.count += 1
            self._keep(self.count, data)
            name, value = self._take(self.count)
            self.size += len(name) + len(value)
        return b"%b-%x" % (name, self.count & 255)

    def _keep(self, number: int, data: bytes) -> None:
        name, _, value = data.partition(b"=")
        if value.startswith(b"0123") and self.entries.get(number) is None:
            self.entries[number] = (name, b"".join((value, b"&", name)))

    def _take(self, number: int) -> tuple[bytes, bytes]:
        return self.entries.pop(number)


def mark() -> None:
    """A call that callgrind is told to divide its count at; does nothing."""
    os.getppid()


def _begin_to_count() -> None:
    """Until here callgrind did not, which makes the start four times as fast."""
    command = ["vgdb", f"--pid={os.getpid()}", "instrumentation", "on"]
    vgdb = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while vgdb.poll() is None:  # valgrind listens while the program runs, and not in a sleep
        pass
    if vgdb.returncode:
        raise RuntimeError("vgdb cannot reach the valgrind that --count has to run under")


async def count(names: Sequence[str], publishes: int) -> None:
    """For callgrind: between each two marks one thing, of which the first is the reference."""
    loop = asyncio.get_running_loop()
    loop.slowness = UNDER_VALGRIND  # type: ignore[attr-defined]  # it is our Loop
    _begin_to_count()
    await asyncio.sleep(0)  # the loop's time stood still meanwhile, and deadlines are told by it
    reference = Reference()
    for _ in range(50):
        reference.turn(FORM)
    mark()
    for _ in range(publishes // 4):
        reference.turn(FORM)
    mark()
    async for _, path, scenario in _each(names):
        gc.collect()
        mark()
        await path.publish(publishes // scenario.window)
        mark()


async def measure(names: Sequence[str], publishes: int) -> None:
    """CPU microseconds for each publish: the best of five."""
    async for name, path, scenario in _each(names):
        turns = max(1, publishes // scenario.window)
        best = float("inf")
        for _ in range(5):
            begun = time.process_time()
            await path.publish(turns)
            best = min(best, (time.process_time() - begun) / (turns * scenario.window))
        print(f"{name:22} {best * 1e6:7.2f} us")


async def _each(names: Sequence[str]) -> Any:
    loop = asyncio.get_running_loop()
    for name in names or SCENARIOS:
        path = HotPath(SCENARIOS[name], loop)  # type: ignore[arg-type]  # it is our Loop
        await path.warm_up()
        yield name, path, SCENARIOS[name]
        await path.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", action="append", default=[], choices=SCENARIOS)
    parser.add_argument("--publishes", type=int, default=20_000)
    parser.add_argument("--count", action="store_true", help="what callgrind counts")
    options = parser.parse_args()
    run = count if options.count else measure
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run(options.scenario, options.publishes))


if __name__ == "__main__":
    main()
