"""Headers that come twice, as two lines or joined by a comma, and odd spellings of values."""

import asyncio

import pytest
from contents import properties_in
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, NDJSON, item, lines

from statelessd.config.settings import Publish

USER = b"Authorization: Basic dTpw\r\n"  # u:p, whose heads all connections share
URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=b"
PARTS = b'--b\r\nContent-Disposition: form-data; name="body"\r\n\r\nhi\r\n--b--\r\n'


def header_lines(name, values):
    return b"".join(b"%b: %b\r\n" % (name, value) for value in values)


def content_types(values):
    return header_lines(b"Content-Type", values)


def published(edge):
    return [body for *_, body in edge.publisher.published]


def last_properties(edge):
    return properties_in(edge.publisher.headers[-1])


async def ask_thrice(edge, request):
    """Return the answers over one connection, and over another, which may know the head."""
    client = await edge.connect()
    client.send(request)
    first = await client.answer()
    if "connection" not in first.headers:
        client.send(request)
        first = await client.answer()
    return first, await edge.ask(request)


def both(values):
    """Return the values as lines of their own, and joined in the ways that proxies do."""
    return [tuple(values), (b", ".join(values),), (b",".join(values),)]


class TestForms:
    @pytest.mark.parametrize(
        "values",
        [
            (URLENCODED,),
            (b"Application/X-WWW-Form-URLEncoded",),
            (URLENCODED + b" \t",),
            (URLENCODED + b" ; charset=UTF-8",),
            (URLENCODED + b";",),
            (URLENCODED + b"; charset",),
            (URLENCODED + b",",),
            (b", " + URLENCODED,),
            *both([URLENCODED, URLENCODED]),
            *both([URLENCODED, URLENCODED.upper(), URLENCODED]),
            *both([URLENCODED + b"; charset=UTF-8", URLENCODED + b" ;charset=UTF-8"]),
            (URLENCODED, b""),
            (b"", URLENCODED),
        ],
    )
    @edge_test()
    async def test_a_form_that_is_said_twice_is_a_form(self, edge, values):
        request = post(headers=USER + content_types(values))
        for answer in await ask_thrice(edge, request):
            assert answer.status == 204
        assert published(edge) == [b"hi"] * 3
        assert "content_type" not in last_properties(edge)

    @pytest.mark.parametrize(
        "values",
        [
            (MULTIPART,),
            (b"Multipart/Form-Data ;Boundary=b",),
            (b'multipart/form-data; boundary="b"',),
            *both([MULTIPART, MULTIPART]),
            *both([b'multipart/form-data; boundary="b"'] * 2),
        ],
    )
    @edge_test()
    async def test_one_in_parts_likewise(self, edge, values):
        request = post(PARTS, headers=USER + content_types(values))
        for answer in await ask_thrice(edge, request):
            assert answer.status == 204
        assert published(edge) == [b"hi"] * 3

    @pytest.mark.parametrize("boundary", [b'"a,b"', b'"a, multipart/form-data; x=b"'])
    @edge_test()
    async def test_a_comma_in_a_boundary_joins_nothing(self, edge, boundary):
        headers = USER + b"Content-Type: multipart/form-data; boundary=%b\r\n" % boundary
        body = PARTS.replace(b"--b", b"--" + boundary.strip(b'"'))
        assert (await edge.ask(post(body, headers=headers))).status == 204
        assert published(edge) == [b"hi"]

    @pytest.mark.parametrize(
        "values",
        [
            *both([URLENCODED, b"application/json"]),
            *both([b"application/json", URLENCODED]),
            *both([b"text/plain; charset=utf-8", URLENCODED]),
            *both([URLENCODED + b"; charset=utf-8", b"text/plain"]),
            *both([URLENCODED, MULTIPART]),
            *both([MULTIPART, b"multipart/form-data; boundary=B"]),
            *both([MULTIPART, b"multipart/form-data; boundary=c"]),
            *both([URLENCODED, URLENCODED, b"application/json"]),
            *both([URLENCODED, b"charset=utf-8"]),
            *both([b"json", URLENCODED]),
            (URLENCODED + b" charset=utf-8",),
            (URLENCODED + b"/",),
            (URLENCODED + b"\xa0",),
            (b"application/ x-www-form-urlencoded",),
            (b"x-www-form-urlencoded",),
            (b"application/www-form-urlencoded",),
            (b"application/x-www-form-encoded",),
            (b"application/x-www-form-url-encoded",),
            (b"application/x-www-form",),
            (b"application/x-form-urlencoded",),
            (b"application/x_www_form_urlencoded",),
            (b"multipart/formdata; boundary=b",),
            (b"multipart/form_data; boundary=b",),
            (b'"' + URLENCODED + b'"',),
            (b"multipart/form-data boundary=b",),
            (b"Multipart/Form-Data: boundary=b",),
            (b"multipart/form-data; boundary=a,b",),
            (b"multipart/form-data",),
            (b"multipart/form-data; boundary=",),
        ],
    )
    @edge_test()
    async def test_what_cannot_be_read_as_one_is_no_message(self, edge, values):
        for body in (b"body=hi", PARTS):
            for answer in await ask_thrice(edge, post(body, headers=USER + content_types(values))):
                assert (answer.status, answer.problem) == (400, "bad-request")
        assert not edge.publisher.published

    @edge_test()
    async def test_the_identity_is_not_a_coding(self, edge):
        for coding in (b"identity", b"Identity", b"", b"identity, identity"):
            headers = AUTH + FORM + b"Content-Encoding: %b\r\n" % coding
            assert (await edge.ask(post(headers=headers))).status == 204
        for coding in (b"gzip", b"identity, gzip", b"gzip\r\nContent-Encoding: identity"):
            headers = AUTH + FORM + b"Content-Encoding: %b\r\n" % coding
            assert (await edge.ask(post(headers=headers))).status == 400
        assert published(edge) == [b"hi"] * 4


