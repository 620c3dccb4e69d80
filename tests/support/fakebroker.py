"""A scripted RabbitMQ on a real socket: for faults that a real one will not produce on demand."""

import asyncio
import contextlib

import brokerside
from pamqp import commands, frame, header
from pamqp.body import ContentBody


class FakeBroker:
    """Accepts logins, opens channels, and records what is published.

    ``on_publish(peer, channel, tag, body)`` decides what happens to a message; the
    default acks it. ``on_login(peer)`` may send something else than Tune. With
    ``tls``, an SSLContext, it speaks that.
    """

    def __init__(self, tls=None):
        self._tls = tls
        self.peers = []
        self.product, self.version = "scripted", "1.0"  # as Connection.Start tells them
        self.published = []  # bodies, in the order in which they came
        self.frame_max = 131072
        self.heartbeat = 0
        self.pace = 0.0  # seconds for each frame that is read
        self.accept = True  # False: the socket is open and nothing is ever said
        self.open_channels = True
        self.confirms()
        self.on_close_channel = lambda peer, channel: peer.send(
            brokerside.channel_close_ok(channel)
        )
        self.on_login = None
        self.on_open = lambda peer: peer.send(brokerside.open_ok())
        self.on_open_channel = lambda peer, channel: peer.send(brokerside.channel_open_ok(channel))
        self.on_select = lambda peer, channel: peer.send(brokerside.select_ok(channel))
        self.cut_at = ""  # the name of what must arrive next time for the connection to be cut
        self._server = None

    # What it does with every message and login from now on

    def confirms(self):
        self.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))

    def is_silent(self):
        self.on_publish = lambda *_: None

    def nacks(self):
        self.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.nack(channel, tag))

    def closes_channels(self, code=404, text="NOT_FOUND - no exchange 'e'", over=(60, 40)):
        self.on_publish = lambda peer, channel, *_: peer.send(
            brokerside.channel_close(channel, code, text, over)
        )

    def closes_connections(self, code, text):
        self.on_publish = lambda peer, *_: peer.send(brokerside.close(code, text))

    def refuses_logins(self, code=403, text="ACCESS_REFUSED - x"):
        self.on_login = lambda peer: peer.send(brokerside.close(code, text))

    # What it has seen

    def alive(self):
        return [peer for peer in self.peers if not peer.gone]

    def arrived(self, body):
        return lambda: body in self.published

    async def __aenter__(self):
        self.port = 0
        await self.start_again()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def stop(self):
        """Refuse new connections and cut those that are open."""
        self._server.close()
        for _ in range(50):  # until what was accepted by now is a peer, or gone
            await asyncio.sleep(0)
        for peer in self.peers:
            peer.cut()
        await self._server.wait_closed()
        # Else a transport may outlive the loop, and complain when it is collected.
        await asyncio.gather(*(peer.ended.wait() for peer in self.peers))

    async def start_again(self):
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        peer = Peer(self, reader, writer)
        self.peers.append(peer)
        try:
            await peer.run()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            peer.gone = True
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            peer.ended.set()


class Peer:
    """One connection, as the broker sees it."""

    def __init__(self, broker, reader, writer):
        self.broker = broker
        self.gone = False
        self.crashed = False
        self.ended = asyncio.Event()
        self.methods = []  # the names of what arrived
        self.start_ok = None
        self.tags = {}
        self.reading = asyncio.Event()
        self.reading.set()
        self._reader = reader
        self._writer = writer
        self._content = {}

    def send(self, data):
        if not self.gone:
            self._writer.write(data)

    def cut(self):
        self.reading.set()
        self._writer.transport.abort()

    def hang_up(self):
        self._writer.write_eof()

    async def run(self):
        await self._reader.readexactly(8)
        if not self.broker.accept:
            await self._reader.read()
            return
        broker = self.broker
        self.send(brokerside.start(product=broker.product, version=broker.version))
        while True:
            await self.reading.wait()
            if self.broker.pace:
                await asyncio.sleep(self.broker.pace)
            channel, value = await self._frame()
            self.methods.append(value.name)
            if value.name == self.broker.cut_at:
                self.broker.cut_at = ""
                self.cut()
                return
            self._handle(channel, value)

    async def _frame(self):
        head = await self._reader.readexactly(7)
        rest = await self._reader.readexactly(int.from_bytes(head[3:7]) + 1)
        _, channel, value = frame.unmarshal(head + rest)
        return channel, value

    def _handle(self, channel, value):
        broker = self.broker
        match value:
            case commands.Connection.StartOk():
                self.start_ok = value
                if broker.on_login is None:
                    self.send(brokerside.tune(2047, broker.frame_max, broker.heartbeat))
                else:
                    broker.on_login(self)
            case commands.Connection.Open():
                broker.on_open(self)
            case commands.Connection.Close():
                self.send(brokerside.close_ok())
            case commands.Channel.Open():
                self.tags[channel] = 0
                if broker.open_channels:
                    broker.on_open_channel(self, channel)
            case commands.Channel.Close():
                broker.on_close_channel(self, channel)
            case commands.Confirm.Select():
                if broker.open_channels:
                    broker.on_select(self, channel)
            case commands.Basic.Publish():
                self._content[channel] = [value, 0, b""]
            case header.ContentHeader():
                self._content[channel][1] = value.body_size
                self._complete(channel)
            case ContentBody():
                self._content[channel][2] += value.value
                self._complete(channel)

    def _complete(self, channel):
        _, size, body = self._content[channel]
        if len(body) == size:
            self.tags[channel] += 1
            self.broker.published.append(body)
            self.broker.on_publish(self, channel, self.tags[channel], body)
