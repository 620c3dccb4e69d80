"""A backend from its first answer to its orderly stop, on real sockets, in one loop."""

import asyncio
import contextlib
import json
import logging
import socket

import msgspec
import pytest
import uvloop
from edge import AUTH, FORM, Client, post, provided
from fakebroker import FakeBroker
from outcomes import NDJSON, chunked, item, lines

from statelessd.config.settings import Application, Config, HTTPServer, RabbitMQ
from statelessd.process.backend import Backend
from statelessd.telemetry.scoreboard import HALF, Scoreboard

PATIENT = AUTH + FORM + b"Prefer: wait=60\r\n"
STATS = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"


class Running:
    """A backend that serves, against a broker that the test plays."""

    def __init__(self, backend, broker, port, serving):
        self.backend, self.broker, self.port, self.serving = backend, broker, port, serving
        self.clients = []

    async def connect(self):
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.002)

    async def ended(self):
        async with asyncio.timeout(30):
            await self.serving

    async def refuses(self):
        try:
            await self.connect()
        except ConnectionRefusedError:
            return True
        return False


@contextlib.asynccontextmanager
async def running(**settings):
    broker = FakeBroker()
    async with broker:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = Config(
            application=Application(rabbitmq=RabbitMQ(host="127.0.0.1", port=broker.port)),
            http_server=HTTPServer(**settings),
        )
        backend = Backend(config, [listener], port, asyncio.get_running_loop())
        it = Running(backend, broker, port, asyncio.create_task(backend.serve()))
        try:
            yield it
        finally:
            # Whatever the test came to, nothing of it may be left.
            for client in it.clients:
                client.writer.transport.abort()
            backend.stop()
            backend.stop()
            await it.ended()


@pytest.fixture(autouse=True)
def logged(caplog):
    caplog.set_level(logging.INFO, "statelessd")


def backend_test(**settings):
    return provided("it", lambda: running(**settings), uvloop.new_event_loop)


@backend_test()
async def test_too_many_logins_for_the_scoreboard_do_not_freeze_its_counters(it, caplog):
    gateway, monitoring = it.backend.gateway, it.backend.monitoring
    monitoring.scoreboard = Scoreboard.make()
    long = {f"v:{n:0250}": {"publishes": 1} for n in range(HALF // 250)}
    gateway.publisher.connection_statistics = lambda: long
    client = await it.connect()
    client.send(post())
    assert (await client.answer()).status == 204

    def counted():
        living = [each for page in monitoring.pages() for each in page.living]
        stats = [msgspec.msgpack.decode(each.documents["stats"]) for each in living]
        return [each["requests"].get("response.204") for each in stats]

    await it.until(lambda: counted() == [1])
    client.send(post())
    await client.answer()
    await it.until(lambda: counted() == [2])
    assert caplog.text.count("too many logins") == 1


@backend_test(drain_timeout=1.0)
async def test_what_is_not_settled_in_time_is_told_the_truth(it, caplog):
    it.broker.on_publish = lambda *publish: None
    client = await it.connect()
    client.send(post(headers=PATIENT))
    await it.until(lambda: it.broker.published)
    it.backend.stop()
    answer = await client.answer()
    assert (answer.status, answer.problem) == (504, "unconfirmed")
    await it.ended()


@backend_test()
async def test_a_second_stop_hurries(it, caplog):
    it.broker.accept = False
    client = await it.connect()
    client.send(post(headers=PATIENT))
    await it.until(lambda: any(c.has_pending for c in it.backend.connections))
    it.backend.stop()
    it.backend.stop()
    answer = await client.answer()
    assert (answer.status, answer.problem) == (503, "shutting-down")
    await it.ended()


@backend_test(header_timeout=0.05)
async def test_clients_that_say_nothing_are_let_go(it, caplog):
    client = await it.connect()
    assert await client.at_end()


def _begun_stream(*items):
    head = b"POST /v/e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    return head + AUTH + NDJSON + b"Prefer: wait=60\r\n\r\n" + chunked(lines(items), end=False)


@backend_test()
async def test_a_stream_under_way_ends_with_its_summary(it, caplog):
    client = await it.connect()
    client.send(_begun_stream(item(0), item(1)))
    await it.until(lambda: len(it.broker.published) == 2)
    it.backend.stop()
    document = json.loads((await client.answer()).body)
    assert (document["published"], document["failed"], document["unknown"]) == (2, 0, 0)
    assert document["error"]["type"] == "/docs#shutting-down"
    assert await client.at_end()
    await it.ended()
    assert not [r for r in caplog.records if r.levelno > logging.INFO]


@backend_test(drain_timeout=1.5)
async def test_a_batch_that_is_not_settled_in_time_is_told_the_truth(it, caplog):
    it.broker.on_publish = lambda *_: None
    client = await it.connect()
    client.send(_begun_stream(item(0), item(1)))
    await it.until(lambda: it.broker.published)
    it.backend.stop()
    document = json.loads((await client.answer()).body)
    # On a slow machine the first one counts as stuck by now, and the second one is sent too.
    second = "unknown" if b"m1" in it.broker.published else "not-published"
    assert [f["outcome"] for f in document["failures"]] == ["unknown", second]
    assert document["published"] == 0
    await it.ended()
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


@backend_test()
async def test_a_second_stop_hurries_a_batch_too(it, caplog):
    it.broker.on_publish = lambda *_: None
    client = await it.connect()
    client.send(_begun_stream(item(0)))
    await it.until(lambda: it.broker.published)
    it.backend.stop()
    it.backend.stop()
    await it.ended()
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


@backend_test()
async def test_it_knows_that_it_listens_on_loopback(it):
    """So a page that reaches it by DNS rebinding may not publish, whoever its user is."""
    client = await it.connect()
    request = post(headers=b"Authorization: Basic dTpw\r\nOrigin: http://evil\r\n" + FORM)
    client.send(request.replace(b"Host: x", b"Host: evil"))
    assert (await client.answer()).problem == "cross-site"
