"""Publishes over HTTP, as clients see them on the wire."""

import asyncio
import json

import pytest
from edge import AUTH, FORM, edge_test, post

from statelessd.config import Route
from statelessd.message import Outcome


class TestPublishing:
    @edge_test()
    async def test_a_confirmed_publish_is_204_and_keeps_the_connection(self, edge):
        client = await edge.connect()
        for _ in range(3):
            client.send(post())
            answer = await client.answer()
            assert answer.status == 204
            assert "content-length" not in answer.headers
            assert "connection" not in answer.headers
        assert edge.publisher.published == [("v", "e", "k", b"hi")] * 3

    @edge_test()
    async def test_byte_by_byte(self, edge):
        client = await edge.connect()
        await client.send_slowly(post())
        assert (await client.answer()).status == 204
        assert edge.publisher.reserved == 0

    @edge_test()
    async def test_a_chunked_body(self, edge):
        head = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\n" + AUTH + FORM
        body = b"Transfer-Encoding: chunked\r\n\r\n5\r\nbody=\r\n2\r\nhi\r\n0\r\n\r\n"
        client = await edge.connect()
        client.send(head + body + post(b"body=next"))
        assert [(await client.answer()).status for _ in range(2)] == [204, 204]
        assert [p[3] for p in edge.publisher.published] == [b"hi", b"next"]

    @edge_test()
    async def test_the_deadline_is_the_configured_one_or_what_the_client_prefers(self, edge):
        await edge.ask(post())
        await edge.ask(post(headers=AUTH + FORM + b"Prefer: wait=10\r\n"))
        await edge.ask(post(headers=AUTH + FORM + b"Prefer: wait=3600\r\n"))
        assert [round(d) for d in edge.publisher.deadlines] == [4, 10, 60]

    @edge_test()
    async def test_the_brokers_word_becomes_the_answer(self, edge):
        edge.publisher.outcome = (Outcome.NO_ROUTE, "nobody")
        answer = await edge.ask(post())
        assert (answer.status, answer.problem) == (404, "no-route")
        assert json.loads(answer.body)["detail"] == "nobody"

    @edge_test()
    async def test_a_client_that_hangs_up_cancels_its_publish(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post())
        await edge.until(lambda: edge.publisher.held)
        client.writer.close()
        await edge.until(lambda: edge.sweep(0) or edge.publisher.cancelled)
        assert edge.publisher.cancelled == [edge.publisher.held[0][0]]

    @edge_test()
    async def test_a_client_that_closed_its_half_gets_its_answer(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post() + post(b"body=second"))
        client.writer.write_eof()
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle()
        await edge.until(lambda: any(c._half_closed for c in edge.state.connections))
        edge.sweep(0)
        edge.publisher.settle()
        answers = [(await client.answer()).status for _ in range(3)]
        assert answers == [204, 100, 204]
        assert await client.at_end()
        assert edge.publisher.cancelled == []

    @edge_test()
    async def test_preferences_on_several_lines_are_one_list(self, edge):
        await edge.ask(post(headers=AUTH + FORM + b"Prefer: wait=9\r\nPrefer: return=minimal\r\n"))
        assert [round(d) for d in edge.publisher.deadlines] == [9]

    @edge_test()
    async def test_http_1_0_expects_nothing(self, edge):
        client = await edge.connect()
        client.send(post(headers=AUTH + FORM + b"Expect: 100-continue\r\n", version=b"1.0"))
        assert (await client.answer()).status == 204

    @edge_test()
    async def test_a_client_that_hangs_up_within_its_body_gives_the_room_back(self, edge):
        client = await edge.connect()
        client.send(post(b"body=" + b"x" * 50_000)[:-10])
        await edge.until(lambda: edge.publisher.reserved > 10_000)
        client.writer.close()
        await edge.until(lambda: edge.publisher.reserved == 0)

    @edge_test()
    async def test_a_body_in_many_small_pieces_arrives_bit_for_bit(self, edge):
        body = b"body=" + bytes(range(97, 123)) * 41
        chunks = b"".join(b"3\r\n%b\r\n" % body[i : i + 3] for i in range(0, len(body), 3))
        head = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        answer = await edge.ask(head + AUTH + FORM + b"\r\n" + chunks + b"0\r\n\r\n")
        assert answer.status == 204
        assert edge.publisher.published[0][3] == body[5:]

    @edge_test()
    async def test_bodies_that_arrive_while_there_is_no_room_are_refused(self, edge):
        edge.publisher.room = 1000
        client = await edge.connect()
        client.send(post(b"body=" + b"x" * 90_000)[:50_000])
        answer = await client.answer()
        assert (answer.status, answer.problem) == (503, "overloaded")
        assert edge.publisher.reserved == 0

    @edge_test()
    async def test_a_fault_of_ours_is_a_500_and_not_the_end(self, edge, caplog):
        edge.publisher.publish = None
        client = await edge.connect()
        client.send(post())
        answer = await client.answer()
        assert (answer.status, answer.problem) == (500, "internal-error")
        client.send(b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer()).status == 200
        assert "a publish failed" in caplog.text

    @edge_test(routes=[Route("/only/([^/]+)/([^/]+)/([^/]+)", "statelessd.Publisher")])
    async def test_configured_routes_replace_the_built_in_ones(self, edge):
        assert (await edge.ask(post(path=b"/only/v/e/k"))).status == 204
        assert (await edge.ask(post())).status == 404
        assert edge.publisher.published == [("v", "e", "k", b"hi")]


