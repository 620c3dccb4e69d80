"""Publishes over HTTP, as clients see them on the wire."""

import json

from edge import AUTH, FORM, edge_test, post

from statelessd.config.settings import Route
from statelessd.http1.connection import Connection
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
    async def test_a_body_in_very_many_pieces(self, edge):
        body = b"body=" + bytes(range(48, 58)) * 40
        client = await edge.connect()
        await client.send_slowly(post(body))
        assert (await client.answer()).status == 204
        assert edge.publisher.published == [("v", "e", "k", body[5:])]
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
        assert [(await client.answer()).status for _ in range(2)] == [204, 100]
        edge.sweep(0)
        edge.publisher.settle()
        assert (await client.answer()).status == 204
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
        assert "the publish " in caplog.text

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
        await edge.until(lambda: edge.is_doing("lingering"))
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
        for method in (b"GET", b"PUT", b"DELETE"):
            client.send(method + b" /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.headers["allow"]) == (405, "options, post")
        client.send(b"OPTIONS /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.headers["allow"]) == (204, "options, post")
        client.send(b"HEAD /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer(head_only=True)).status == 405
        client.send(post())
        assert (await client.answer()).status == 204


class TestGuest:
    @edge_test()
    async def test_guest_of_a_peer_that_cannot_be_looked_at_is_refused(self, edge, monkeypatch):
        monkeypatch.setattr(Connection, "addresses", lambda _: (None, None))  # it was reset
        assert (await edge.ask(post())).status == 403
        assert not edge.publisher.published

    @edge_test()
    async def test_guest_over_a_unix_socket_is_near(self, edge):
        edge.gateway.port = "unix:/run/x.sock"
        assert (await edge.ask(post())).status == 204

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
