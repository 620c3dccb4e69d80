"""Trace context, request ids, and stamps: what connects a request with its message."""

import json
import uuid

import pytest
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, item

from statelessd.amqp import encode
from statelessd.config.settings import Publish
from statelessd.gateway import defaults
from statelessd.gateway.defaults import Defaults
from statelessd.gateway.request import Target, message_reader
from statelessd.message import Outcome, RequestError

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TARGET = Target("v", "e", "k")
ITEM = json.dumps(item(0)).encode()
UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
URLENCODED = {b"content-type": b"application/x-www-form-urlencoded"}


def read(headers, body=b"body=x", settings=Defaults()):  # noqa: B008 - frozen
    headers = {**URLENCODED, **headers}
    return message_reader(TARGET, headers, b"", settings, 10**7)(body)


def header(**values):
    return encode.properties({"delivery_mode": 2, **values})


class TestTrace:
    def test_trace_context_becomes_message_headers(self):
        message = read({b"traceparent": PARENT, b"tracestate": b"a=1", b"baggage": b"b=2"})
        assert message.header == header(
            headers={"traceparent": PARENT.decode(), "tracestate": "a=1", "baggage": "b=2"}
        )

    def test_the_messages_own_wins(self):
        message = read({b"traceparent": PARENT}, b"body=x&headers[traceparent]=own&headers[n]=1")
        assert message.header == header(headers={"traceparent": "own", "n": "1"})

    def test_what_is_not_text_is_refused(self):
        with pytest.raises(RequestError) as error:
            read({b"baggage": b"\xff"})
        assert error.value.outcome is Outcome.BAD_REQUEST

    @pytest.mark.parametrize(
        ("count", "request_of"),
        [
            (1, lambda trace: post(headers=AUTH + FORM + trace)),
            (2, lambda trace: post(b"[%b,%b]" % (ITEM, ITEM), b"/v/e", AUTH + JSON + trace)),
            (1, lambda trace: post(headers=AUTH + FORM + UPGRADE + trace)),  # it is read twice
        ],
        ids=["single", "batch", "upgrade"],
    )
    @edge_test()
    async def test_its_lines_are_one_in_each_message(self, edge, count, request_of):
        await edge.ask(request_of(b"Tracestate: a=1\r\nTracestate: b=2\r\n"))
        assert edge.publisher.headers == count * [header(headers={"tracestate": "a=1, b=2"})]


class TestRequestId:
    @pytest.mark.parametrize("stamps", [b"", b"X-Request-ID: a b\r\n", b"X-Request-ID: \r\n",
                                       b"X-Request-ID: " + b"x" * 129 + b"\r\n"])  # fmt: skip
    @edge_test()
    async def test_otherwise_each_request_gets_one(self, edge, stamps):
        client = await edge.connect()
        seen = set()
        for _ in range(3):
            client.send(post(headers=AUTH + FORM + stamps))
            seen.add((await client.answer()).headers["x-request-id"])
        assert len(seen) == 3

    @pytest.mark.parametrize("path", [b"/v/e/k", b"/nothing", b"/v/e"])
    @edge_test()
    async def test_a_problem_document_has_it_too(self, edge, path):
        answer = await edge.ask(post(b"x=1", path=path))
        assert answer.status in (400, 404)
        assert json.loads(answer.body)["request_id"] == answer.headers["x-request-id"]

    @edge_test(max_body_bytes=10**6, max_unverified_bytes=65536)
    async def test_a_batch_that_is_refused_midway_keeps_its_own(self, edge):
        edge.publisher.known = False
        head = b"POST /v/e HTTP/1.1\r\nHost: x\r\nX-Request-ID: order-7\r\n" + AUTH + JSON
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
        for data, status in [
            (chunked + b"5\r\nhello, no line end", 400),
            (head + b"Content-Length: 200000\r\n\r\n" + b" " * 200_000, 503),
        ]:
            answer = await edge.ask(data)
            assert (answer.status, answer.headers["x-request-id"]) == (status, "order-7")
            assert json.loads(answer.body)["request_id"] == "order-7"

    @edge_test()
    async def test_a_request_that_cannot_be_read_gets_one(self, edge):
        answer = await edge.ask(b"nonsense\r\n\r\n")
        assert json.loads(answer.body)["request_id"] == answer.headers["x-request-id"]


class TestStamps:
    ALL = Defaults(message_id=True, timestamp=True, app_id="gateway")

    @pytest.fixture(autouse=True)
    def _noon(self, monkeypatch):
        monkeypatch.setattr(defaults.time, "time", lambda: 1364403057.9)

    def test_what_the_client_did_not_give_is_stamped(self):
        message = read({b"idempotency-key": b'"order-42"'}, settings=self.ALL)
        assert message.message_id == "order-42"
        stamps = {"message_id": "order-42", "timestamp": 1364403057, "app_id": "gateway"}
        assert message.header == header(**stamps)

    def test_what_the_client_gave_stays(self):
        body = b"body=x&message_id=own&timestamp=1&app_id=mine"
        message = read({b"idempotency-key": b"k"}, body, settings=self.ALL)
        assert message.message_id is None
        assert message.header == header(message_id="own", timestamp=1, app_id="mine")

    def test_without_a_key_the_id_is_a_uuid_and_never_the_same(self):
        ids = {read({}, settings=self.ALL).message_id for _ in range(3)}
        assert len({uuid.UUID(stamped) for stamped in ids}) == 3

    def test_a_key_that_is_no_message_id_is_refused(self):
        with pytest.raises(RequestError) as error:
            read({b"idempotency-key": b"x" * 256}, settings=self.ALL)
        assert "message_id" in error.value.detail

    def test_by_default_nothing_is_added(self):
        assert read({b"idempotency-key": b"k"}).header == header()

    @edge_test(publish=Publish(stamp_message_id=True))
    async def test_the_answer_tells_the_id(self, edge):
        request = post(headers=AUTH + FORM + b"Idempotency-Key: k\r\n")
        answer = await edge.ask(request)
        assert (answer.status, answer.headers["amqp-message-id"]) == (204, "k")
        edge.publisher.outcome = (Outcome.UNCONFIRMED, "")
        answer = await edge.ask(request)
        assert (answer.status, answer.headers["amqp-message-id"]) == (504, "k")
        body = json.dumps([item(0), item(1, message_id="own"), item(2)]).encode()
        headers = AUTH + JSON + b"Idempotency-Key: k\r\n"
        answer = await edge.ask(post(body, path=b"/v/e", headers=headers))
        found = [each.get("message_id") for each in json.loads(answer.body)["results"]]
        assert found == ["k-0", None, "k-2"]
