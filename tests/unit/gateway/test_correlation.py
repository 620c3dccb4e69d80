"""Trace context, request ids, and stamps: what connects a request with its message."""

import json
import uuid

import pytest
from contents import properties_in
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, NDJSON, item

from statelessd.amqp import encode
from statelessd.config.settings import Publish
from statelessd.gateway import defaults
from statelessd.gateway.defaults import Defaults
from statelessd.gateway.request import message_reader
from statelessd.gateway.target import Target
from statelessd.message import Outcome, RequestError

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TARGET = Target("v", "e", "k")
ITEM = json.dumps(item(0)).encode()
UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
URLENCODED = {b"content-type": b"application/x-www-form-urlencoded"}


def read(headers, body=b"body=x", settings=Defaults()):  # noqa: B008 - frozen
    headers = {**URLENCODED, **headers}
    return message_reader(TARGET, headers, b"", settings, 10**7).read(body)


def header(**values):
    return encode.properties({"delivery_mode": 2, **values})


class TestTrace:
    def test_trace_context_becomes_message_headers(self):
        message = read({b"traceparent": PARENT, b"tracestate": b"a=1", b"baggage": b"b=2"})
        assert message.header == header(
            headers={"traceparent": PARENT.decode(), "tracestate": "a=1", "baggage": "b=2"}
        )

    def test_the_messages_own_wins(self):
        body = b"body=x&headers[traceparent]=own&headers[n]=1"
        message = read({b"traceparent": PARENT, b"tracestate": b"a=1", b"baggage": b"b=2"}, body)
        # The request's tracestate belongs to its own traceparent.
        own = {"traceparent": "own", "n": "1"}
        assert message.header == header(headers={"baggage": "b=2"} | own)

    @pytest.mark.parametrize(
        "parent",
        [
            b"",
            b"\xff",
            PARENT.upper(),
            PARENT.replace(b"00-4", b"ff-4"),  # a version that there will not be
            PARENT[:-1],
            PARENT + b"0",
            PARENT + b"-",
            PARENT + b"-more",  # only later versions may have more
            PARENT.replace(b"00-4", b"cc-4") + b".more",
            PARENT.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32),
            PARENT.replace(b"00f067aa0ba902b7", b"0" * 16),
            PARENT + b", " + PARENT,
            b" " + PARENT,
            b"own",
        ],
    )
    def test_an_invalid_parent_is_ignored_with_its_state(self, parent):
        headers = {b"traceparent": parent, b"tracestate": b"a=1", b"baggage": b"b=2"}
        assert read(headers).header == header(headers={"baggage": "b=2"})
        assert read({b"traceparent": parent}).header == header()

    @pytest.mark.parametrize("more", [b"", b"-more", b"-"])
    def test_a_later_version_may_have_more(self, more):
        parent = b"cc" + PARENT[2:] + more
        assert read({b"traceparent": parent}).header == header(
            headers={"traceparent": parent.decode()}
        )

    @pytest.mark.parametrize(("parent", "goes_on"), [(PARENT, True), (b"own", False)])
    def test_a_setting_that_forwards_them_changes_nothing(self, parent, goes_on):
        settings = defaults.defaults_of(Publish(forward_headers=("Traceparent", "tracestate")))
        message = read({b"traceparent": parent, b"tracestate": b"a=1"}, settings=settings)
        expected = {"headers": {"traceparent": parent.decode(), "tracestate": "a=1"}}
        assert message.header == header(**(expected if goes_on else {}))

    def test_a_state_without_a_parent_is_ignored(self):
        assert read({b"tracestate": b"a=1"}).header == header()

    @pytest.mark.parametrize(
        "state",
        [
            b"a=1",
            b"a=1,b=2",
            b"a=1 , \tb=2",
            b"a=1,,b= 2,",
            b"a_-*/9=!~",
            b"4@v=1",
            b"z" * 256 + b"=1",
            b"t" * 241 + b"@" + b"v" * 14 + b"=1",
            b"a=" + b"v" * 256,
            b",".join(b"k%d=1" % i for i in range(32)),
        ],
    )
    def test_a_valid_state_goes_on(self, state):
        parent = {"traceparent": PARENT.decode()}
        message = read({b"traceparent": PARENT, b"tracestate": state})
        assert message.header == header(headers=parent | {"tracestate": state.decode()})

    @pytest.mark.parametrize(
        "state",
        [
            b"",
            b",",
            b"a",
            b"a=",
            b"=1",
            b"A=1",
            b"1=1",
            b"a =1",
            b"a.b=1",
            b"a=1,a=2",
            b"a=b=c",
            b"a=\xff",
            b"a@=1",
            b"@a=1",
            b"a@b@c=1",
            b"z" * 257 + b"=1",
            b"t" * 242 + b"@v=1",
            b"t@" + b"v" * 15 + b"=1",
            b"a=" + b"v" * 257,
            b",".join(b"k%d=1" % i for i in range(33)),
        ],
    )
    def test_an_invalid_state_is_ignored_and_its_parent_is_not(self, state):
        message = read({b"traceparent": PARENT, b"tracestate": state})
        assert message.header == header(headers={"traceparent": PARENT.decode()})

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
        parent = b"Traceparent: %b\r\n" % PARENT
        await edge.ask(request_of(parent + b"Tracestate: a=1\r\nTracestate: b=2\r\n"))
        expected = {"traceparent": PARENT.decode(), "tracestate": "a=1, b=2"}
        assert edge.publisher.headers == count * [header(headers=expected)]

    @pytest.mark.parametrize("second", [PARENT, PARENT.replace(b"4bf", b"5bf")])
    @pytest.mark.parametrize(
        ("count", "request_of"),
        [
            (1, lambda trace: post(headers=AUTH + FORM + trace)),
            (2, lambda trace: post(b"[%b,%b]" % (ITEM, ITEM), b"/v/e", AUTH + JSON + trace)),
        ],
        ids=["single", "batch"],
    )
    @edge_test()
    async def test_two_parents_are_none(self, edge, count, request_of, second):
        parents = b"Traceparent: %b\r\ntraceparent: %b\r\n" % (PARENT, second)
        answer = await edge.ask(request_of(parents + b"Tracestate: a=1\r\nBaggage: b=2\r\n"))
        assert answer.status < 300
        assert edge.publisher.headers == count * [header(headers={"baggage": "b=2"})]


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

    def test_by_default_nothing_is_added(self):
        assert read({}).header == header()

    @edge_test(publish=Publish(stamp_message_id=True))
    async def test_the_answer_tells_the_id(self, edge):
        request = post(headers=AUTH + FORM + b"Idempotency-Key: k\r\n")
        answer = await edge.ask(request)
        assert (answer.status, answer.headers["amqp-message-id"]) == (204, "k")
        edge.publisher.outcome = (Outcome.UNCONFIRMED, "")
        answer = await edge.ask(request)
        assert (answer.status, answer.headers["amqp-message-id"]) == (504, "k")


