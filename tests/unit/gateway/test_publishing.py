"""Publishes over HTTP, as clients see them on the wire."""

import pytest
from edge import AUTH, FORM, edge_test, post

from statelessd import form
from statelessd.http1.connection import Connection


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
    async def test_the_deadline_is_the_configured_one_or_what_the_client_prefers(self, edge):
        await edge.ask(post())
        await edge.ask(post(headers=AUTH + FORM + b"Prefer: wait=10\r\n"))
        await edge.ask(post(headers=AUTH + FORM + b"Prefer: wait=3600\r\n"))
        assert [round(d) for d in edge.publisher.deadlines] == [4, 10, 60]

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
        client.send(post(headers=AUTH + FORM + b"X-Request-ID: find-me\r\n"))
        answer = await client.answer()
        assert (answer.status, answer.problem) == (500, "internal-error")
        client.send(b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer()).status == 200
        assert "find-me" in caplog.text


class TestEarlyAnswers:
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
    @pytest.mark.skipif(form.FORM == "compiled", reason="a compiled class takes no other method")
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

    @edge_test(xheaders=True, trusted_proxies=("10.0.0.0/8",))
    async def test_only_trusted_proxies_are_believed(self, edge):
        answer = await edge.ask(post(headers=AUTH + FORM + b"X-Real-IP: 192.0.2.1\r\n"))
        assert answer.status == 204