class TestRaw:
    @pytest.mark.parametrize(
        ("values", "content_type"),
        [
            *((values, "application/json") for values in both([b"application/json"] * 2)),
            *((values, "a/b; c=D") for values in both([b"a/b; c=D"] * 2)),
            ((b"application/json, charset=utf-8",), "application/json, charset=utf-8"),
            ((b'a/b; c="d, e/f"',), 'a/b; c="d, e/f"'),
            (
                (b'a/b; form-data="x-www-form-urlencoded"',),
                'a/b; form-data="x-www-form-urlencoded"',
            ),
        ],
    )
    @edge_test()
    async def test_the_message_gets_the_one_type(self, edge, values, content_type):
        request = post(b"x=1", headers=USER + content_types(values))
        for answer in await ask_thrice(edge, request):
            assert answer.status == 204
        assert last_properties(edge)["content_type"] == content_type

    @pytest.mark.parametrize("values", both([b"application/json", b"text/plain"]))
    @edge_test()
    async def test_of_two_types_neither_is_guessed(self, edge, values):
        answer = await edge.ask(post(b"x=1", headers=USER + content_types(values)))
        assert answer.problem == "bad-request"
        assert not edge.publisher.published

    @edge_test()
    async def test_codings_are_a_list(self, edge):
        headers = AUTH + JSON + b"Content-Encoding: gzip\r\nContent-Encoding: br\r\n"
        assert (await edge.ask(post(headers=headers))).status == 204
        assert last_properties(edge)["content_encoding"] == "gzip, br"

    @edge_test()
    async def test_white_space_after_a_value_is_not_a_part_of_it(self, edge):
        headers = AUTH + b"AMQP-Priority: 7 \t\r\nAMQP-App-Id: \t cron \t\r\n"
        headers += b"Content-Type: a/b \r\nAMQP-Header-A: b\t\r\n"
        assert (await edge.ask(post(headers=headers))).status == 204
        got = last_properties(edge)
        assert (got["priority"], got["app_id"], got["content_type"]) == (7, "cron", "a/b")
        assert got["headers"] == {"a": "b"}


class TestBatches:
    @pytest.mark.parametrize("values", both([b"application/x-ndjson", b"Application/X-NDJSON"]))
    @edge_test()
    async def test_a_type_that_is_said_twice_is_one(self, edge, values):
        headers = AUTH + content_types(values)
        answer = await edge.ask(post(lines([item(1), item(2)]), path=b"/v/e", headers=headers))
        assert (answer.status, len(edge.publisher.published)) == (200, 2)

    @pytest.mark.parametrize(
        "values",
        [
            *both([b"application/json", b"application/x-ndjson"]),
            *both([b"application/x-ndjson", URLENCODED]),
            *both([b"application/json", b"text/plain"]),
        ],
    )
    @edge_test()
    async def test_two_types_are_none(self, edge, values):
        headers = AUTH + content_types(values)
        answer = await edge.ask(post(lines([item(1)]), path=b"/v/e", headers=headers))
        assert (answer.status, answer.problem) == (400, "bad-request")
        assert not edge.publisher.published

    @pytest.mark.parametrize("key", [b"", b"?message_id=1", b"?"])
    @pytest.mark.parametrize("target", [b"/v/e/", b"/v//", b"/%2f/amq.default/"])
    @pytest.mark.parametrize(
        "media_type",
        [
            b"application/x-ndjson",
            b"Application/JSONL; charset=utf-8",
            b"application/json-lines",
            b"text/x-ndjson",
        ],
    )
    @edge_test()
    async def test_ndjson_to_an_empty_routing_key_is_told_the_path(
        self, edge, media_type, target, key
    ):
        headers = USER + content_types([media_type])
        for answer in await ask_thrice(edge, post(lines([item(1)]), target + key, headers)):
            assert (answer.status, answer.problem) == (400, "bad-request")
            assert b"/virtual-host/exchange" in answer.body
        assert not edge.publisher.published

    @edge_test()
    async def test_other_messages_may_have_an_empty_routing_key(self, edge):
        for headers in (FORM, JSON, b""):
            assert (await edge.ask(post(b"body=1", b"/v/e/", AUTH + headers))).status == 204
        assert (await edge.ask(post(b"{}\n", b"/v/e/k", AUTH + NDJSON))).status == 204


