"""A body whose end cannot be told is refused: it would be an empty message, and a 204 a lie."""

import json

import pytest
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, NDJSON

RAW = b"Content-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"
BODY = b'{"a":1}'


def bare(headers=AUTH, path=b"/v/e/k", version=b"1.1", method=b"POST"):
    """A head without a length."""
    return b"%b %b HTTP/%b\r\nHost: x\r\n%b\r\n" % (method, path, version, headers)


def is_refused(edge, answer):
    assert (answer.status, answer.problem) == (411, "length-required")
    assert answer.headers["connection"] == "close"
    document = json.loads(answer.body)
    assert (document["outcome"], document["retryable"]) == ("not-published", False)
    assert edge.publisher.published == []


TYPED = [
    (version, path, kind + connection)
    for path, kinds in ((b"/v/e/k", [FORM, RAW]), (b"/v/e", [JSON, NDJSON]))
    for kind in kinds
    for version, connection in [(b"1.1", b""), (b"1.1", CLOSE), (b"1.0", b"")]
]


class TestTyped:
    @pytest.mark.parametrize("body", [b"", BODY, b"\r\n", b"body=hi", bare()])
    @pytest.mark.parametrize(("version", "path", "headers"), TYPED)
    @edge_test()
    async def test_a_content_type_announces_a_body(self, edge, version, path, headers, body):
        client = await edge.connect()
        client.send(bare(AUTH + headers, path, version) + body)
        is_refused(edge, await client.answer())
        client.send(body or BODY)  # which is read, so that nothing resets the answer
        assert await client.at_end()
        assert edge.publisher.published == []

    @pytest.mark.parametrize(("version", "path", "headers"), TYPED)
    @edge_test()
    async def test_however_it_arrives(self, edge, version, path, headers):
        client = await edge.connect()
        await client.send_slowly(bare(AUTH + headers, path, version))
        is_refused(edge, await client.answer())

    @edge_test()
    async def test_an_expectation_announces_one_too(self, edge):
        is_refused(edge, await edge.ask(bare(AUTH + b"Expect: 100-continue\r\n")))

    @pytest.mark.parametrize(
        "name", [b"Content-Encoding: gzip", b"Content-Language: de", b"content-type:"]
    )
    @edge_test()
    async def test_so_does_each_field_that_describes_one(self, edge, name):
        is_refused(edge, await edge.ask(bare(AUTH + name + b"\r\n")))

    @edge_test()
    async def test_behind_other_requests_it_is_refused_in_its_turn(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post(b"one", headers=AUTH) + bare(AUTH + RAW) + BODY + post(b"body=no"))
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle()
        assert (await client.answer()).status == 204
        assert (await client.answer()).problem == "length-required"
        assert await client.at_end()
        assert [body for *_, body in edge.publisher.published] == [b"one"]

    @edge_test()
    async def test_who_may_not_publish_is_told_that_first(self, edge):
        for path in (b"/v/e/k", b"/v/e"):
            client = await edge.connect()
            client.send(bare(RAW, path) + BODY)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (401, "close")
            assert await client.at_end()
            cross = await edge.ask(bare(AUTH + RAW + b"Sec-Fetch-Site: cross-site\r\n", path))
            assert (cross.status, cross.problem) == (403, "cross-site")

    @pytest.mark.parametrize("connection", [b"", CLOSE])
    @edge_test()
    async def test_a_length_of_zero_is_one(self, edge, connection):
        answer = await edge.ask(post(b"", headers=AUTH + RAW + connection))
        assert answer.status == 204
        assert edge.publisher.published == [("v", "e", "k", b"")]

    @edge_test()
    async def test_so_is_an_empty_chunked_body(self, edge):
        head = bare(AUTH + RAW + b"Transfer-Encoding: chunked\r\n")
        assert (await edge.ask(head + b"0\r\n\r\n")).status == 204

    @edge_test()
    async def test_other_methods_and_pages_need_none(self, edge):
        client = await edge.connect()
        for method, path, status in (
            (b"GET", b"/v/e/k", 405),
            (b"DELETE", b"/v/e", 405),
            (b"GET", b"/stats", 200),
            (b"POST", b"/stats", 405),
        ):
            client.send(bare(AUTH + RAW, path, method=method))
            answer = await client.answer()
            assert (answer.status, answer.headers.get("connection")) == (status, None)


LAST = [(b"1.1", CLOSE), (b"1.0", b""), (b"1.0", b"Connection: keep-alive\r\n")]