class TestIdempotencyKey:
    @pytest.mark.parametrize(
        ("value", "key"),
        [
            (b"order-42", "order-42"),
            (b'"order-42"', "order-42"),
            (b'"a \\"b\\" \\\\ c"', 'a "b" \\ c'),
            (b'"back\\slash"', "back\\slash"),
            (b'"order-42";v=1', "order-42"),
            (b'"half', '"half'),
            (b'half"', 'half"'),
            ('grün "x"'.encode(), 'grün "x"'),
            (b'"' + b"x" * 255 + b'"', "x" * 255),
            ("ü".encode() * 127, "ü" * 127),
        ],
    )
    def test_it_is_the_message_id(self, value, key):
        message = read({b"idempotency-key": value})
        assert message.header == header(message_id=key)
        assert message.message_id == key

    @pytest.mark.parametrize("value", [b"", b'""', b" "])
    def test_an_empty_one_counts_as_none(self, value):
        assert read({b"idempotency-key": value}).header == header()

    @pytest.mark.parametrize("value", [b"x" * 256, "ü".encode() * 128])
    def test_one_that_is_too_long_is_refused(self, value):
        with pytest.raises(RequestError) as error:
            read({b"idempotency-key": value})
        assert error.value.outcome is Outcome.BAD_REQUEST
        assert "Idempotency-Key" in error.value.detail
        own = read({b"idempotency-key": value}, b"body=x&message_id=own")  # it does not count
        assert own.header == header(message_id="own")

    def test_one_that_is_not_text_is_refused(self):
        with pytest.raises(RequestError) as error:
            read({b"idempotency-key": b"\xff"})
        assert error.value.detail == "Idempotency-Key is not UTF-8."

    @pytest.mark.parametrize(
        ("headers", "body", "query"),
        [
            ({}, b"body=x&message-id=own", b""),
            ({}, b"body=x", b"message_id=own"),
            ({b"content-type": b"text/plain", b"amqp-message-id": b"own"}, b"x", b""),
        ],
    )
    def test_the_requests_own_message_id_wins(self, headers, body, query):
        headers = {**URLENCODED, b"idempotency-key": b"k", **headers}
        message = message_reader(TARGET, headers, query, Defaults(), 10**6).read(body)
        assert properties_in(message.header)["message_id"] == "own"
        assert message.message_id is None

    @edge_test()
    async def test_each_request_has_its_own_whatever_was_known_before(self, edge):
        user = b"Authorization: Basic dTpw\r\n"  # all connections share this user's heads
        requests = [
            post(headers=user + FORM),
            *(post(headers=user + FORM + b"Idempotency-Key: %b\r\n" % key) for key in (b"a", b"b")),
            *(post(headers=user + JSON + b"Idempotency-Key: %b\r\n" % key) for key in (b"a", b"b")),
        ]
        client = await edge.connect()
        for _ in range(2):
            for request in requests:
                client.send(request)
                answer = await client.answer()
                told = [answer.headers.get("amqp-message-id")]
                told.append((await edge.ask(request)).headers.get("amqp-message-id"))
                sent = [
                    properties_in(each).get("message_id") for each in edge.publisher.headers[-2:]
                ]
                expected = next((k for k in "ab" if b"Key: %b" % k.encode() in request), None)
                assert told == sent == [expected] * 2
        assert edge.parsed == len(requests)  # so they were known

    @edge_test()
    async def test_the_items_of_a_batch_have_it_with_their_place(self, edge):
        body = json.dumps([item(0), item(1, message_id="own"), item(2)]).encode()
        headers = AUTH + JSON + b"Idempotency-Key: k\r\n"
        answer = await edge.ask(post(body, path=b"/v/e", headers=headers))
        found = [each.get("message_id") for each in json.loads(answer.body)["results"]]
        assert found == ["k-0", None, "k-2"]
        sent = [properties_in(each)["message_id"] for each in edge.publisher.headers]
        assert sent == ["k-0", "own", "k-2"]

    @edge_test()
    async def test_an_item_whose_id_is_too_long_with_its_place_fails_alone(self, edge):
        body = json.dumps([item(number) for number in range(11)]).encode()
        headers = AUTH + JSON + b"Idempotency-Key: %b\r\n" % (b"x" * 253)
        answer = await edge.ask(post(body, path=b"/v/e", headers=headers))
        found = [each["status"] for each in json.loads(answer.body)["results"]]
        assert found == [204] * 10 + [400]


