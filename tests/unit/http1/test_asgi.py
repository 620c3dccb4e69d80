"""The bridge to an ASGI application, whatever the application does."""

import asyncio
import logging

import pytest
from hosting import GET, hosting

OLD = b"GET / HTTP/1.0\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


def start(*headers, status=200):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(size):
    return (b"content-length", b"%d" % size)


def saying(*events):
    async def application(scope, receive, send):
        for event in events:
            if isinstance(event, Exception):
                raise event
            await send(event)

    return application


class TestResponses:
    @hosting(saying(start(length(5), (b"X-Y", b"z")), body(b"he", more=True), body(b"llo")))
    async def test_with_a_length_it_is_sent_as_it_is(self, host):
        client = await host.connect()
        client.send(GET * 2)
        for _ in range(2):
            answer = await client.answer()
            assert (answer.status, answer.body, answer.headers["x-y"]) == (200, b"hello", "z")
            assert answer.headers["date"].endswith("gmt")
            assert "connection" not in answer.headers

    @hosting(
        saying(
            start(),
            body(b"hel", more=True),
            body(more=True),
            body(b"lo"),
        )
    )
    async def test_without_one_it_is_in_chunks(self, host):
        client = await host.connect()
        client.send(GET * 2)
        for _ in range(2):
            answer = await client.answer()
            assert answer.headers["transfer-encoding"] == "chunked"
            assert await client.reader.readuntil(b"0\r\n\r\n") == (
                b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
            )

    @hosting(saying(start(), body(b"hel", more=True), body(b"lo")))
    async def test_to_http_1_0_its_end_is_that_of_the_connection(self, host):
        client = await host.connect()
        client.send(OLD)
        answer = await client.answer()
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["connection"] == "close"
        assert await client.reader.read() == b"hello"

    @pytest.mark.parametrize("status", [204, 304])
    def test_some_have_no_body(self, status):
        @hosting(saying(start(status=status), body()))
        async def check(host):
            client = await host.connect()
            client.send(GET * 2)
            for _ in range(2):
                answer = await client.answer()
                assert (answer.status, "transfer-encoding" in answer.headers) == (status, False)

        check()

    @hosting(saying(start(length(5)), body(b"hello")))
    async def test_to_head_the_body_is_left_out(self, host):
        client = await host.connect()
        client.send(HEAD + GET)
        assert (await client.answer(head_only=True)).headers["content-length"] == "5"
        assert (await client.answer()).body == b"hello"

    @hosting(saying(start(length(0), (b"connection", b"close")), body()))
    async def test_an_application_may_end_the_connection(self, host):
        client = await host.connect()
        client.send(GET * 2)
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.at_end()


BAD_FIELDS = [(b"a b", b"c"), (b"", b"c"), (b"a", b"b\r\nc: d"), (b"a", b"b\0")]


class TestFaults:
    @pytest.mark.parametrize(
        "events",
        [
            [],
            [RuntimeError("secret")],
            [body(b"x")],
            *([start(field), body()] for field in BAD_FIELDS),
        ],
    )
    def test_before_its_response_the_client_is_told(self, events, caplog):
        @hosting(saying(*events))
        async def check(host):
            client = await host.connect()
            client.send(GET)
            assert (await client.answer()).status == 500
            assert await client.at_end()

        check()
        assert "the application failed" in caplog.text or not events

    @pytest.mark.parametrize(
        "events",
        [
            [start(length(5))],
            [start(length(5)), body(b"he", more=True)],
            [start(length(5)), body(b"he", more=True), RuntimeError("secret")],
            [start(length(5)), body(b"he")],
            [start(length(1)), body(b"he")],
            [start(length(5)), start()],
            [start()],
        ],
    )
    def test_within_it_the_connection_breaks_off(self, events, caplog):
        @hosting(saying(*events))
        async def check(host):
            client = await host.connect()
            client.send(GET * 2)
            head, rest = (await client.reader.read()).split(b"\r\n\r\n", 1)
            assert head.startswith(b"HTTP/1.1 200")
            assert rest in (b"", b"he", b"2\r\nhe\r\n")

        check()
        assert "did not end its response" in caplog.text

    @hosting(saying(start(length(0)), body(), body(b"more")))
    async def test_after_it_nothing_more_is_sent(self, host):
        client = await host.connect()
        client.send(GET + HEAD)
        assert [(await client.answer()).body for _ in range(2)] == [b""] * 2


class Recorder:
    """An application that answers when it is let, and keeps what it was told."""

    def __init__(self, reads=None):
        self.told, self.reads = [], reads
        self.go = asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.told.append(scope)
        while self.reads is None or len(self.told) <= self.reads:
            self.told.append(await receive())
            if self.told[-1]["type"] == "http.disconnect" or not self.told[-1]["more_body"]:
                break
        await self.go.wait()
        await send(start(length(0)))
        await send(body())