class TestUntyped:
    @edge_test()
    async def test_a_post_without_a_body_is_an_empty_message(self, edge):
        client = await edge.connect()
        for _ in range(3):  # as curl -X POST sends it
            client.send(bare())
            answer = await client.answer()
            assert (answer.status, answer.headers.get("connection")) == (204, None)
        assert edge.publisher.published == [("v", "e", "k", b"")] * 3

    @pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n\n"])
    @pytest.mark.parametrize(("version", "connection"), LAST)
    @edge_test()
    async def test_also_as_the_last_request(self, edge, version, connection, end):
        client = await edge.connect()
        client.send(bare(AUTH + connection, version=version) + end)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (204, "close")
        assert await client.at_end()
        assert edge.publisher.published == [("v", "e", "k", b"")]

    @pytest.mark.parametrize("body", [BODY, b"\r\n" + BODY, b"x", bare()])
    @pytest.mark.parametrize(("version", "connection"), LAST)
    @edge_test()
    async def test_bytes_behind_the_last_head_are_its_body(self, edge, version, connection, body):
        client = await edge.connect()
        client.send(bare(AUTH + connection, version=version) + body)
        is_refused(edge, await client.answer())
        assert await client.at_end()
        assert edge.publisher.published == []

    @pytest.mark.parametrize(("version", "connection"), LAST)
    @edge_test()
    async def test_also_where_the_head_comes_in_pieces(self, edge, version, connection):
        head = bare(AUTH + connection, version=version)
        for cut in range(1, len(head)):
            client = await edge.connect()
            client.send(head[:cut])
            await edge.until(lambda: any(c.has_pending for c in edge.connections))
            client.send(head[cut:] + BODY)
            is_refused(edge, await client.answer())
            assert await client.at_end()

    @edge_test()
    async def test_bytes_that_wait_in_the_socket_are_known(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post(b"body=one") + bare(AUTH + CLOSE))
        await edge.until(lambda: edge.publisher.held)
        client.send(BODY)  # nothing is read behind a pipeline that waits
        edge.publisher.settle()
        assert (await client.answer()).status == 204
        assert (await client.answer()).problem == "length-required"
        assert len(edge.publisher.published) == 1

    @edge_test()
    async def test_bytes_that_come_while_the_message_waits_keep_it_back(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(bare(AUTH + CLOSE))
        await edge.until(lambda: edge.publisher.held)
        client.send(BODY)
        answer = await client.answer()
        assert (answer.status, answer.problem) == (411, "length-required")
        assert edge.publisher.cancelled == [edge.publisher.held[0][0]]
        assert await client.at_end()

    @edge_test()
    async def test_a_message_that_was_handed_over_is_told_as_it_is(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(bare(AUTH + CLOSE))
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.held[0][0].handed_over = True
        client.send(BODY)
        size = len(bare(AUTH + CLOSE) + BODY)
        await edge.until(lambda: edge.gateway.places.received == size)
        edge.publisher.settle()
        assert (await client.answer()).status == 204
        assert edge.publisher.cancelled == []

    @edge_test()
    async def test_what_comes_too_late_does_not_reset_the_answer(self, edge):
        client = await edge.connect()
        client.send(bare(AUTH + CLOSE))
        await edge.until(lambda: edge.publisher.published)
        client.send(BODY)
        size = len(bare(AUTH + CLOSE) + BODY)
        await edge.until(lambda: edge.gateway.places.received == size)
        assert (await client.answer()).status == 204
        assert await client.at_end()

    @pytest.mark.parametrize("end", [b"", b"\r\n", b"\n\r\n"])
    @pytest.mark.parametrize("body", [BODY, b"21.5", b"\0", b"temp=5", b"TEMP=5", b"OK\n", b"{"])
    @edge_test()
    async def test_bytes_that_cannot_be_a_request_are_a_body(self, edge, body, end):
        client = await edge.connect()
        client.send(bare() + end + body)
        is_refused(edge, await client.answer())
        assert await client.at_end()
        assert edge.publisher.published == []

    @pytest.mark.parametrize("end", [b"", b"\r\n", b"\n\r\n"])
    @edge_test()
    async def test_the_beginning_of_a_request_is_none(self, edge, end):
        following = post(b"next", headers=AUTH)
        for size in range(len(following)):
            client = await edge.connect()
            client.send(bare() + end + following[:size])
            assert (await client.answer()).status == 204
            client.send(following[size:])
            assert (await client.answer()).status == 204
        bodies = [body for *_, body in edge.publisher.published]
        assert bodies == [b"", b"next"] * len(following)

    @edge_test(no_keep_alive=True)
    async def test_a_setting_of_ours_makes_no_last_request(self, edge):
        answer = await edge.ask(bare() + bare())
        assert (answer.status, answer.headers["connection"]) == (204, "close")
