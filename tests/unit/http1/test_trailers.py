"""No trailer is a header (RFC 9110 section 6.5.1): whatever it is called, and whatever is asked."""

import re
import sys
import types

import pytest
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, NDJSON
from starlette.responses import JSONResponse

from statelessd.config.http_server import Pages
from statelessd.config.settings import Publish, Route

USER = b"Authorization: Basic dTpw\r\n"  # u:p
OTHER = b"Authorization: Basic b3RoZXI6cA=="
RAW = b"Content-Type: text/plain\r\n"
TRAILERS = [
    OTHER,
    b"Authorization: nonsense",
    b"X-Forwarded-For: 10.9.0.1",
    b"X-Real-IP: 10.9.0.1",
    b"Sec-Fetch-Site: cross-site",
    b"Origin: https://evil.example",
    b"Host: y",
    b"Content-Type: application/json",
    b"Content-Encoding: gzip",
    b"Connection: close",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"Prefer: wait=1",
    b"Prefer: results=stream",
    b"X-Request-ID: from-a-trailer",
    b"Idempotency-Key: from-a-trailer",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"AMQP-Priority: 3",
    b"AMQP-Header-A: b",
    b"AMQP-Mandatory: true",
    b"AMQP-Message-Id: from-a-trailer",
]
ALL = [b"\r\n".join(TRAILERS)]


def chunked(path, headers, body, trailers=b"", method=b"POST"):
    """A request with its body in one chunk, and the trailers behind it."""
    head = method + b" " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    if trailers:
        trailers += b"\r\n"
    return head + headers + b"\r\n%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers)


class Headers:
    """A page of a user's own that shows what it is told."""

    def __init__(self, scope, receive, send):
        self.scope, self.receive, self.send = scope, receive, send

    def __await__(self):
        return self.answer().__await__()

    async def answer(self):
        while (await self.receive())["more_body"]:
            pass
        fields = [[name.decode(), value.decode()] for name, value in self.scope["headers"]]
        await JSONResponse(fields)(self.scope, self.receive, self.send)


@pytest.fixture(autouse=True)
def own_module(monkeypatch):
    module = types.ModuleType("own_headers")
    vars(module)["Headers"] = Headers
    monkeypatch.setitem(sys.modules, "own_headers", module)


async def told(edge, request, slowly=False):
    """The answer without what differs each time, and what was published meanwhile."""
    publisher = edge.publisher
    before = len(publisher.published)
    client = await edge.connect()
    if slowly:
        await client.send_slowly(request)
    else:
        client.send(request)
    answer = await client.answer()
    own = {"x-request-id", "content-length"}
    fields = [(name, value) for name, value in answer.fields if name not in own]
    body = re.sub(rb'"request_id":"[^"]*"', b"", answer.body)
    messages = list(zip(publisher.published, publisher.headers, strict=True))[before:]
    return answer.status, fields, body, messages


BATCH = b'[{"routing_key": "k", "body": "hi"}]'
PUBLISHES = [
    (b"/v/e/k", USER + FORM, b"body=hi", 204),
    (b"/v/e/k", USER + RAW, b"hi", 204),
    (b"/v/e/k", USER, b"hi", 204),
    (b"/v/e/k", RAW, b"hi", 401),
    (b"/v/e/k", AUTH + b"Connection: close\r\n", b"hi", 204),
    (b"/v/e", USER + JSON, BATCH, 200),
    (b"/v/e", USER + NDJSON, BATCH[1:-1], 200),
    (b"/v/e", JSON, BATCH, 401),
    (b"/v/e", USER, BATCH, 400),
]


