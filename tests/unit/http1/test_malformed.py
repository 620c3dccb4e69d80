"""What cannot be read, or could be read in two ways: refused, and nothing behind it is believed."""

import pytest
from edge import AUTH, FORM, edge_test, post


class TestMalformed:
    @pytest.mark.parametrize(
        "data",
        [
            b"garbage\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST /v/e/k HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost : x\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\n X: y\r\n\r\n",
            b"POST /v/e/k HTTP/9.9\r\n\r\n",
            *(
                b"POST /v/e/k HTTP/%b\r\nHost: x\r\n%b\r\n" % (version, AUTH + framing)
                + b"0\r\n\r\n"
                for version in (b"0.9", b"2.0")
                for framing in (
                    b"",
                    b"Content-Length: 5\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Connection: keep-alive\r\nContent-Length: 5\r\n",
                )
            ),
            b"GET /stats HTTP/1.1\nHost: x\n\n",
            b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        ],
    )
    @edge_test()
    async def test_it_is_a_400_and_the_end(self, edge, data, caplog):
        client = await edge.connect()
        client.send(data)
        answer = await client.answer()
        assert (answer.status, answer.problem) == (400, "bad-request")
        assert answer.headers["connection"] == "close"
        assert edge.publisher.published == []
        assert not [r for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")]

    @pytest.mark.parametrize("path", [b"/stats", b"/nothing"])
    @edge_test()
    async def test_a_bad_chunk_size_for_a_page(self, edge, path):
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
        client = await edge.connect()
        client.send(head + b"zz\r\nhello\r\n")
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await client.at_end()

    @pytest.mark.parametrize("target", [b"/\xff", b"//", b"//user@h:x/", b"/a:b", b"/#x", b"http://a:b/stats",
                                        b"*", b"/%zz", b"stats", b"http://h/v/e/\xff"])  # fmt: skip
    @edge_test()
    async def test_an_odd_request_target_is_the_clients_fault(self, edge, target, caplog):
        for method in (b"GET", b"OPTIONS"):
            answer = await edge.ask(method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.status in (200, 204, 400, 404, 405)
        assert not caplog.records


def odd_head(*lines):
    return b"\r\n".join((b"POST /v/e/k HTTP/1.1", b"Host: x", AUTH + FORM[:-2], *lines, b"", b""))


CHUNKED = b"Transfer-Encoding: chunked"
FIVE = b"Content-Length: 5"


class TestSmuggling:
    """Where two readers could see different requests, neither they nor what follows is published.

    RFC 9112 section 11.2; the shapes are those that front ends and back ends were
    found to disagree on.
    """

    @pytest.mark.parametrize(
        "request_",
        [
            pytest.param(odd_head(FIVE, b"Content-Length: 8") + b"body=", id="two lengths"),
            pytest.param(odd_head(FIVE, FIVE) + b"body=", id="one length twice"),
            pytest.param(odd_head(b"Content-Length: 5, 5") + b"body=", id="a list of lengths"),
            pytest.param(odd_head(b"Content-Length: +5") + b"body=", id="a length with a sign"),
            pytest.param(odd_head(b"Content-Length: 0x5") + b"body=", id="a length in hex"),
            pytest.param(odd_head(b"Content-Length: 5 5") + b"body=", id="a length with a gap"),
            pytest.param(odd_head(b"Content-Length:") + b"body=", id="a length without digits"),
            pytest.param(odd_head(b"Content-Length: 9" + b"9" * 30), id="a length beyond counting"),
            pytest.param(odd_head(FIVE, CHUNKED) + b"0\r\n\r\n", id="a length and chunks"),
            pytest.param(odd_head(CHUNKED, FIVE) + b"0\r\n\r\n", id="chunks and a length"),
            pytest.param(odd_head(CHUNKED, CHUNKED) + b"0\r\n\r\n", id="chunked twice"),
            pytest.param(
                odd_head(CHUNKED + b", identity") + b"0\r\n\r\n", id="not chunked at last"
            ),
            pytest.param(odd_head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n", id="xchunked"),
            pytest.param(odd_head(b"Transfer-Encoding:") + b"0\r\n\r\n", id="an empty coding"),
            pytest.param(
                odd_head(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n", id="a control character"
            ),
            pytest.param(
                odd_head(b"Transfer-Encoding : chunked", FIVE), id="a space before the colon"
            ),
            pytest.param(odd_head(b"Content-Length : 5") + b"body=", id="a space before a length"),
            pytest.param(odd_head(FIVE, b"X: y\r\n folded") + b"body=", id="a folded line"),
            pytest.param(odd_head(b"X: y\n" + FIVE) + b"body=", id="a bare line feed"),
            pytest.param(odd_head(b"X: y\r" + FIVE) + b"body=", id="a bare carriage return"),
            pytest.param(odd_head(b"X: a\0b", FIVE) + b"body=", id="a NUL"),
            pytest.param(odd_head(b"X\0Y: a", FIVE) + b"body=", id="a NUL in a name"),
            pytest.param(odd_head(b"Host: y", FIVE) + b"body=", id="two hosts"),
            pytest.param(odd_head(b": no name", FIVE) + b"body=", id="no name"),
            pytest.param(odd_head(b"no colon", FIVE) + b"body=", id="no colon"),
            *(
                pytest.param(
                    odd_head(CHUNKED) + size + b"\r\nbody=\r\n0\r\n\r\n", id=f"size {size}"
                )
                for size in (
                    b"0x5",
                    b"+5",
                    b"-5",
                    b" 5",
                    b"5 5",
                    b"",
                    b"g",
                    b"1" + b"0" * 16,
                    b"5\n",
                )
            ),
            pytest.param(odd_head(CHUNKED) + b"5\r\nbody=0\r\n\r\n", id="no end of a chunk"),
            pytest.param(odd_head(CHUNKED) + b"5\r\nbody=xx0\r\n\r\n", id="another end of a chunk"),
            pytest.param(odd_head(CHUNKED) + b"5\nbody=\n0\n\n", id="chunks with line feeds"),
            pytest.param(
                odd_head(CHUNKED) + b"5;a\nb\r\nbody=\r\n0\r\n\r\n", id="a line feed inside"
            ),
            pytest.param(
                odd_head(CHUNKED) + b"0\r\nno colon\r\n\r\n", id="a trailer without colon"
            ),
        ],
    )
    @edge_test()
    async def test_it_is_refused_and_what_follows_is_not_believed(self, edge, request_, caplog):
        client = await edge.connect()
        client.send(request_ + post(b"body=smuggled"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) in {(400, "close"), (413, "close")}
        assert await client.at_end()
        assert edge.publisher.published == []
        assert not caplog.records


class TestOtherProtocols:
    @edge_test()
    async def test_the_wish_to_upgrade_is_ignored(self, edge):
        wish = (
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        )
        client = await edge.connect()
        client.send(post(headers=AUTH + FORM + wish) + post(b"body=next"))
        assert [(await client.answer()).status for _ in range(2)] == [204, 204]
        assert [p[3] for p in edge.publisher.published] == [b"hi", b"next"]

    @edge_test()
    async def test_a_wish_in_each_of_many_pipelined_requests(self, edge, caplog):
        client = await edge.connect()
        client.send(
            b"GET /v/e/k HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" * 3000
        )
        assert {(await client.answer()).status for _ in range(3000)} == {405}
        assert not caplog.records

    @edge_test()
    async def test_a_web_socket_is_no_page(self, edge):
        wish = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
        answer = await edge.ask(b"GET /stats HTTP/1.1\r\nHost: x\r\n" + wish)
        assert answer.status == 200
