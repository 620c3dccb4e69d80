"""Webhook endpoints on a real socket: admission, places, bodies, answers, and what is logged."""

import asyncio
import contextlib
import hmac
import logging
import tracemalloc

import pytest
from edge import Edge, provided

from statelessd.config.http_server import MIB
from statelessd.config.settings import Publish, Tracing
from statelessd.config.webhooks import Verify, Webhook
from statelessd.message import Outcome

PATH = "/hooks/a-secret-path"
SECRET = "a-secret-key"
JSON = b"Content-Type: application/json\r\n"


def webhook(**settings):
    verify = Verify(scheme="github", secrets=(SECRET, "another-secret"))
    values = {
        "name": "github",
        "path": PATH,
        "exchange": "hooks",
        "routing_key": "pushed",
        "username": "webhooks",
        "password": "sesame",
        "verify": verify,
    }
    return Webhook(**{**values, **settings})


def unsigned(**settings):
    return webhook(verify=Verify(scheme="none"), **settings)


def hook_test(*endpoints, **settings):
    webhooks = endpoints or (webhook(),)
    return provided("edge", lambda: Edge(webhooks=webhooks, **settings))


def head(length, *headers, method=b"POST", path=PATH, coding=None):
    sized = b"Content-Length: %d\r\n" % length if length is not None else b""
    lines = b"%b %b HTTP/1.1\r\nHost: x\r\n" % (method, path.encode())
    return lines + b"".join(headers) + sized + b"\r\n"


def signature(body, secret=SECRET):
    digest = hmac.digest(secret.encode(), body, "sha256").hex()
    return b"X-Hub-Signature-256: sha256=%b\r\n" % digest.encode()


def signed(body, *headers, secret=SECRET):
    return head(len(body), signature(body, secret), *headers) + body


class TestPublishing:
    @hook_test()
    async def test_a_signed_request_is_published_bit_for_bit_by_the_endpoints_account(self, edge):
        body = bytes(range(256)) * 3
        client = await edge.connect()
        client.send(signed(body, JSON, b"Content-Encoding: gzip\r\n"))
        answer = await client.answer()
        assert (answer.status, answer.body) == (204, b"")
        assert "x-request-id" in answer.headers
        assert edge.publisher.published == [("/", "hooks", "pushed", body)]
        assert edge.publisher.credentials[0].username == "webhooks"
        assert edge.publisher.credentials[0].password == "sesame"
        for expected in (b"application/json", b"gzip"):
            assert expected in edge.publisher.headers[0]
        client.send(signed(b"two", secret="another-secret"))
        assert (await client.answer()).status == 204

    @hook_test()
    async def test_a_changed_byte_is_a_403_and_publishes_nothing(self, edge):
        request = signed(b'{"amount": 10}')
        answer = await edge.ask(request[:-2] + b"1}")
        assert (answer.status, answer.problem) == (403, "signature-invalid")
        assert edge.publisher.published == []

    @hook_test()
    async def test_the_senders_authorization_and_origin_mean_nothing(self, edge):
        others = b"Authorization: what\r\nOrigin: https://elsewhere.example\r\n"
        answer = await edge.ask(signed(b"x", others, b"Sec-Fetch-Site: cross-site\r\n"))
        assert answer.status == 204

    @hook_test(webhook(status=200, timeout=7))
    async def test_the_status_and_the_deadline_are_the_endpoints(self, edge):
        answer = await edge.ask(signed(b"x"))
        assert (answer.status, answer.headers["content-length"]) == (200, "0")
        assert round(edge.publisher.deadlines[0]) == 7

    @hook_test(webhook(exchange="amq.default"))
    async def test_the_default_exchange_may_be_called_by_rabbitmqs_name(self, edge):
        await edge.ask(signed(b"x"))
        assert edge.publisher.published == [("/", "", "pushed", b"x")]

    @hook_test()
    async def test_only_the_whole_raw_path_is_the_endpoint(self, edge):
        for path in (PATH + "/", "/hooks", "/hooks/a%2Dsecret-path", PATH + "x"):
            answer = await edge.ask(head(1, signature(b"x"), path=path) + b"x")
            assert answer.status != 204
        answer = await edge.ask(head(1, signature(b"x"), path=PATH + "?a=b") + b"x")
        assert answer.status == 204

    @hook_test()
    async def test_chunks_and_a_slow_sender(self, edge):
        body = b"0123456789" * 10
        chunks = b"".join(b"5\r\n%b\r\n" % body[i : i + 5] for i in range(0, 100, 5))
        client = await edge.connect()
        start = head(None, signature(body), b"Transfer-Encoding: chunked\r\n")
        await client.send_slowly(start + chunks + b"0\r\n\r\n")
        assert (await client.answer()).status == 204
        assert edge.publisher.published[0][3] == body

    @hook_test()
    async def test_expect_continue(self, edge):
        client = await edge.connect()
        client.send(head(1, signature(b"x"), b"Expect: 100-continue\r\n"))
        assert (await client.answer()).status == 100
        client.send(b"x")
        assert (await client.answer()).status == 204

    @hook_test(webhook(max_body_bytes=25 * MIB))
    async def test_a_body_larger_than_that_of_a_publish(self, edge):
        body = bytes(25 * MIB)
        answer = await edge.ask(signed(body))
        assert answer.status == 204
        assert edge.publisher.published[0][3] == body
        assert edge.gateway.budget.held == 0

    @hook_test()
    async def test_what_the_broker_says_of_the_message_is_in_the_table(self, edge):
        for outcome in (Outcome.NACKED, Outcome.UNCONFIRMED, Outcome.NO_ROUTE):
            edge.publisher.outcome = (outcome, "")
            assert (await edge.ask(signed(b"x"))).problem == outcome.value

    @pytest.mark.parametrize(
        "outcome",
        [
            Outcome.UNAUTHORIZED,
            Outcome.TOO_MANY_FAILURES,
            Outcome.FORBIDDEN,
            Outcome.VIRTUAL_HOST_NOT_FOUND,
            Outcome.EXCHANGE_NOT_FOUND,
        ],
    )
    def test_what_the_operator_has_to_correct_is_a_503(self, caplog, outcome):
        @hook_test()
        async def play(edge):
            edge.publisher.outcome = (outcome, "user webhooks: ACCESS_REFUSED")
            answer = await edge.ask(signed(b"x"))
            assert (answer.status, answer.problem) == (503, "broker-unavailable")
            assert "retry-after" in answer.headers
            assert b"webhooks" not in answer.body

        play()
        assert f"{outcome.value}: user webhooks: ACCESS_REFUSED" in caplog.text
        assert "endpoint=github" in caplog.text


