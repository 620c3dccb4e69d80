"""A TCP proxy between gateway and broker that cuts, stalls, delays and half-closes."""

import asyncio
import contextlib
import functools
import socket
import threading

CHUNK = 64 * 1024


class Direction:
    """The state of the bytes that flow one way."""

    def __init__(self):
        self.open = asyncio.Event()
        self.open.set()
        self.delay = 0.0  # seconds for each chunk
        self.latency = 0.0  # seconds that each byte is under way, however many there are


class Link:
    """One proxied connection."""

    def __init__(self, gateway, broker):
        self.gateway = gateway  # (reader, writer)
        self.broker = broker
        self.swallows = False  # it reads, and passes nothing on

    async def pump(self, source, sink, direction):
        loop = asyncio.get_running_loop()
        # RuntimeError: the sink was half-closed, and what comes for it is lost.
        with contextlib.suppress(OSError, RuntimeError):
            while data := await source[0].read(CHUNK):
                if self.swallows:
                    continue
                if direction.latency:
                    loop.call_later(direction.latency, sink[1].write, data)
                    continue
                if direction.delay:
                    await asyncio.sleep(direction.delay)
                await direction.open.wait()
                sink[1].write(data)
                await sink[1].drain()
            await direction.open.wait()
            if not self.swallows:
                sink[1].write_eof()

    def reset(self):
        """Send an RST to both sides; bytes that are under way are lost."""
        for _, writer in (self.gateway, self.broker):
            transport = writer.transport
            with contextlib.suppress(OSError):
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, 0 s: see socket(7)
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
            transport.abort()


def _in_the_loop(method):
    """Let the proxy's thread run the method, whichever thread calls it."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        async def run():
            method(self, *args, **kwargs)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    return call


class Proxy:
    """Listens on ``port``; its methods may be called from any thread.

    ``most``: the connections that it has had at once.
    """

    def __init__(self, host, port):
        self.most = 0
        self._upstream = host, port
        self._links = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._to_broker, self._to_gateway = Direction(), Direction()

    def __enter__(self):
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        self.host, self.port = self._server.sockets[0].getsockname()
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, *gateway):
        try:
            broker = await asyncio.open_connection(*self._upstream)
        except OSError:
            gateway[1].transport.abort()
            return
        link = Link(gateway, broker)
        self._links.add(link)
        self.most = max(self.most, sum(not each.gateway[1].is_closing() for each in self._links))
        try:
            await asyncio.gather(
                link.pump(gateway, broker, self._to_broker),
                link.pump(broker, gateway, self._to_gateway),
            )
        finally:
            self._links.discard(link)
            for _, writer in (gateway, broker):
                writer.close()

    async def _stop(self):
        self._server.close()
        for direction in (self._to_broker, self._to_gateway):
            direction.open.set()
        for link in list(self._links):
            link.reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    @_in_the_loop
    def cut(self):
        """Reset every connection."""
        for link in list(self._links):
            link.reset()

    @_in_the_loop
    def stall(self, *, to_broker=True, to_gateway=True):
        """Let nothing through, in one direction or both, until ``resume``."""
        if to_broker:
            self._to_broker.open.clear()
        if to_gateway:
            self._to_gateway.open.clear()

    @_in_the_loop
    def resume(self):
        """Let through what was stalled."""
        for direction in (self._to_broker, self._to_gateway):
            direction.open.set()

    @_in_the_loop
    def delay(self, seconds):
        """Hold each chunk back for so long, both ways; 0 ends it."""
        self._to_broker.delay = self._to_gateway.delay = seconds

    @_in_the_loop
    def lag(self, seconds):
        """Let what the broker says arrive so much later; it must not end while bytes come."""
        self._to_gateway.latency = seconds

    @_in_the_loop
    def swallow(self):
        """Pass on nothing more of the connections there are; new ones are served."""
        for link in self._links:
            link.swallows = True

    @_in_the_loop
    def half_close(self, *, towards_gateway):
        """Say on every connection that nothing more comes from the other side."""
        for link in list(self._links):
            with contextlib.suppress(OSError):
                (link.gateway if towards_gateway else link.broker)[1].write_eof()