class TestSingleValues:
    @pytest.mark.parametrize(
        ("name", "one", "other"),
        [
            (b"Authorization", b"Basic dTpw", b"Basic dTpx"),
            (b"Origin", b"http://x", b"http://y"),
            (b"Sec-Fetch-Site", b"same-origin", b"cross-site"),
            (b"Idempotency-Key", b"1", b"2"),
        ],
    )
    @edge_test()
    async def test_what_decides_has_one_value(self, edge, name, one, other):
        others = FORM if name == b"Authorization" else USER + FORM
        for path, body in ((b"/v/e/k", b"body=hi"), (b"/v/e", lines([item(1)]))):
            media_type = others if path == b"/v/e/k" else others.replace(FORM, NDJSON)
            for values in ((one, other), (other, one)):
                request = post(body, path, media_type + header_lines(name, values))
                answer = await edge.ask(request)
                assert (answer.status, answer.problem) == (400, "bad-request")
            request = post(body, path, media_type + header_lines(name, (one, one)))
            assert (await edge.ask(request)).status in (200, 204)
        assert len(edge.publisher.published) == 2

    @edge_test(publish=Publish(stamp_message_id=True))
    async def test_a_key_that_is_said_twice_is_the_messages_id(self, edge):
        request = post(headers=AUTH + FORM + b"Idempotency-Key: a\r\nIdempotency-Key: a\r\n")
        assert (await edge.ask(request)).headers["amqp-message-id"] == "a"

    @pytest.mark.parametrize(
        "values",
        [(b"gzip", b"chunked"), (b"gzip, chunked",), (b"chunked", b"chunked"), (b"chunked,",)],
    )
    @edge_test()
    async def test_a_coding_that_is_not_known_is_not_overlooked(self, edge, values):
        head = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\n" + AUTH + FORM
        head += header_lines(b"Transfer-Encoding", values)
        answer = await edge.ask(head + b"\r\n7\r\nbody=hi\r\n0\r\n\r\n")
        assert (answer.status, answer.problem) == (400, "bad-request")
        assert not edge.publisher.published

    @pytest.mark.parametrize(
        "values",
        [
            (b"100-continue",),
            (b"100-Continue",),
            (b"\t100-CONTINUE \t",),
            (b"100-continue", b"100-continue"),
            (b"100-continue, 100-continue",),
            (b"x=y", b"100-Continue"),
        ],
    )
    @edge_test()
    async def test_whoever_expects_to_be_asked_is_asked(self, edge, values):
        expect = header_lines(b"Expect", values)
        requests = [
            post(headers=AUTH + FORM + expect),
            post(lines([item(1)]), b"/v/e", AUTH + NDJSON + expect),
        ]
        for request in requests:
            client = await edge.connect()
            head, end, body = request.partition(b"\r\n\r\n")
            client.send(head + end)
            assert (await client.answer(head_only=True)).status == 100
            client.send(body)
            assert (await client.answer()).status in (200, 204)


class TestRequestIds:
    @pytest.mark.parametrize(
        "line",
        [
            b"X-Request-ID: %b",
            b"x-request-id: %b",
            b"X-REQUEST-ID: %b",
            b"x-Request-iD: %b",
            b"X-Request-ID:%b",
            b"X-Request-ID:  %b",
            b"X-Request-ID:\t%b",
            b"X-REQUEST-ID: %b \t",
            b"X-Request-ID: %b ",
        ],
    )
    @edge_test()
    async def test_each_answer_has_its_own_id_in_any_spelling(self, edge, line):
        """Also after a head with another spelling of the id has become known."""
        plain = post(headers=USER + FORM + b"X-Request-ID: first\r\n")
        for request_id in (b"first", b"second", b"first"):
            assert (await edge.ask(plain)).headers["x-request-id"] == "first"
            client = await edge.connect()
            for _ in range(2):
                client.send(post(headers=USER + FORM + line % request_id + b"\r\n"))
                async with asyncio.timeout(30):
                    answer = await client.answer()
                assert answer.headers["x-request-id"] == request_id.decode()
        assert published(edge) == [b"hi"] * 9