class TestRefusals:
    @hook_test(webhook(max_body_bytes=10))
    async def test_a_body_that_is_too_large(self, edge):
        assert (await edge.ask(head(11))).status == 413  # before it is sent
        chunks = head(None, b"Transfer-Encoding: chunked\r\n") + b"b\r\n12345678901\r\n"
        assert (await edge.ask(chunks)).status == 413

    @hook_test()
    async def test_a_body_without_a_length(self, edge):
        answer = await edge.ask(head(None, JSON))
        assert (answer.status, answer.problem) == (411, "length-required")
        answer = await edge.ask(head(None, b"Connection: close\r\n") + b"surprise")
        assert (answer.status, answer.problem) == (411, "length-required")
        assert edge.publisher.published == []

    @hook_test()
    async def test_another_method(self, edge):
        for method in (b"PUT", b"DELETE", b"PATCH"):
            answer = await edge.ask(head(0, method=method))
            assert (answer.status, answer.problem) == (405, "method-not-allowed")
            assert "POST" in answer.headers["allow"].upper()

    @hook_test(unsigned())
    async def test_a_page_of_another_site_cannot_use_an_endpoint_that_verifies_nothing(self, edge):
        foreign = b"Origin: https://elsewhere.example\r\n"
        for headers in (foreign, foreign + b"Sec-Fetch-Site: cross-site\r\n"):
            answer = await edge.ask(head(1, headers) + b"x")
            assert (answer.status, answer.problem) == (403, "cross-site")
        assert (await edge.ask(head(1) + b"x")).status == 204

    @hook_test(unsigned())
    async def test_a_rebound_name_does_not_help_a_page(self, edge):
        request = b"POST %b HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
        answer = await edge.ask(request % PATH.encode() + b"Content-Length: 1\r\n\r\nx")
        assert (answer.status, answer.problem) == (403, "cross-site")