class TestPublishes:
    @pytest.mark.parametrize("slowly", [False, True])
    @pytest.mark.parametrize(("path", "headers", "body", "status"), PUBLISHES)
    @edge_test(xheaders=True)
    async def test_a_trailer_changes_neither_message_nor_answer(
        self, edge, path, headers, body, status, slowly
    ):
        alone = await told(edge, chunked(path, headers, body), slowly)
        assert alone[0] == status
        for trailers in ALL if slowly else (*TRAILERS, *ALL):
            assert await told(edge, chunked(path, headers, body, trailers), slowly) == alone

    @edge_test(publish=Publish(stamp_message_id=True))
    async def test_none_is_an_idempotency_key(self, edge):
        request = chunked(b"/v/e/k", USER, b"hi", b"Idempotency-Key: from-a-trailer")
        answer = await edge.ask(request)
        assert answer.headers["amqp-message-id"] != "from-a-trailer"

    @edge_test()
    async def test_none_is_a_request_id(self, edge):
        for path, headers in ((b"/v/e/k", USER), (b"/v/e", USER + JSON), (b"/stats", b"")):
            request = chunked(path, headers, BATCH, b"X-Request-ID: from-a-trailer")
            assert (await edge.ask(request)).headers["x-request-id"] != "from-a-trailer"

    @edge_test()
    async def test_none_is_a_header_of_the_next_request(self, edge):
        client = await edge.connect()
        trailers = b"\r\n".join([b"AMQP-Type: t", OTHER, b"X-Request-ID: from-a-trailer"])
        client.send(chunked(b"/v/e/k", USER, b"hi", trailers) + post(b"hi", headers=RAW))
        assert (await client.answer()).status == 204
        answer = await client.answer()
        assert (answer.status, answer.problem) == (401, "unauthorized")
        assert answer.headers["x-request-id"] != "from-a-trailer"

    @pytest.mark.parametrize(
        "trailers",
        [
            b"Connection: close",
            b"Proxy-Connection: close",
            b"Connection: x, close",
            b"Connection: Upgrade\r\nUpgrade: h2c",
            *ALL,
        ],
    )
    @pytest.mark.parametrize("slowly", [False, True])
    @edge_test()
    async def test_none_ends_the_connection(self, edge, trailers, slowly):
        client = await edge.connect()
        for path, headers, status in ((b"/v/e/k", USER, 204), (b"/v/e", USER + JSON, 200)):
            data = chunked(path, headers, BATCH, trailers) + post(b"next", headers=USER)
            if slowly:
                await client.send_slowly(data)
            else:
                client.send(data)
            for expected in (status, 204):
                answer = await client.answer()
                assert (answer.status, answer.headers.get("connection")) == (expected, None)

    @pytest.mark.parametrize("trailers", [b"", b"Connection: keep-alive", *ALL])
    @edge_test()
    async def test_none_keeps_a_connection_open(self, edge, trailers):
        request = chunked(b"/v/e/k", USER + b"Connection: close\r\n", b"hi", trailers)
        client = await edge.connect()
        client.send(request + post(b"next", headers=USER))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (204, "close")
        assert await client.at_end()
        assert len(edge.publisher.published) == 1

    @pytest.mark.parametrize(
        "headers", [b"Sec-Fetch-Site: same-origin", b"Origin: http://x", b"\r\n".join(TRAILERS)]
    )
    @edge_test(strict=True)
    async def test_none_says_that_a_browser_asks_for_a_page_of_ours(self, edge, headers):
        for path, kind, body in ((b"/v/e/k", FORM, b"body=hi"), (b"/v/e", JSON, BATCH)):
            answer = await edge.ask(chunked(path, USER + kind, body, headers))
            assert (answer.status, answer.problem) == (403, "cross-site")


class TestPages:
    @pytest.mark.parametrize("name", [b"X-Forwarded-For", b"X-Real-IP", b"Forwarded"])
    @pytest.mark.parametrize("path", [b"/", b"/stats", b"/docs", b"/openapi.json"])
    @edge_test(pages=Pages(networks=("10.9.0.0/24",)), xheaders=True)
    async def test_none_is_the_address_of_a_client(self, edge, path, name):
        for method in (b"GET", b"POST"):
            request = chunked(path, b"", b"x", name + b": 10.9.0.1", method)
            assert (await edge.ask(request)).status == 403
        inside = chunked(path, b"X-Real-IP: 10.9.0.1\r\n", b"x", name + b": 192.0.2.1", b"GET")
        assert (await edge.ask(inside)).status == 200

    @pytest.mark.parametrize("slowly", [False, True])
    @edge_test(routes=[Route("/own", "own_headers.Headers")])
    async def test_a_page_of_a_users_own_gets_none(self, edge, slowly):
        alone = await told(edge, chunked(b"/own", USER, b"hi"), slowly)
        for trailers in ALL if slowly else (*TRAILERS, *ALL):
            assert await told(edge, chunked(b"/own", USER, b"hi", trailers), slowly) == alone


class TestBounds:
    @pytest.mark.parametrize("trailer", [b"Content-Length: 1", b"Transfer-Encoding: chunked"])
    @edge_test()
    async def test_one_that_would_frame_the_body_is_refused(self, edge, trailer):
        answer = await edge.ask(chunked(b"/v/e/k", USER, b"hi", trailer))
        assert (answer.status, answer.problem) == (400, "bad-request")
        assert edge.publisher.published == []

    @edge_test(max_header_fields=20)
    async def test_no_more_trailers_than_headers(self, edge):
        for count, status in ((20, 204), (21, 431)):
            trailers = b"\r\n".join([b"X: y"] * count)
            assert (await edge.ask(chunked(b"/v/e/k", USER, b"hi", trailers))).status == status

    @pytest.mark.parametrize("trailers", [b"X: " + b"x" * 1000, b"\r\n".join([b"X: y"] * 1000)])
    @pytest.mark.parametrize(
        ("path", "headers"), [(b"/v/e/k", USER), (b"/v/e", USER + JSON), (b"/own", b"")]
    )
    @edge_test(max_header_bytes=700, routes=[
        Route("/own", "own_headers.Headers"), Route("/([^/]+)/([^/]+)/(.*)", "statelessd.Publisher")
    ])  # fmt: skip
    async def test_trailers_over_the_limit_of_headers_are_a_431(
        self, edge, path, headers, trailers
    ):
        answer = await edge.ask(chunked(path, headers, BATCH, trailers))
        assert (answer.status, answer.problem) == (431, "headers-too-large")
        assert edge.publisher.published == []
