"""A backend from its first answer to its orderly stop, on real sockets, in one loop."""

import asyncio
import contextlib
import errno
import json
import logging
import socket
import time

import msgspec
import pytest
import uvloop
from edge import AUTH, FORM, Client, post, provided
from fakebroker import FakeBroker
from outcomes import NDJSON, chunked, item, lines

from statelessd.config.settings import Application, Config, HTTPServer, RabbitMQ
from statelessd.process import backend
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
    gateway.publisher.connection_statistics = lambda _: long
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


class Faulty:
    """Raises the error for as long as there is one, and then does what it stands for."""

    def __init__(self, work, error):
        self.work, self.error, self.calls = work, error, 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.work(*arguments)


@pytest.mark.parametrize(
    "error", [KeyError("x"), OSError(errno.EMFILE, "Too many open files"), BufferError()]
)
@backend_test()
async def test_reports_recover_from_any_exception(it, caplog, error):
    monitoring, publisher = it.backend.monitoring, it.backend.gateway.publisher
    before = [each.time for page in monitoring.pages() for each in page.living]
    faulty = publisher.figures = Faulty(publisher.figures, error)
    await it.until(lambda: faulty.calls >= 2)
    assert caplog.text.count("writing figures to the scoreboard failed") == 1
    assert ("Traceback" in caplog.text) is not isinstance(error, OSError)
    faulty.error = None
    after = lambda: [each.time for page in monitoring.pages() for each in page.living]  # noqa: E731
    await it.until(lambda: after() > before)


@backend_test()
async def test_what_a_failed_report_left_out_is_in_the_next_one(it, caplog):
    monitoring = it.backend.monitoring
    client = await it.connect()
    client.send(post())
    assert (await client.answer()).status == 204
    faulty = monitoring.scoreboard.record = Faulty(monitoring.scoreboard.record, None)
    statm = monitoring.process.finish_second = Faulty(
        monitoring.process.finish_second, OSError(errno.EMFILE, "Too many open files")
    )
    client.send(post())
    assert (await client.answer()).status == 204
    await it.until(lambda: statm.calls >= 2)
    statm.error = None
    await it.until(lambda: faulty.calls)
    now = int(time.time())
    known = monitoring.scoreboard.history(it.port, now - 60, now + 1)
    published = [s.counts.get("published", {}) for samples in known.values() for s in samples]
    assert sum(each.get("", 0) * 1 for each in published) == 2


class Broken:
    """A connection that cannot be checked."""

    has_asked = has_pending = aborted = False

    def check_timeouts(self, now):
        raise TypeError("argument must be an int, or have a fileno() method")

    def abort(self):
        self.aborted = True


@backend_test(header_timeout=0.05)
async def test_one_clients_exception_does_not_end_the_time_outs_of_the_others(it, caplog):
    broken = Broken()
    it.backend.connections.add(broken)
    good = await it.connect()
    assert await good.at_end()
    await it.until(lambda: broken.aborted)
    it.backend.connections.discard(broken)
    assert caplog.text.count("checking the time-outs of a client failed") == 1


@pytest.mark.parametrize("pipelined", [1, 2, 5000])
@backend_test()
async def test_a_transport_that_has_lost_its_socket_ends_no_sweep(it, caplog, pipelined):
    it.broker.accept = False
    client = await it.connect()
    client.send(post(headers=PATIENT) * pipelined)
    await it.until(lambda: any(c.has_pending for c in it.backend.connections))
    # As uvloop leaves it with TLS, between a reset and the report of the loss.
    [connection] = it.backend.connections
    connection.transport = Bare(connection.transport)
    now = asyncio.get_running_loop().time()
    for seconds in (0, 1, 100):
        connection.check_timeouts(now + seconds)
    assert connection.addresses() == (None, None)
    connection.eof_received()
    connection.shutdown()
    assert not caplog.records or "Traceback" not in caplog.text


class Bare:
    """A transport that has lost its socket."""

    def __init__(self, transport):
        self.transport = transport

    def get_extra_info(self, name, default=None):
        return default

    def __getattr__(self, name):
        return getattr(self.transport, name)


@pytest.fixture
def much_time_to_answer(monkeypatch):
    """With the half second of the product a busy machine may end a connection unanswered."""
    monkeypatch.setattr(backend, "LAST_WORD", 19.0)


@pytest.mark.usefixtures("much_time_to_answer")
@backend_test(drain_timeout=20.0)
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
    [line] = [r.getMessage() for r in caplog.records if r.levelno > logging.INFO]
    assert line.startswith("503 shutting-down request_id=")


@pytest.mark.usefixtures("much_time_to_answer")
@backend_test(drain_timeout=20.0)
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
