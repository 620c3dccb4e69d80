"""The HTTP edge on a real socket, with a publisher that the test plays."""

import asyncio
import functools
import inspect
import json

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from statelessd.broker.figures import BrokerFigures, BrokerState, BrokerStatus
from statelessd.broker.pending import Publish as Published
from statelessd.broker.pending import Tally
from statelessd.config.hosts import Host
from statelessd.config.settings import HTTPServer, Paths, Publish
from statelessd.config.webhook_files import read_files
from statelessd.gateway.client_handler import share
from statelessd.gateway.gateway import Gateway
from statelessd.gateway.tracing import Tracer
from statelessd.gateway.webhook import WebhookEndpoints
from statelessd.http1.asgi import Bridge
from statelessd.http1.connection import Connection
from statelessd.message import Outcome
from statelessd.pages.app import Application, build_router
from statelessd.pages.monitoring import Monitoring
from statelessd.telemetry.histogram import FineHistogram

AUTH = b"Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
NO_PATHS = Paths()
PATIENCE = 120  # seconds: a busy machine may take any time below that


def post(body=b"body=hi", path=b"/v/e/k", headers=AUTH + FORM, version=b"1.1"):
    return (
        b"POST %b HTTP/%b\r\nHost: x\r\n" % (path, version)
        + headers
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


class FakePublisher:
    """Settles at once, unless ``hold`` is set; then the test settles what is in ``held``."""

    def __init__(self):
        self.outcome = (Outcome.CONFIRMED, "")
        self.hold = False
        self.held = []
        self.published = []
        self.headers = []  # the encoded property lists of what was published
        self.credentials = []
        self.senders = []  # their addresses
        self.known = True  # whether the broker has let the senders in
        self.cancelled = []
        self.deadlines = []
        self.broker = BrokerState(BrokerStatus.UNUSED)
        self.reserved = 0
        self.forget = False  # the bodies of what was published
        self.room = 10**9
        self.confirms = FineHistogram()
        self.in_flight_per_login = self.max_connections = 2000

    def publish(self, virtual_host, credentials, message, deadline, settled, sender):
        body = b"" if self.forget else message.body
        self.published.append((virtual_host, message.exchange, message.routing_key, body))
        self.headers.append(message.header)
        self.credentials.append(credentials)
        self.senders.append(sender.address())
        self.deadlines.append(deadline - asyncio.get_running_loop().time())
        publish = Published(virtual_host, message, deadline, settled, Tally())
        if self.hold:
            self.held.append((publish, settled))
        else:
            message.body = b""  # as a real one does
            settled(*self.outcome)
        return publish

    def settle(self, outcome=Outcome.CONFIRMED):
        self.held.pop(0)[1](outcome, "")

    def is_connected(self, virtual_host, credentials):
        return self.known

    def cancel(self, publish):
        self.cancelled.append(publish)

    def take(self, size):
        if self.reserved + size > self.room:
            return False
        self.reserved += size
        return True

    def give_back(self, size):
        self.reserved -= size

    def connection_statistics(self, logins=None):
        return {}

    def logins(self, backend):
        return []

    def figures(self):
        return BrokerFigures(
            published=len(self.published), in_flight=len(self.held), confirms=self.confirms
        )

    def start_probe(self):
        pass

    def broker_state(self):
        return self.broker

    async def ask_broker(self):
        return self.broker


class Counting:
    """The handler of a connection, which counts the heads that were parsed."""

    def __init__(self, edge, handler):
        self._edge = edge
        self._handler = handler

    def on_head(self, request, response):
        self._edge.parsed += 1
        return self._handler.on_head(request, response)

    def __getattr__(self, name):
        return getattr(self._handler, name)


class Edge:
    def __init__(
        self,
        routes=(),
        publish=None,
        paths=NO_PATHS,
        access_log=0,
        strict=False,
        on_loopback=True,
        webhooks=(),
        tracing=None,
        **settings,
    ):
        self.loop = asyncio.get_running_loop()
        self.publisher = FakePublisher()
        endpoints = WebhookEndpoints.of(webhooks, read_files(webhooks))
        self.gateway = Gateway(
            HTTPServer(**{"hosts": ("x",), **settings}),  # the Host of ``post``
            publish or Publish(),
            port=1,
            publisher=self.publisher,
            router=build_router(routes, paths, endpoints),
            loop=self.loop,
            access_log=access_log,
            strict_origins=strict,
            on_loopback=on_loopback,
            tracer=self._tracer(tracing),
        )
        self.monitoring = Monitoring(self.gateway)
        self.parsed = 0  # heads that were not known by their bytes
        pages = Bridge(Application(self.monitoring, paths))
        self.tasks = pages.tasks
        self.shared = share(self.gateway, pages)
        make_handler = self.shared.make_handler
        self.shared.make_handler = lambda connection: Counting(self, make_handler(connection))

    def _tracer(self, tracing):
        self.exporter = InMemorySpanExporter()
        if tracing is None:
            return None
        return Tracer(tracing, [Host("rabbit.example", 5672)], self.loop, self.exporter)

    async def spans(self):
        """Return all spans that have ended. There are no further ones."""
        await self.gateway.tracer.close(30)
        return self.exporter.get_finished_spans()

    async def __aenter__(self):
        self.server = await self.loop.create_server(self.new_connection, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.clients = []
        return self

    def new_connection(self):
        return Connection(self.shared)

    @property
    def connections(self):
        return self.shared.connections

    def is_doing(self, what):
        """Return whether a connection says so of itself."""
        return any(what in repr(connection) for connection in self.connections)

    async def __aexit__(self, *_):
        for client in self.clients:
            client.writer.transport.abort()
        self.server.close()
        if self.gateway.tracer is not None:
            await self.gateway.tracer.close(30)
        # A page may still close the file that its client has read to the end.
        await self.until(lambda: not self.connections and not self.tasks)

    async def connect(self):
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def ask(self, data, step=None):
        """Send on a new connection; the first answer."""
        client = await self.connect()
        client.send(data, step)
        return await client.answer()

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.002)

    def sweep(self, seconds):
        """What the sweeper would do at two moments so far apart."""
        now = self.loop.time()
        for connection in list(self.connections):
            connection.check_timeouts(now)
            connection.check_timeouts(now + seconds)


class Answer:
    def __init__(self, head, body):
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = [tuple(line.lower().split(": ", 1)) for line in lines[1:] if line]
        self.headers = dict(self.fields)
        self.body = body

    @property
    def problem(self):
        return json.loads(self.body)["type"].removeprefix("/docs#")


class Client:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, data, step=None):
        for i in range(0, len(data), step or len(data) or 1):
            self.writer.write(data[i : i + (step or len(data))])

    async def send_slowly(self, data):
        """Byte by byte, in reads of their own."""
        for i in range(len(data)):
            self.writer.write(data[i : i + 1])
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self, head_only=False):
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            answer = Answer(head[:-4], b"")
            if not head_only:
                length = int(answer.headers.get("content-length", 0))
                answer.body = await self.reader.readexactly(length)
            return answer

    async def at_end(self):
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return False


def provided(name, make, loop_factory=None):
    """Run the test within ``make()``; what that yields is the test's argument ``name``."""

    def decorate(test):
        @functools.wraps(test)
        def run(*args, **kwargs):
            async def main():
                async with make() as made:
                    await test(*args, **{name: made}, **kwargs)

            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())

        signature = inspect.signature(test)
        wanted = [each for each in signature.parameters.values() if each.name != name]
        run.__signature__ = signature.replace(parameters=wanted)  # type: ignore[attr-defined]
        return run

    return decorate


def edge_test(**settings):
    return provided("edge", lambda: Edge(**settings))