class TestForwardedHeaders:
    ON = Publish(forward_headers=("X-Tenant", "user-agent", "X-Request-ID"))
    GIVEN = b"x-tenant: acme\r\nUser-Agent: curl\r\nX-Other: no\r\n"

    @pytest.mark.parametrize(
        ("count", "request_of"),
        [
            (1, lambda given: post(headers=AUTH + FORM + given)),
            (1, lambda given: post(headers=AUTH + given)),
            (1, lambda given: post(headers=AUTH + JSON + given)),
            (2, lambda given: post(b"[%b,%b]" % (ITEM, ITEM), b"/v/e", AUTH + JSON + given)),
            (2, lambda given: post(ITEM + b"\n" + ITEM, b"/v/e", AUTH + NDJSON + given)),
        ],
        ids=["form", "raw", "JSON", "batch", "NDJSON"],
    )
    @edge_test(publish=ON)
    async def test_they_become_message_headers_in_the_settings_spelling(
        self, edge, count, request_of
    ):
        await edge.ask(request_of(self.GIVEN))
        found = [properties_in(each)["headers"] for each in edge.publisher.headers]
        assert found == count * [{"X-Tenant": "acme", "user-agent": "curl"}]

    @edge_test()
    async def test_without_the_setting_none_does(self, edge):
        await edge.ask(post(headers=AUTH + FORM + self.GIVEN))
        assert "headers" not in properties_in(edge.publisher.headers[0])

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"body=x&headers[X-Tenant]=own", FORM),
            (b"body=x&headers[x-tenant]=own", FORM),
            (b"x", b"AMQP-Header-X-Tenant: own\r\n"),
        ],
    )
    @edge_test(publish=ON)
    async def test_the_messages_own_win_in_any_case(self, edge, body, content_type):
        await edge.ask(post(body, headers=AUTH + content_type + self.GIVEN))
        found = properties_in(edge.publisher.headers[0])["headers"]
        assert [v for n, v in found.items() if n.lower() == "x-tenant"] == ["own"]

    @pytest.mark.parametrize(
        ("sent", "forwarded"),
        [
            (post(headers=AUTH + JSON), {"Content-Type": "application/json"}),
            (post(headers=AUTH + FORM), None),
            (post(b"[%b]" % ITEM, b"/v/e", AUTH + JSON), None),
            (post(ITEM, b"/v/e", AUTH + NDJSON), None),
        ],
        ids=["raw", "form", "batch", "NDJSON"],
    )
    @edge_test(publish=Publish(forward_headers=("Content-Type",)))
    async def test_the_content_type_of_a_form_or_batch_is_not_its_messages(
        self, edge, sent, forwarded
    ):
        await edge.ask(sent)
        assert properties_in(edge.publisher.headers[0]).get("headers") == forwarded

    @edge_test(publish=ON)
    async def test_an_empty_one_counts_as_none(self, edge):
        await edge.ask(post(headers=AUTH + FORM + b"X-Tenant:\r\n"))
        assert "headers" not in properties_in(edge.publisher.headers[0])

    @pytest.mark.parametrize("path", [b"/v/e/k", b"/v/e"])
    @edge_test(publish=ON)
    async def test_one_that_is_not_text_is_refused(self, edge, path):
        given = AUTH + (FORM if path == b"/v/e/k" else JSON) + b"X-Tenant: \xff\r\n"
        answer = await edge.ask(post(b"[]", path, given))
        assert (answer.status, json.loads(answer.body)["detail"]) == (400, "X-Tenant is not UTF-8.")

    @edge_test(publish=ON)
    async def test_each_request_has_its_own_whatever_was_known_before(self, edge):
        user = b"Authorization: Basic dTpw\r\n"  # all connections share this user's heads
        lines = [
            b"X-Tenant: a\r\n", b"X-Tenant: b\r\n", b"X-Request-ID: 1\r\n",
            b"X-Request-ID: 2\r\n", b"X-Request-ID: \r\n", b"",
        ]  # fmt: skip
        for line in lines * 2:
            assert (await edge.ask(post(headers=user + FORM + line))).status == 204
            name, _, value = line.decode().strip().partition(": ")
            found = properties_in(edge.publisher.headers[-1]).get("headers", {})
            assert found == ({name: value} if value else {})
        assert edge.parsed == 9  # those with an id of the request are read each time
