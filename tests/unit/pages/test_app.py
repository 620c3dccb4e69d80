"""Whatever is not a publish: pages, files, and a user's own classes."""

import asyncio
import json
import sys
import types

import pytest
from edge import edge_test
from starlette.responses import PlainTextResponse
from waiting import open_files

from statelessd.config.settings import Paths, Route
from statelessd.pages.app import build_router


def get(path=b"/", method=b"GET", headers=b""):
    return method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"


class Echo:
    """What a configuration may name: called as Starlette calls an endpoint."""

    def __init__(self, scope, receive, send):
        self.scope, self.receive, self.send = scope, receive, send

    def __await__(self):
        return self.answer().__await__()

    async def answer(self):
        body = b""
        while True:
            event = await self.receive()
            if event["type"] != "http.request":
                return
            body += event["body"]
            if not event["more_body"]:
                break
        await PlainTextResponse(body)(self.scope, self.receive, self.send)


class Slow(Echo):
    """Answers in two parts; the second waits until it is let go."""

    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(self):
        headers = [(b"content-length", b"5")]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        self.begun.set()
        await self.go.wait()
        await self.send({"type": "http.response.body", "body": b"slow!"})


class Broken(Echo):
    async def answer(self):
        raise RuntimeError("secret reason")


@pytest.fixture(autouse=True)
def own_module(monkeypatch):
    module = types.ModuleType("own_pages")
    vars(module).update(Echo=Echo, Slow=Slow, Broken=Broken)
    monkeypatch.setitem(sys.modules, "own_pages", module)


OWN = [
    Route("/echo", "own_pages.Echo"),
    Route("/slow", "own_pages.Slow"),
    Route("/broken", "own_pages.Broken"),
]


class TestErrors:
    @edge_test()
    async def test_an_unknown_path_is_a_problem_document(self, edge):
        client = await edge.connect()
        for method in (b"GET", b"POST"):
            client.send(get(b"/nothing", method))
            answer = await client.answer()
            assert (answer.status, answer.problem) == (404, "not-found")
            assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize("path", [b"/", b"/stats", b"/static/statelessd.css"])
    @edge_test()
    async def test_pages_can_only_be_read(self, edge, path):
        answer = await edge.ask(get(path, b"DELETE"))
        assert (answer.status, answer.problem) == (405, "method-not-allowed")
        assert answer.headers["allow"] == "get, head, options"

    @edge_test(routes=OWN)
    async def test_a_page_that_fails_is_a_500_that_tells_nothing(self, edge, caplog):
        answer = await edge.ask(get(b"/broken"))
        assert (answer.status, answer.problem) == (500, "internal-error")
        assert b"secret" not in answer.body
        assert "secret reason" in caplog.text


class TestOwnPages:
    @edge_test(routes=OWN)
    async def test_a_class_of_ones_own_answers(self, edge):
        answer = await edge.ask(get(b"/echo", b"POST")[:-2] + b"Content-Length: 5\r\n\r\nhello")
        assert (answer.status, answer.body) == (200, b"hello")

    @edge_test(routes=OWN)
    async def test_its_body_may_take_long_but_must_go_on(self, edge):
        client = await edge.connect()
        client.send(get(b"/echo", b"POST")[:-2] + b"Content-Length: 3\r\n\r\na")
        await edge.until(lambda: edge.is_doing("reading body"))
        [connection] = edge.connections
        now = edge.loop.time()
        connection.check_timeouts(now)
        progress = connection.progress
        client.send(b"b")
        await edge.until(lambda: connection.progress != progress)
        connection.check_timeouts(now + 10.1)
        connection.check_timeouts(now + 20.3)
        answer = await client.answer()
        assert (answer.status, answer.problem) == (408, "request-timeout")
        assert await client.at_end()
        await edge.until(lambda: not edge.tasks)

    @edge_test(routes=OWN)
    async def test_its_answer_is_left_alone_when_the_client_closes_its_half(self, edge):
        client = await edge.connect()
        client.send(get(b"/slow"))
        async with asyncio.timeout(30):
            await Slow.begun.wait()
        client.writer.write_eof()
        await edge.until(lambda: edge.is_doing("half-closed"))
        Slow.go.set()
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"slow!")
        assert await client.at_end()

    @edge_test(routes=[Route("/stats", "own_pages.Echo")])
    async def test_the_first_route_wins_and_unnamed_pages_are_gone(self, edge):
        assert (await edge.ask(get(b"/stats"))).body == b""
        assert (await edge.ask(get(b"/"))).status == 404


class TestFiles:
    @pytest.mark.parametrize("path", [b"/static/../backend.py", b"/static/%2e%2e/backend.py",
                                      b"/static/..%2fbackend.py", b"/static//etc/passwd",
                                      b"/static/none", b"/static/%00"])  # fmt: skip
    @edge_test()
    async def test_nothing_beside_them_is(self, edge, path, caplog):
        answer = await edge.ask(get(path))
        assert (answer.status, answer.problem) == (404, "not-found")
        assert not caplog.records

    @pytest.mark.parametrize("unit", [b"a/", b"../", b"..%2f"])
    @edge_test()
    async def test_a_long_path_is_not_looked_up(self, edge, unit, monkeypatch):
        looked_up = []
        monkeypatch.setattr("os.path.realpath", lambda path, **_: looked_up.append(path) or path)
        answer = await edge.ask(get(b"/static/" + unit * 3000))
        assert (answer.status, answer.problem, looked_up) == (404, "not-found", [])

    @pytest.mark.parametrize("wanted", [b"bytes=0-5", b"bytes=99999-", b"nonsense"])
    @edge_test()
    async def test_they_are_served_whole(self, edge, wanted):
        headers = b"Range: " + wanted + b"\r\n"
        answer = await edge.ask(get(b"/static/statelessd.css", headers=headers))
        assert (answer.status, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")


def test_a_class_that_does_not_exist_is_a_clear_error():
    with pytest.raises(ImportError, match=r"unknown class statelessd\.Nothing"):
        build_router([Route("/x", "statelessd.Nothing")], Paths())


@pytest.mark.parametrize("path", [b"/static/overview.js", b"/"])
@edge_test()
async def test_without_a_descriptor_a_page_is_a_503_and_comes_back(edge, path, caplog):
    client = await edge.connect()
    await edge.until(lambda: edge.connections)
    with open_files(3):
        client.send(get(path))
        answer = await client.answer()
    assert (answer.status, answer.problem) == (503, "overloaded")
    assert "retry-after" in answer.headers
    assert "out of file descriptors" in json.loads(answer.body)["detail"]
    assert "Traceback" not in caplog.text
    client.send(get(path))
    assert (await client.answer()).status == 200