class TestPlaces:
    @hook_test(webhook(max_in_flight=2), webhook(name="other", path="/hooks/other"))
    async def test_one_more_is_refused_before_its_body_and_others_have_room(self, edge):
        edge.publisher.hold = True
        clients = [await edge.connect() for _ in range(2)]
        clients[0].send(signed(b"x"))
        clients[1].send(head(10, signature(b"x")))  # its body does not come
        await edge.until(lambda: edge.gateway.router.webhooks.find(PATH.encode()).in_flight == 2)
        answer = await edge.ask(head(1000, signature(b"x")))
        assert (answer.status, answer.problem) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        other = await edge.connect()
        other.send(head(1, signature(b"x"), path="/hooks/other") + b"x")
        await edge.until(lambda: len(edge.publisher.held) == 2)
        edge.publisher.settle()
        assert (await clients[0].answer()).status == 204
        edge.publisher.hold = False
        assert (await edge.ask(signed(b"x"))).status == 204  # there is a place again
        edge.publisher.settle()
        assert (await other.answer()).status == 204

    @hook_test(webhook(max_in_flight=1))
    async def test_a_place_comes_back_whatever_happens(self, edge):
        endpoint = edge.gateway.router.webhooks.find(PATH.encode())
        client = await edge.connect()
        client.send(head(10))
        await edge.until(lambda: endpoint.in_flight == 1)
        client.writer.transport.abort()
        await edge.until(lambda: endpoint.in_flight == 0)
        client = await edge.connect()
        client.send(head(10))
        await edge.until(lambda: endpoint.in_flight == 1)
        edge.sweep(60)  # the body does not come
        assert (await client.answer()).status == 408
        edge.publisher.publish = None  # a fault of ours
        assert (await edge.ask(signed(b"x"))).status == 500
        assert (await edge.ask(head(1) + b"x")).status == 403
        assert endpoint.in_flight == 0

    @hook_test(webhook(max_in_flight=1))
    async def test_a_client_that_hangs_up_withdraws_its_message(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(signed(b"x"))
        await edge.until(lambda: edge.publisher.held)
        client.writer.transport.abort()
        await edge.until(lambda: edge.sweep(0) or edge.publisher.cancelled)


class TestMemory:
    @hook_test(max_unverified_bytes=MIB)
    async def test_bodies_of_unverified_senders_stay_within_the_budget(self, edge):
        clients = [await edge.connect() for _ in range(4)]
        for client in clients:
            client.send(head(600_000) + bytes(500_000))
        answers = [asyncio.create_task(client.answer()) for client in clients]
        done, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert {each.result().problem for each in done} == {"overloaded"}
        assert edge.gateway.budget.held <= MIB
        for each in waiting:
            each.cancel()

    @hook_test()
    async def test_eight_connections_with_25_megabytes_each(self, edge):
        tracemalloc.start()
        try:
            await asyncio.gather(*(self._send(edge, 25 * MIB) for _ in range(8)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # The budget of 32 MiB, once more where a body is put together, and the test's own.
        assert peak < 110 * MIB
        await edge.until(lambda: edge.gateway.budget.held == 0)
        assert edge.publisher.published == []

    async def _send(self, edge, size):
        client = await edge.connect()
        client.send(head(size))
        piece = bytes(64 * 1024)
        with contextlib.suppress(ConnectionError):
            for _ in range(size // len(piece)):
                client.writer.write(piece)
                await client.writer.drain()
            answer = await client.answer()
            assert answer.problem in ("overloaded", "signature-invalid")


class TestWhatIsShown:
    @hook_test(access_log=1)
    async def test_the_access_log_has_the_name_and_not_the_path(self, edge, caplog):
        caplog.set_level(logging.INFO)
        await edge.ask(signed(b"x"))
        await edge.ask(signed(b"x")[:-1] + b"y")
        await edge.ask(head(0, method=b"PUT"))
        # Requests that cannot be read, with the whole path and with a part of it.
        await edge.ask(b"POST %b HTTP/1.1\r\nHost x\r\n\r\n" % PATH.encode())
        await edge.ask(b"POST http://x%b HTTP/1.1\r\nHost x\r\n\r\n" % PATH.encode())
        await edge.ask(head(None, b"A: b\r\n" * 200))
        client = await edge.connect()
        client.send(b"POST " + PATH[:-3].encode())
        await edge.until(lambda: edge.is_doing("reading head"))
        edge.sweep(60)
        assert (await client.answer()).status == 408
        lines = [each.getMessage() for each in caplog.records if "access" in each.name]
        assert len(lines) == 7
        assert all("endpoint=github" in line for line in lines)
        assert "user=webhooks" in lines[0]
        assert "outcome=confirmed" in lines[0]
        assert "outcome=signature-invalid" in lines[1]
        for hidden in ("a-secret", SECRET, "sesame"):
            assert hidden not in caplog.text

    @hook_test(tracing=Tracing(enabled=True))
    async def test_a_span_and_the_message_belong_together(self, edge):
        trace = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        assert (await edge.ask(signed(b"x", trace))).status == 204
        assert (await edge.ask(head(1, trace) + b"x")).status == 403  # nothing to publish
        [span] = await edge.spans()
        assert span.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
        assert b"%016x" % span.context.span_id in edge.publisher.headers[0]

    @hook_test()
    async def test_a_traceparent_becomes_a_header(self, edge):
        trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await edge.ask(signed(b"x", b"traceparent: " + trace + b"\r\n"))
        assert trace in edge.publisher.headers[0]

    @hook_test(webhook(headers=("Traceparent",)))
    async def test_a_setting_does_not_forward_a_traceparent_that_is_not_valid(self, edge):
        assert (await edge.ask(signed(b"{}", b"Traceparent: own\r\n"))).status == 204
        assert b"raceparent" not in edge.publisher.headers[0]

    @hook_test(publish=Publish(stamp_app_id="shop", stamp_message_id=True, persistent=False))
    async def test_stamps_are_those_of_every_publish(self, edge):
        answer = await edge.ask(signed(b"x"))
        stamped = answer.headers["amqp-message-id"].encode()
        assert stamped in edge.publisher.headers[0]
        assert b"shop" in edge.publisher.headers[0]

    @hook_test(webhook(headers=("ce-type",)), webhook(name="b", path="/b", message_id="mine"))
    async def test_a_cloudevent_keeps_its_attributes(self, edge):
        event = b"ce-specversion: 1.0\r\nce-id: e-1\r\nce-source: /shop%20A\r\nce-type: paid\r\n"
        answer = await edge.ask(signed(b"x", event))
        assert answer.headers["amqp-message-id"] == "e-1"
        for expected in (b"ce-source", b"/shop A", b"ce-type", b"paid", b"ce-specversion"):
            assert expected in edge.publisher.headers[0]
        answer = await edge.ask(head(1, signature(b"x"), event, path="/b") + b"x")
        assert answer.headers["amqp-message-id"] == "mine"
        assert (await edge.ask(signed(b"x", b"ce-specversion: 2.0\r\n"))).status == 400

    @hook_test()
    async def test_an_idempotency_key_becomes_the_message_id(self, edge):
        answer = await edge.ask(signed(b"x", b'Idempotency-Key: "k-1"\r\n'))
        assert answer.headers["amqp-message-id"] == "k-1"

    @hook_test(webhook(message_id="{json.id}"))
    async def test_a_message_id_cannot_add_to_the_response(self, edge):
        answer = await edge.ask(signed(b'{"id": "a\\r\\nSet-Cookie: x"}'))
        assert answer.status == 204
        assert "set-cookie" not in answer.headers
        assert "amqp-message-id" not in answer.headers
        answer = await edge.ask(signed(b'{"id": "a-1"}'))
        assert answer.headers["amqp-message-id"] == "a-1"

    @hook_test()
    async def test_recent_errors_and_counts_are_by_name(self, edge):
        await edge.ask(signed(b"x"))
        await edge.ask(signed(b"x")[:-1] + b"y")
        [error] = edge.gateway.recent_errors
        assert (error.endpoint, error.type, error.user) == (
            "github",
            "signature-invalid",
            "webhooks",
        )
        for page in (b"/", b"/stats", b"/metrics", b"/dashboard.json", b"/details.json", b"/docs",
                     b"/openapi.json"):  # fmt: skip
            answer = await edge.ask(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % page)
            assert answer.status == 200
            for hidden in (b"a-secret", SECRET.encode(), b"sesame"):
                assert hidden not in answer.body
