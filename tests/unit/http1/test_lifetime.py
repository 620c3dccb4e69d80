"""How much a client connection may take, how long it lives, and how it ends."""

import asyncio

import pytest
from edge import AUTH, FORM, edge_test, post

from statelessd.message import Outcome


class TestLimits:
    @pytest.mark.parametrize(
        "head",
        [
            b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /stats HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
            b"GET /stats HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n",
            b"GET /stats HTTP/1.1\r\n" + b"Name: value\r\n" * 5000,
        ],
    )
    @edge_test()
    async def test_a_head_over_the_limit_is_a_431(self, edge, head):
        answer = await edge.ask(head)
        assert (answer.status, answer.problem) == (431, "headers-too-large")

    @edge_test()
    async def test_a_header_line_that_never_ends(self, edge):
        client = await edge.connect()
        client.send(b"GET /stats HTTP/1.1\r\nX: ")
        for _ in range(100):
            client.send(b"x" * 1000)
            await asyncio.sleep(0.001)
        assert (await client.answer()).status == 431

    @pytest.mark.parametrize("path", [b"/v/e/k", b"/stats"])
    @pytest.mark.parametrize("unending", [b"0\r\nX: ", b"1;x="])
    @edge_test()
    async def test_a_trailer_or_chunk_extension_that_never_ends(self, edge, path, unending):
        client = await edge.connect()
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" % path
        client.send(head + AUTH + FORM + b"\r\n1\r\nx\r\n" + unending)
        for _ in range(100):
            client.send(b"x" * 1000)
            await asyncio.sleep(0.001)
        assert (await client.answer()).status == (431 if path == b"/v/e/k" else 405)
        assert await client.at_end()

    @edge_test()
    async def test_a_large_body_between_two_heads_in_part_is_no_large_head(self, edge):
        client = await edge.connect()
        first, second = post(b"body=" + b"x" * 40_000), post()
        client.send(first[:10])
        await edge.until(lambda: edge.is_doing("reading head"))
        client.send(first[10:] + second[:20])
        assert (await client.answer()).status == 204
        client.send(second[20:])
        assert (await client.answer()).status == 204

    @edge_test()
    async def test_a_head_just_within_the_limit_in_many_pieces(self, edge):
        client = await edge.connect()
        head = b"GET /stats HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 15_900 + b"\r\n\r\n"
        for i in range(0, len(head), 1000):
            client.send(head[i : i + 1000])
            await asyncio.sleep(0.001)
        assert (await client.answer()).status == 200

    @edge_test(max_connections=2)
    async def test_connections_over_the_limit_are_told_so(self, edge):
        first, _ = await edge.connect(), await edge.connect()
        third = await edge.connect()
        answer = await third.answer()
        assert (answer.status, answer.problem) == (503, "overloaded")
        first.send(post())
        assert (await first.answer()).status == 204

    @edge_test(no_keep_alive=True)
    async def test_no_keep_alive_closes_after_each_answer(self, edge):
        for request in (post(), b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"):
            client = await edge.connect()
            client.send(request)
            assert (await client.answer()).headers["connection"] == "close"
            assert await client.at_end()

    @edge_test()
    async def test_http_1_0_is_answered_and_closed(self, edge):
        client = await edge.connect()
        client.send(post(headers=AUTH + FORM + b"Connection: keep-alive\r\n", version=b"1.0"))
        assert (await client.answer()).status == 204
        assert await client.at_end()


class TestTime:
    @edge_test()
    async def test_progress_within_a_head_does_not_buy_time(self, edge):
        client = await edge.connect()
        client.send(b"POST /v/e/k HTTP/1.1\r\n")
        await edge.until(lambda: edge.is_doing("reading head"))
        [connection] = edge.connections
        now = edge.loop.time()
        connection.check_timeouts(now)
        client.send(b"X: y\r\n")
        await edge.until(lambda: edge.gateway.places.received == 28)
        connection.check_timeouts(now + 10.1)
        assert (await client.answer()).status == 408

    @edge_test()
    async def test_a_body_that_stalls_is_a_408(self, edge):
        client = await edge.connect()
        client.send(post()[:-3])
        await edge.until(lambda: edge.publisher.reserved)
        edge.sweep(10.1)
        answer = await client.answer()
        assert (answer.status, answer.problem) == (408, "request-timeout")
        assert edge.publisher.reserved == 0

    @edge_test()
    async def test_a_body_that_goes_on_has_time(self, edge):
        client = await edge.connect()
        request = post()
        client.send(request[:-5])
        await edge.until(lambda: edge.publisher.reserved == 2)
        [connection] = edge.connections
        now = edge.loop.time()
        connection.check_timeouts(now)
        client.send(request[-5:-3])
        await edge.until(lambda: edge.publisher.reserved == 4)
        connection.check_timeouts(now + 10.1)
        client.send(request[-3:])
        assert (await client.answer()).status == 204

    @edge_test()
    async def test_idle_connections_are_closed_silently(self, edge):
        fresh, used = await edge.connect(), await edge.connect()
        used.send(post())
        await used.answer()
        edge.sweep(75.1)
        assert await fresh.at_end()
        assert await used.at_end()

    @edge_test()
    async def test_a_publish_that_waits_is_not_hurried_by_the_edge(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post())
        await edge.until(lambda: edge.publisher.held)
        edge.sweep(1000)
        edge.publisher.settle()
        assert (await client.answer()).status == 204


class TestDrain:
    @edge_test()
    async def test_a_backend_that_shuts_down_closes_the_connection(self, edge):
        edge.publisher.outcome = (Outcome.SHUTTING_DOWN, "")
        answer = await edge.ask(post())
        assert (answer.status, answer.headers["connection"]) == (503, "close")

    @edge_test()
    async def test_a_body_read_to_its_end_after_its_answer_ends_the_connection(self, edge):
        client = await edge.connect()
        request = post(headers=FORM)
        client.send(request[:-3])
        assert (await client.answer()).status == 401
        edge.gateway.draining = edge.shared.draining = True
        for connection in list(edge.connections):
            connection.shutdown()
        client.send(request[-3:] + post(b"body=no"))
        assert await client.at_end()
        assert edge.publisher.published == []


class TestFrozen:
    """The process stood still: the time is over, and bytes that came in time wait in the socket."""

    @pytest.mark.parametrize("last", [b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n", post()])
    @edge_test()
    async def test_an_idle_connection_is_read_before_it_is_closed(self, edge, last):
        client = await edge.connect()
        client.send(post())
        assert (await client.answer()).status == 204
        client.send(last)
        edge.sweep(76)
        assert (await client.answer()).status in (200, 204)
        edge.sweep(76)
        assert await client.at_end()

    @edge_test()
    async def test_so_is_one_on_which_nothing_was_asked(self, edge):
        client = await edge.connect()
        await edge.until(lambda: edge.connections)
        client.send(post())
        edge.sweep(11)
        assert (await client.answer()).status == 204

    @pytest.mark.parametrize("cut", [1, 20, 60, len(post()) - 8, len(post()) - 1])
    @edge_test()
    async def test_the_rest_of_a_request_counts(self, edge, cut):
        client = await edge.connect()
        client.send(post()[:cut])
        await edge.until(lambda: edge.gateway.places.received == cut)
        client.send(post()[cut:])
        edge.sweep(11)
        assert (await client.answer()).status == 204

    @edge_test()
    async def test_more_of_a_head_buys_no_further_time(self, edge):
        client = await edge.connect()
        client.send(post()[:20])
        await edge.until(lambda: edge.gateway.places.received == 20)
        client.send(post()[20:21])
        edge.sweep(11)
        await edge.until(lambda: edge.gateway.places.received == 21)
        client.send(post()[21:22])
        edge.sweep(11)
        assert (await client.answer()).status == 408
