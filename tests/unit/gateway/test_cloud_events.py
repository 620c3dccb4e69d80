"""CloudEvents in request headers and in batches, as clients and consumers see them."""

import gzip
import json

import pytest
from contents import properties_in
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON as JSON_TYPE

from statelessd.config.settings import Publish
from statelessd.gateway.defaults import Defaults, defaults_of
from statelessd.gateway.request import message_reader
from statelessd.gateway.target import Target
from statelessd.message import Outcome, RequestError

TARGET = Target("v", "e", "k")
EVENT = {
    b"content-type": b"application/json",
    b"ce-specversion": b"1.0",
    b"ce-id": b"A1",
    b"ce-source": b"/shop",
    b"ce-type": b"order.paid",
}
NAMES = {"ce-specversion": "1.0", "ce-id": "A1", "ce-source": "/shop", "ce-type": "order.paid"}
BATCH = b"Content-Type: application/cloudevents-batch+json; charset=utf-8\r\n"


def read(headers=(), query=b"", settings=None, without=()):
    """Return the properties of the event that these headers add to, by their names."""
    defaults = Defaults() if settings is None else defaults_of(settings)
    given = {n: v for n, v in {**EVENT, **dict(headers)}.items() if n not in without}
    return properties_in(message_reader(TARGET, given, query, defaults, 10**7).read(b"{}").header)


def refusal(headers=(), without=()):
    with pytest.raises(RequestError) as error:
        read(headers, without=without)
    assert error.value.outcome is Outcome.BAD_REQUEST
    return error.value.detail


