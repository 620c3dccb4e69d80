"""A server of ``http1`` alone, with an ASGI application that the test gives it."""

import asyncio
import contextlib
import socket

from edge import Client, Edge, provided

from statelessd.http1.asgi import Bridge
from statelessd.http1.limits import Limits
from statelessd.http1.server import Server
from statelessd.http1.shared import Shared

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Handler:
    """Gives every request to the application; what it cannot answer is a bare refusal."""

    def __init__(self, bridge):
        self.bridge = bridge

    def shortcut(self, data):
        return False

    def on_head(self, request, response):
        return self.bridge.begin(request, response, self, {})

    def on_idle(self):
        pass

    def on_refused(self, response, error, url, headers=None):
        start = b"HTTP/1.1 500 " + error.outcome.value.encode()
        response.end(start + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", False)


class Hosted:
    """A running server, and the clients that the test has connected to it."""

    def __init__(self, server, shared, address):
        self.server, self.shared, self.address = server, shared, address
        self.clients = []
        self.application = None  # instead of the one that it was started with

    async def connect(self, **options):
        if isinstance(self.address, str):
            streams = await asyncio.open_unix_connection(self.address)
        else:
            streams = await asyncio.open_connection(*self.address, **options)
        self.clients.append(Client(*streams))
        return self.clients[-1]

    async def ask(self, data=GET):
        client = await self.connect()
        client.send(data)
        return await client.answer()

    until = Edge.until


@contextlib.asynccontextmanager
async def hosted(application, listener=None, context=None, **limits):
    """Serve ``application`` on ``listener``, or on a port of its own."""
    loop = asyncio.get_running_loop()

    async def current(*arguments):
        await (host.application or application)(*arguments)

    bridge = Bridge(current)
    shared = Shared(Limits(**limits), lambda _: Handler(bridge), loop)
    server = Server(shared, bridge.tasks)
    listener = listener or socket.create_server(("127.0.0.1", 0))
    host = Hosted(server, shared, listener.getsockname())
    await server.start([listener], context)
    try:
        yield host
    finally:
        for client in host.clients:
            client.writer.transport.abort()
        server.hurry()
        await server.finish(0)
        # A client that hung up while its response was due is noticed by a look at its socket.
        await host.until(
            lambda: shared.check_timeouts() or not (shared.connections or bridge.tasks)
        )


def hosting(application=None, **settings):
    """Run the test with a server of ``application``."""
    return provided("host", lambda: hosted(application, **settings))