class TestRequests:
    @hosting()
    async def test_the_scope_says_what_was_asked(self, host):
        host.application = application = Recorder()
        application.go.set()
        await host.ask(b"PUT /a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n\r\n")
        scope = application.told[0]
        assert (scope["method"], scope["path"], scope["raw_path"]) == ("PUT", "/a b", b"/a%20b")
        assert (scope["query_string"], scope["http_version"]) == (b"c=d", "1.1")
        assert scope["headers"] == [(b"host", b"x"), (b"x-y", b"z")]
        assert scope["client"][0] == scope["server"][0] == "127.0.0.1"

    @hosting()
    async def test_the_body_comes_in_pieces(self, host):
        host.application = application = Recorder()
        client = await host.connect()
        client.send(POST + b"he")
        await host.until(lambda: len(application.told) == 2)
        client.send(b"llo" + GET)
        await host.until(lambda: len(application.told) == 3)
        assert [(e["body"], e["more_body"]) for e in application.told[1:]] == [
            (b"he", True), (b"llo", False)
        ]  # fmt: skip
        application.go.set()
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]

    @hosting()
    async def test_it_learns_that_the_client_is_gone(self, host):
        host.application = application = Recorder()
        client = await host.connect()
        client.send(POST + b"he")
        await host.until(lambda: len(application.told) == 2)
        client.writer.transport.abort()
        await host.until(lambda: application.told[-1]["type"] == "http.disconnect")
        application.go.set()

    @hosting(body_timeout=0.0)
    async def test_a_body_that_stalls_is_a_refusal_and_a_disconnect(self, host):
        host.application = application = Recorder()
        client = await host.connect()
        client.send(POST + b"he")
        await host.until(lambda: host.shared.check_timeouts() or len(application.told) == 3)
        assert application.told[-1]["type"] == "http.disconnect"
        application.go.set()
        assert (await client.answer()).status == 500
        assert await client.at_end()

    @hosting()
    async def test_100_continue_is_sent_when_the_body_is_asked_for(self, host):
        host.application = application = Recorder()
        application.go.set()
        client = await host.connect()
        client.send(POST.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
        assert (await client.answer()).status == 100
        client.send(b"hello")
        assert (await client.answer()).status == 200

    @hosting()
    async def test_100_continue_comes_before_a_response_that_begins_before_the_body(self, host):
        async def echo(scope, receive, send):
            scope["state"]["cut"] = lambda _: None
            await send(start(length(5)))
            event = await receive()
            await send(body(event["body"]))

        host.application = echo
        client = await host.connect()
        client.send(POST.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
        assert (await client.answer()).status == 100
        client.send(b"hello")
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"hello")

    @hosting()
    async def test_who_was_not_asked_for_its_body_cannot_go_on(self, host):
        host.application = application = Recorder(reads=0)
        application.go.set()
        client = await host.connect()
        client.send(POST.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.at_end()

    @hosting(max_body_bytes=10_000_000)
    async def test_nothing_more_is_read_than_the_application_asks_for(self, host):
        host.application = application = Recorder(reads=0)
        client = await host.connect()
        client.send(POST.replace(b": 5", b": 9000000") + b"x" * 9_000_000)
        await host.until(lambda: any(each.flow.read_paused for each in host.shared.connections))
        assert host.shared.places.received < 1_000_000
        application.go.set()
        client.send(GET)
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]


class Counting:
    """Counts the turns of the event loop, and knows in which each request began."""

    def __init__(self):
        self.turn, self.begun = 0, []

    def count(self):
        self.turn += 1
        asyncio.get_running_loop().call_soon(self.count)

    async def __call__(self, scope, receive, send):
        self.begun.append(self.turn)
        await saying(start(length(0)), body())(scope, receive, send)


@hosting()
async def test_one_request_begins_in_each_turn_of_the_loop(host):
    host.application = counting = Counting()
    clients = [await host.connect() for _ in range(20)]
    counting.count()
    for client in clients:
        client.send(GET)
    for client in clients:
        assert (await client.answer()).status == 200
    assert len(set(counting.begun)) == 20


class TestBackPressure:
    @hosting()
    async def test_an_application_waits_for_a_client_that_does_not_read(self, host):
        sent = []

        async def flood(scope, receive, send):
            await send(start())
            for number in range(300):
                await send(body(b"x" * 100_000, more=True))
                sent.append(number)
            await send(body())

        host.application = flood
        client = await host.connect()
        client.writer.transport.pause_reading()
        client.send(GET)
        await host.until(lambda: any(each.flow.write_paused for each in host.shared.connections))
        before = len(sent)
        await asyncio.sleep(0)
        assert before < 300
        client.writer.transport.resume_reading()
        data = b""
        async with asyncio.timeout(60):
            while not data.endswith(b"\r\n0\r\n\r\n"):
                data = data[-7:] + await client.reader.read(1_000_000)
        assert len(sent) == 300


def test_a_fault_is_logged_once(caplog):
    caplog.set_level(logging.ERROR)

    @hosting(saying(RuntimeError("why")))
    async def check(host):
        await host.ask()

    check()
    assert caplog.text.count("RuntimeError: why") == 1