class TestBinary:
    def test_attributes_become_message_headers(self):
        found = read({b"ce-time": b"2018-04-05T03:56:24Z", b"ce-tenant7": b"acme"})
        assert found["headers"] == {
            **NAMES, "ce-time": "2018-04-05T03:56:24Z", "ce-tenant7": "acme"
        }  # fmt: skip
        assert found["content_type"] == "application/json"
        assert found["message_id"] == "A1"

    @pytest.mark.parametrize(
        ("value", "meaning"),
        [
            (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \u20ac \U0001f600"),
            (b"%e2%82%ac", "\u20ac"),
            (b"%41%42C", "ABC"),
            (b"100%2525", "100%25"),  # one round
            (b"a+b", "a+b"),
            (b"100%", "100%"),
            (b"%zz", "%zz"),
            ("gr\u00fcn".encode(), "gr\u00fcn"),
            (b'"a b"', "a b"),
            (b'"a \\"b\\" \\\\ \\c"', 'a "b" \\ c'),
            (b'"%22"', '"'),
            (b'"half', '"half'),
            (b'a "b"', 'a "b"'),
        ],
    )
    def test_values_are_decoded_once(self, value, meaning):
        found = read({b"ce-subject": value, b"ce-id": value})
        assert found["headers"]["ce-subject"] == found["message_id"] == meaning

    @pytest.mark.parametrize("value", [b"%C0%A0", b"%ff", b"\xff", b"%ED%A0%80"])
    def test_what_is_not_utf8_is_refused(self, value):
        assert refusal({b"ce-subject": value}) == "ce-subject is not UTF-8."

    @pytest.mark.parametrize("value", [b"a%0D%0Ab", b"%00", b"%7F", b"%C2%85"])
    def test_control_characters_are_refused(self, value):
        assert refusal({b"ce-id": value}) == "ce-id has a control character."

    @pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
    def test_a_required_attribute_that_is_missing_is_named(self, name):
        header = b"ce-" + name.encode()
        assert refusal({header: b'""'}) == f"The CloudEvent has no {name}."
        if name != "specversion":
            assert refusal(without=[header]) == f"The CloudEvent has no {name}."

    @pytest.mark.parametrize("value", [b"0.3", b"2.0", b"1", b"1.0.1"])
    def test_another_version_is_refused(self, value):
        assert refusal({b"ce-specversion": value}) == "The CloudEvent's specversion is not 1.0."

    @pytest.mark.parametrize(
        "name", [b"ce-my-tenant", b"ce-a_b", b"ce-", b"ce-data", b"ce-datacontenttype"]
    )
    def test_a_header_that_is_not_an_attribute_is_refused(self, name):
        assert refusal({name: b"x"}).startswith(f"{name.decode()} is not an attribute")

    def test_an_empty_attribute_counts_as_none(self):
        assert read({b"ce-subject": b""})["headers"] == NAMES

    def test_without_a_version_it_is_not_an_event(self):
        found = read(without=[b"ce-specversion"])
        assert found == {"content_type": "application/json", "delivery_mode": 2}

    @pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_", ""])
    def test_the_prefix_is_a_setting(self, prefix):
        found = read(settings=Publish(cloudevents_prefix=prefix))["headers"]
        assert found == {f"{prefix}{name.removeprefix('ce-')}": v for name, v in NAMES.items()}

    @pytest.mark.parametrize(
        ("headers", "query", "message_id"),
        [
            ({b"amqp-message-id": b"own", b"idempotency-key": b"k"}, b"", "own"),
            ({b"idempotency-key": b"k"}, b"message_id=own", "own"),
            ({b"idempotency-key": b'"k"'}, b"", "k"),
            ({b"idempotency-key": b'""'}, b"", "A1"),
            ({}, b"", "A1"),
        ],
    )
    def test_which_message_id_wins(self, headers, query, message_id):
        found = read(headers, query, Publish(stamp_message_id=True))
        assert (found["message_id"], found["headers"]["ce-id"]) == (message_id, "A1")

    def test_the_messages_own_headers_win(self):
        found = read({b"amqp-header-ce-type": b"own", b"amqp-header-n": b"1"})
        assert found["headers"] == {**NAMES, "ce-type": "own", "n": "1"}

    def test_a_structured_event_stays_as_it_is(self):
        found = read({b"content-type": b"application/CloudEvents+json; charset=utf-8"})
        assert found == {
            "content_type": "application/CloudEvents+json; charset=utf-8", "delivery_mode": 2
        }  # fmt: skip

    @edge_test()
    async def test_a_form_is_refused(self, edge):
        answer = await edge.ask(post(headers=AUTH + FORM + b"ce-specversion: 1.0\r\n"))
        assert (answer.status, edge.publisher.published) == (400, [])
        assert "CloudEvent" in json.loads(answer.body)["detail"]

    @edge_test()
    async def test_each_event_is_itself_whatever_was_known_before(self, edge):
        user = b"Authorization: Basic dTpw\r\n"
        lines = b"ce-specversion: 1.0\r\nce-source: /\r\nce-type: t\r\nce-id: %b\r\n"
        for name in ("a", "b", "a"):
            request = post(headers=user + JSON_TYPE + lines % name.encode())
            assert "amqp-message-id" not in (await edge.ask(request)).headers
            found = properties_in(edge.publisher.headers[-1])
            assert found["message_id"] == found["headers"]["ce-id"] == name
        assert edge.parsed == 2


def event(number=0, **attributes):
    return {
        "specversion": "1.0", "id": f"e{number}", "source": "/s", "type": "order.paid", **attributes
    }  # fmt: skip


async def send(edge, events, query=b"", headers=b""):
    """Return the status and the results of a batch; bytes are sent as they are."""
    body = events if isinstance(events, bytes) else json.dumps(events).encode()
    answer = await edge.ask(post(body, b"/v/e" + query, AUTH + BATCH + headers))
    document = json.loads(answer.body)
    return answer.status, document.get("results", document)


def sent(edge):
    return [(key, body) for _, _, key, body in edge.publisher.published]


LARGE = {"data": "x" * 100_000}


class TestBatch:
    @pytest.mark.parametrize("more", [{}, LARGE], ids=["small", "large"])
    @edge_test()
    async def test_each_event_is_a_message_as_it_was_sent(self, edge, more):
        texts = [
            json.dumps(
                event(n, subject="gr\u00fcn", tenant=7, **more), ensure_ascii=False, indent=2
            )
            for n in range(3)
        ]
        status, results = await send(edge, f" [ {' , '.join(texts)} ] ".encode())
        assert (status, [each["id"] for each in results]) == (200, ["e0", "e1", "e2"])
        assert sent(edge) == [("order.paid", text.encode()) for text in texts]
        found = [properties_in(each) for each in edge.publisher.headers]
        assert found == [
            {
                "content_type": "application/cloudevents+json",
                "message_id": f"e{n}",
                "delivery_mode": 2,
            }
            for n in range(3)
        ]

    @edge_test()
    async def test_a_batch_may_be_compressed(self, edge):
        body = gzip.compress(json.dumps([event(n, **LARGE) for n in range(3)]).encode())
        status, results = await send(edge, body, b"", b"Content-Encoding: gzip\r\n")
        assert (status, [each["id"] for each in results]) == (200, ["e0", "e1", "e2"])
        assert [json.loads(text) for _, text in sent(edge)] == [event(n, **LARGE) for n in range(3)]

    @edge_test()
    async def test_a_batch_may_be_empty(self, edge):
        assert await send(edge, []) == (200, [])

    @pytest.mark.parametrize(
        ("query", "key"),
        [
            (b"?routing_key=fixed", "fixed"),
            (b"?routing_key=", "order.paid"),
            (b"?routing_key=a.%7Bjson.type%7D.%7Bjson.subject%7D", "a.order.paid.New York.x"),
            (b"?routing_key={json.type|word}.{json.subject|word}", "order_paid.New_York_x"),
            (b"?routing_key={json.none|}{json.none|default}{json.none|a.b|word}", "defaulta_b"),
            (b"?routing_key={json.n}.{json.yes}", "7.true"),
            (b"?routing_key={{json.type}}", "{json.type}"),
            (b"?routing_key={json.none|word|word}", "word"),
        ],
    )
    @pytest.mark.parametrize("more", [{}, LARGE], ids=["small", "large"])
    @edge_test()
    async def test_the_routing_key_may_be_a_template(self, edge, query, key, more):
        one = event(subject="New York.x", n=7, yes=True, **more)
        assert (await send(edge, [one], query))[0] == 200
        assert [found for found, _ in sent(edge)] == [key]

    @pytest.mark.parametrize("more", [{}, LARGE], ids=["small", "large"])
    @edge_test()
    async def test_an_event_without_the_attribute_fails_alone(self, edge, more):
        events = [event(0, subject="a"), event(1, **more), event(2, subject="c", **more)]
        status, results = await send(edge, events, b"?routing_key={json.subject}")
        assert (status, [each["status"] for each in results]) == (207, [204, 400, 204])
        assert results[1]["detail"] == "The CloudEvent has no subject for its routing key."
        assert results[1]["id"] == "e1"

    @pytest.mark.parametrize(
        "template",
        [
            b"{type}", b"{json.type", b"json.type}", b"{json.}", b"{json.data}", b"{json.data.x}",
            b"{header.x}", b"{json.type|a|b}", b"{json.type|a|word|word}", b"{json.type}}",
            b"%ff", b"{json.type}" * 50,
        ],
    )  # fmt: skip
    @edge_test()
    async def test_what_is_not_a_template_is_refused(self, edge, template):
        status, document = await send(edge, [event()], b"?routing_key=" + template)
        assert (status, sent(edge)) == (400, [])
        assert "routing_key" in document["detail"]

    @pytest.mark.parametrize("more", [{}, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize(
        ("attributes", "detail"),
        [
            ({"id": ""}, "The CloudEvent has no id."),
            ({"source": None}, "The CloudEvent has no source."),
            ({"type": 7}, "The CloudEvent's type is not a string."),
            ({"specversion": "0.3"}, "The CloudEvent's specversion is not 1.0."),
            ({"id": "x" * 256}, "message_id is 256 bytes long; AMQP allows 255."),
            ({"type": "x" * 256}, "The routing key is 256 bytes long; AMQP allows 255."),
        ],
    )
    @edge_test()
    async def test_an_event_that_is_not_valid_fails_alone(self, edge, attributes, detail, more):
        status, results = await send(edge, [event(**attributes, **more), event(1)])
        assert (status, [each["status"] for each in results]) == (207, [400, 204])
        assert results[0]["detail"] == detail

    @pytest.mark.parametrize(
        "text", [b"7", b"[]", b"null", b'"x"', b'[1, "%b"]' % (b"x" * 100_000)]
    )
    @edge_test()
    async def test_what_is_not_an_event_fails_alone(self, edge, text):
        good = json.dumps(event()).encode()
        status, results = await send(edge, b"[%b,%b]" % (text, good))
        assert (status, [each["status"] for each in results]) == (207, [400, 204])
        assert results[0]["detail"] == "The CloudEvent is not a JSON object."

    @pytest.mark.parametrize("size", [10, 100_000])
    @edge_test()
    async def test_text_that_is_not_utf8_fails_alone(self, edge, size):
        good = json.dumps(event(data="x" * size)).encode()
        status, results = await send(edge, b"[%b,%b]" % (good.replace(b"xx", b"\xff\xff"), good))
        assert (status, [each["status"] for each in results]) == (207, [400, 204])

    @edge_test()
    async def test_properties_of_all_messages_come_from_the_query(self, edge):
        query = b"?priority=3&content_type=no&headers[a]=b&nonsense=1"
        assert (await send(edge, [event()], query))[0] == 200
        found = properties_in(edge.publisher.headers[0])
        assert (found["priority"], found["headers"]) == (3, {"a": "b"})
        assert found["content_type"] == "application/cloudevents+json"

    @pytest.mark.parametrize(
        "query", [b"?message_id=x", b"?priority=x", b"?headers=x", b"?mandatory=x"]
    )
    @edge_test()
    async def test_a_query_that_cannot_be_is_refused(self, edge, query):
        status, document = await send(edge, [event()], query)
        assert (status, document["outcome"]) == (400, "not-published")

    @edge_test()
    async def test_an_idempotency_key_counts_first(self, edge):
        status, results = await send(edge, [event(0), event(1)], b"", b"Idempotency-Key: k\r\n")
        assert (status, [each["message_id"] for each in results]) == (200, ["k-0", "k-1"])
        found = [properties_in(each)["message_id"] for each in edge.publisher.headers]
        assert found == ["k-0", "k-1"]

    @edge_test()
    async def test_without_a_third_part_in_the_path(self, edge):
        answer = await edge.ask(post(b"[]", b"/v/e/", AUTH + BATCH))
        assert (answer.status, edge.publisher.published) == (400, [])