class TestEarlyAnswers:
    @edge_test()
    async def test_a_401_leaves_the_connection_in_step(self, edge):
        client = await edge.connect()
        client.send(post(headers=FORM) + post())
        answer = await client.answer()
        assert (answer.status, answer.problem) == (401, "unauthorized")
        assert (await client.answer()).status == 204

    @edge_test()
    async def test_a_401_is_told_before_the_body_comes(self, edge):
        client = await edge.connect()
        request = post(headers=FORM)
        client.send(request[:-3])
        assert (await client.answer()).status == 401
        client.send(request[-3:] + post())
        assert (await client.answer()).status == 204

    @edge_test(max_body_bytes=1000)
    async def test_a_413_is_told_before_the_body_and_read_by_a_client_that_goes_on_sending(
        self, edge
    ):
        client = await edge.connect()
        request = post(b"body=" + b"x" * 2_000_000)
        client.send(request[:300])
        answer = await client.answer()
        assert (answer.status, answer.problem) == (413, "too-large")
        assert answer.headers["connection"] == "close"
        client.send(request[300:900])
        assert await client.at_end()
        assert edge.publisher.published == []

    @edge_test(max_body_bytes=1000)
    async def test_a_chunked_body_over_the_limit(self, edge):
        head = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + AUTH + b"\r\n"
        answer = await edge.ask(head + b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        assert (answer.status, answer.problem) == (413, "too-large")

    @edge_test()
    async def test_expect_is_answered_with_100_when_the_body_is_wanted(self, edge):
        client = await edge.connect()
        request = post(headers=AUTH + FORM + b"Expect: 100-continue\r\n")
        client.send(request[:-7])
        assert (await client.answer()).status == 100
        client.send(request[-7:])
        assert (await client.answer()).status == 204

    @edge_test()
    async def test_expect_is_answered_finally_when_the_answer_is_known(self, edge):
        client = await edge.connect()
        client.send(post(headers=FORM + b"Expect: 100-continue\r\n")[:-7])
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert await client.at_end()

    @edge_test()
    async def test_a_client_that_closes_afterwards_may_send_its_body_and_read_the_answer(
        self, edge
    ):
        client = await edge.connect()
        request = post(b"body=" + b"x" * 5000, headers=FORM + b"Connection: close\r\n")
        client.send(request[:-2000])
        await edge.until(lambda: any(c.cycle for c in edge.state.connections))
        client.send(request[-2000:])
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert await client.at_end()

    @edge_test()
    async def test_pages_may_be_sent_large_bodies_that_they_do_not_want(self, edge):
        client = await edge.connect()
        for _ in range(15):
            client.send(post(b"x" * 1_000_000, path=b"/nothing"))
            assert (await client.answer()).status == 404

    @edge_test()
    async def test_other_methods_get_a_405(self, edge):
        client = await edge.connect()
        for method in (b"GET", b"PUT", b"DELETE", b"OPTIONS"):
            client.send(method + b" /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.headers["allow"]) == (405, "post")
        client.send(b"HEAD /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer(head_only=True)).status == 405
        client.send(post())
        assert (await client.answer()).status == 204


class TestPipelining:
    @edge_test()
    async def test_answers_come_in_order_across_publishes_and_pages(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        page = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"
        client.send(post(b"body=1") + page + post(b"body=2") + post(headers=FORM) + page)
        await edge.until(lambda: edge.publisher.held)
        assert len(edge.publisher.held) == 1  # one at a time
        edge.publisher.settle()
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle(Outcome.NACKED)
        answers = [(await client.answer()).status for _ in range(5)]
        assert answers == [204, 200, 503, 401, 200]
        assert [p[3] for p in edge.publisher.published] == [b"1", b"2"]

    @edge_test()
    async def test_a_request_that_has_come_in_part_goes_on_after_the_one_before(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        second = post(b"body=second")
        client.send(post() + second[:-3])
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.hold = False
        edge.publisher.settle()
        assert (await client.answer()).status == 204
        client.send(second[-3:])
        assert (await client.answer()).status == 204
        assert edge.publisher.published[-1][3] == b"second"

    @edge_test()
    async def test_one_that_has_come_in_part_does_not_expire_while_it_has_to_wait(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post() + post()[:-3])
        await edge.until(lambda: edge.publisher.held)
        edge.sweep(1000)
        edge.publisher.settle()
        client.send(post()[-3:])
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle()
        assert [(await client.answer()).status for _ in range(2)] == [204, 204]

    @edge_test()
    async def test_a_client_that_hangs_up_ends_what_waits(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n" + post())
        await edge.until(lambda: edge.publisher.held)
        client.writer.transport.abort()
        await edge.until(lambda: edge.sweep(0) or edge.publisher.cancelled)

    @edge_test()
    async def test_a_thousand_in_one_write(self, edge):
        client = await edge.connect()
        client.send(post() * 1000)
        assert {(await client.answer()).status for _ in range(1000)} == {204}

    @edge_test()
    async def test_a_thousand_refusals_in_one_write(self, edge):
        client = await edge.connect()
        client.send(post(headers=FORM) * 1000)
        assert {(await client.answer()).status for _ in range(1000)} == {401}

    @edge_test()
    async def test_nothing_behind_a_closing_request_is_published(self, edge):
        client = await edge.connect()
        client.send(post(headers=AUTH + FORM + b"Connection: close\r\n") + post(b"body=no"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (204, "close")
        assert await client.at_end()
        assert [p[3] for p in edge.publisher.published] == [b"hi"]

    @edge_test()
    async def test_garbage_behind_a_pending_publish_waits_for_its_answer(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post() + b"\x00garbage\r\n\r\n")
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle()
        assert (await client.answer()).status == 204
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")

    @edge_test()
    async def test_a_client_that_does_not_read_is_not_served_further(self, edge):
        client = await edge.connect()
        client.writer.transport.pause_reading()
        for _ in range(60):
            client.send(post(headers=FORM) * 1000)
            await asyncio.sleep(0)
        [connection] = edge.state.connections
        await edge.until(lambda: connection.flow.write_paused)
        assert connection.transport.get_write_buffer_size() < 1_000_000


class TestMalformed:
    @pytest.mark.parametrize(
        "data",
        [
            b"garbage\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST /v/e/k HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\nHost : x\r\n\r\n",
            b"POST /v/e/k HTTP/1.1\r\n X: y\r\n\r\n",
            b"POST /v/e/k HTTP/9.9\r\n\r\n",
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

    @edge_test()
    async def test_a_bad_chunk_size(self, edge):
        head = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + AUTH + b"\r\n"
        answer = await edge.ask(head + b"zz\r\nhello\r\n")
        assert answer.status == 400
        assert edge.publisher.published == []

    @pytest.mark.parametrize("path", [b"/stats", b"/nothing"])
    @edge_test()
    async def test_a_bad_chunk_size_for_a_page(self, edge, path):
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
        client = await edge.connect()
        client.send(head + b"zz\r\nhello\r\n")
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await client.at_end()

    @edge_test()
    async def test_a_bad_chunk_size_for_a_page_behind_a_pending_publish(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        head = b"POST /stats HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(post() + head + b"zz\r\nhello\r\n")
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle()
        assert [(await client.answer()).status for _ in range(2)] == [204, 400]
        assert await client.at_end()

    @pytest.mark.parametrize("target", [b"/\xff", b"//", b"//user@h:x/", b"/a:b", b"/#x", b"http://a:b/stats",
                                        b"*", b"/%zz", b"stats", b"http://h/v/e/\xff"])  # fmt: skip
    @edge_test()
    async def test_an_odd_request_target_is_the_clients_fault(self, edge, target, caplog):
        for method in (b"GET", b"OPTIONS"):
            answer = await edge.ask(method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.status in (200, 400, 404, 405)
        assert not caplog.records

    @edge_test()
    async def test_a_malformed_path_is_told_in_step(self, edge):
        client = await edge.connect()
        for path in (b"/v/e/%zz", b"/v/%ff/k", b"/v/e/" + b"x" * 256):
            client.send(post(path=path))
            answer = await client.answer()
            assert (answer.status, answer.problem) == (400, "bad-request")
        client.send(post())
        assert (await client.answer()).status == 204


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
        await edge.until(lambda: any(c._in_head for c in edge.state.connections))
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
    async def test_a_slow_head_is_a_408(self, edge):
        client = await edge.connect()
        client.send(b"POST /v/e/k HT")
        await edge.until(lambda: any(c._in_head for c in edge.state.connections))
        edge.sweep(10.1)
        answer = await client.answer()
        assert (answer.status, answer.problem) == (408, "request-timeout")

    @edge_test()
    async def test_progress_within_a_head_does_not_buy_time(self, edge):
        client = await edge.connect()
        client.send(b"POST /v/e/k HTTP/1.1\r\n")
        await edge.until(lambda: any(c._in_head for c in edge.state.connections))
        [connection] = edge.state.connections
        now = edge.loop.time()
        connection.look_at_the_time(now)
        client.send(b"X: y\r\n")
        await edge.until(lambda: connection._line_fed)
        connection.look_at_the_time(now + 10.1)
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
        [connection] = edge.state.connections
        now = edge.loop.time()
        connection.look_at_the_time(now)
        client.send(request[-5:-3])
        await edge.until(lambda: edge.publisher.reserved == 4)
        connection.look_at_the_time(now + 10.1)
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

    @pytest.mark.parametrize(
        ("connection", "version"), [(b"close, Upgrade", b"1.1"), (b"Upgrade", b"1.0")]
    )
    @edge_test()
    async def test_a_wish_beside_the_end_of_the_connection(self, edge, connection, version):
        wish = b"Connection: %b\r\nUpgrade: h2c\r\n" % connection
        client = await edge.connect()
        client.send(post(headers=AUTH + FORM + wish, version=version) + post(b"body=no"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (204, "close")
        assert await client.at_end()
        assert [p[3] for p in edge.publisher.published] == [b"hi"]

    @edge_test()
    async def test_a_malformed_request_that_wishes_is_a_400_too(self, edge, caplog):
        wish = b"Host: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n"
        answer = await edge.ask(b"POST http:// HTTP/1.1\r\n" + wish + b"\r\n")
        assert answer.status == 400
        assert not caplog.records

    @edge_test()
    async def test_a_web_socket_is_no_page(self, edge):
        wish = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
        answer = await edge.ask(b"GET /stats HTTP/1.1\r\nHost: x\r\n" + wish)
        assert answer.status == 200

    @edge_test()
    async def test_an_absolute_request_target(self, edge):
        client = await edge.connect()
        client.send(post(path=b"http://example.org/v/e/k?type=t"))
        assert (await client.answer()).status == 204
        client.send(b"GET http://example.org/stats HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer()).status == 200


class TestGuest:
    @edge_test(xheaders=True)
    async def test_guest_from_afar_is_refused(self, edge):
        near = await edge.ask(post(headers=AUTH + FORM + b"X-Real-IP: 127.0.0.1\r\n"))
        far = await edge.ask(post(headers=AUTH + FORM + b"X-Real-IP: 192.0.2.1\r\n"))
        chain = b"X-Forwarded-For: 127.0.0.1, 192.0.2.1, 127.0.0.5\r\n"
        forwarded = await edge.ask(post(headers=AUTH + FORM + chain))
        assert [near.status, far.status, forwarded.status] == [204, 403, 403]

    @edge_test()
    async def test_without_xheaders_nobody_is_believed(self, edge):
        answer = await edge.ask(post(headers=AUTH + FORM + b"X-Real-IP: 192.0.2.1\r\n"))
        assert answer.status == 204

    @edge_test(xheaders=True, trusted_proxies=("10.0.0.0/8",))
    async def test_only_trusted_proxies_are_believed(self, edge):
        answer = await edge.ask(post(headers=AUTH + FORM + b"X-Real-IP: 192.0.2.1\r\n"))
        assert answer.status == 204


class TestDrain:
    @edge_test()
    async def test_answers_say_close_while_draining(self, edge):
        client = await edge.connect()
        edge.gateway.draining = True
        client.send(post())
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (204, "close")
        assert await client.at_end()

    @edge_test()
    async def test_a_backend_that_shuts_down_closes_the_connection(self, edge):
        edge.publisher.outcome = (Outcome.SHUTTING_DOWN, "")
        answer = await edge.ask(post())
        assert (answer.status, answer.headers["connection"]) == (503, "close")

    @edge_test()
    async def test_shutdown_closes_the_idle_and_answers_the_busy(self, edge):
        edge.publisher.hold = True
        idle, busy = await edge.connect(), await edge.connect()
        busy.send(post())
        await edge.until(lambda: edge.publisher.held and len(edge.state.connections) == 2)
        for connection in list(edge.state.connections):
            connection.shutdown()
        assert await idle.at_end()
        edge.publisher.settle()
        answer = await busy.answer()
        assert (answer.status, answer.headers["connection"]) == (204, "close")

    @edge_test()
    async def test_a_body_read_to_its_end_after_its_answer_ends_the_connection(self, edge):
        client = await edge.connect()
        request = post(headers=FORM)
        client.send(request[:-3])
        assert (await client.answer()).status == 401
        edge.gateway.draining = True
        for connection in list(edge.state.connections):
            connection.shutdown()
        client.send(request[-3:] + post(b"body=no"))
        assert await client.at_end()
        assert edge.publisher.published == []
