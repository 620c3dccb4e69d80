"""A publish request: its path and preferences, and the message that it makes."""

import pytest
from contents import properties_in

from statelessd.gateway.request import (
    Defaults,
    message_reader,
    wait_seconds,
)
from statelessd.gateway.target import Target, decode_target
from statelessd.message import Outcome, RequestError

TARGET = Target("test", "exchange", "key")
FORM = b"application/x-www-form-urlencoded"


def read(body=b"", query=b"", defaults=Defaults(), **headers):  # noqa: B008 - frozen
    fields = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return message_reader(TARGET, fields, query, defaults, 10**7).read(body)


def form(body, **kwargs):
    return read(body, content_type=FORM, **kwargs)


def properties_of(message):
    return properties_in(message.header)


class TestTarget:
    @pytest.mark.parametrize(
        ("raw", "target"),
        [
            ((b"test", b"ex", b"a.b"), Target("test", "ex", "a.b")),
            ((b"%2f", b"ex", b"a%2Fb"), Target("/", "ex", "a/b")),
            ((b"%2F", b"amq.default", b"q"), Target("/", "", "q")),
            ((b"v", b"", b""), Target("v", "", "")),
            ((b"v", b"a+b", b"c%2Bd"), Target("v", "a+b", "c+d")),
            ((b"v", b"%C3%A9", b"\xc3\xa9"), Target("v", "é", "é")),
            ((b"v", b"e", b"%23.%2A"), Target("v", "e", "#.*")),
            ((b"v", b"x" * 255, b"k"), Target("v", "x" * 255, "k")),
        ],
    )
    def test_segments_are_decoded_one_by_one(self, raw, target):
        assert decode_target(*raw) == target

    @pytest.mark.parametrize(
        "raw",
        [
            (b"", b"e", b"k"),
            (b"v", b"e", b"%zz"),
            (b"v", b"e", b"%4"),
            (b"v", b"%ff", b"k"),
            (b"v", b"e", b"x" * 256),
            (b"%C3%A9" * 128, b"e", b"k"),
        ],
    )
    def test_what_is_no_name_is_refused(self, raw):
        with pytest.raises(RequestError) as error:
            decode_target(*raw)
        assert error.value.outcome is Outcome.BAD_REQUEST


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"wait=10", 10.0),
        (b"respond-async, wait=5", 5.0),
        (b'wait="7"; x=y', 7.0),
        (b"WAIT = 3", 3.0),
        (b"wait=5, wait=9", 5.0),
        (b"wait=0", 0.0),
        (b"wait=abc", None),
        (b"wait=-1", None),
        (b"await=5", None),
        (b"wait=abc, wait=5", None),  # only the first one counts
        (b'foo="x, wait=9", wait=5', 5.0),
        (b'foo="\\", wait=9", wait=5', 5.0),
        (b"foo; wait=5", None),  # a parameter of foo
        (b'wait="5', None),
        (b'foo="never closed, wait=5', None),
        (b"wait=9999999999", 9999999999.0),
        (b"wait=1.5", None),
        (b"", None),
    ],
)
def test_prefer_wait(value, seconds):
    assert wait_seconds(value) == seconds


# Forms, their properties and their bodies.
FORMS = [
    (b"body=a", {}, b"a"),
    (b"body=b&type=x", {"message_type": "x"}, b"b"),
    (b"body=b&type=y", {"message_type": "y"}, b"b"),
    (b"type=x&body=c", {"message_type": "x"}, b"c"),
    (b"type=x&body=d&app_id=z", {"message_type": "x", "app_id": "z"}, b"d"),
    (b"body=e%26&type=x", {"message_type": "x"}, b"e&"),
    (b"body=f+f&type=x", {"message_type": "x"}, b"f f"),
    (b"b%6Fdy=g&type=x", {"message_type": "x"}, b"g"),
    (b"body=h&body=i&type=x", {"message_type": "x"}, b"i"),
    (b"body=" + b"j" * 5000 + b"&type=x", {"message_type": "x"}, b"j" * 5000),
    (b"body=k&app_id=" + b"l" * 200 + b"&type=" + b"m" * 200,
     {"app_id": "l" * 200, "message_type": "m" * 200}, b"k"),
    (b"body=", {}, b""),
]  # fmt: skip


class TestFormsInTurn:
    """One head brings many forms, and each of them is read by its own fields."""

    @pytest.mark.parametrize("first", FORMS)
    @pytest.mark.parametrize("second", FORMS)
    def test_each_has_its_own_fields_and_body(self, first, second):
        reader = message_reader(TARGET, {b"content-type": FORM}, b"", Defaults(), 10**7)
        for data, expected, body in (first, second, first):
            message = reader.read(data)
            found = properties_of(message)
            assert {name: found[name] for name in found if name != "delivery_mode"} == expected
            assert message.body == body

    @pytest.mark.parametrize("refused", [b"body=a&priority=x", b"priority=9"])
    def test_one_that_is_refused_changes_nothing(self, refused):
        reader = message_reader(TARGET, {b"content-type": FORM}, b"", Defaults(), 10**7)
        before = properties_of(reader.read(b"body=a&priority=9"))
        with pytest.raises(RequestError):
            reader.read(refused)
        assert properties_of(reader.read(b"body=a&priority=9")) == before


class TestForm:
    def test_body_and_properties(self):
        message = form(b"body=hi&content-type=text/plain&app_id=x&expire=100")
        assert (message.exchange, message.routing_key, message.body) == ("exchange", "key", b"hi")
        assert properties_of(message) == {
            "content_type": "text/plain",
            "app_id": "x",
            "expiration": "100",
            "delivery_mode": 2,
        }

    def test_what_the_request_says_of_itself_is_not_the_messages(self):
        kind = b"Application/X-WWW-Form-URLEncoded; charset=UTF-8"
        message = read(b"body=", content_type=kind, amqp_app_id=b"y")
        assert (message.body, properties_of(message)) == (b"", {"delivery_mode": 2})

    @pytest.mark.parametrize("data", [b"", b'{"a":1}', b"content-type=text/plain", b"Body=x"])
    def test_a_form_without_body_is_told_how_to_send_a_raw_one(self, data):
        with pytest.raises(RequestError, match="data-binary"):
            form(data)

    def test_a_body_in_the_query_is_no_body(self):
        with pytest.raises(RequestError):
            form(b"type=x", query=b"body=hi")

    def test_what_is_remembered_of_one_form_is_no_part_of_the_next(self):
        for i in range(3):
            message = form(b"type=t%d&body=%d" % (i % 2, i))
            assert message.body == b"%d" % i
            assert properties_of(message)["message_type"] == f"t{i % 2}"
        assert form(b"body=x", query=b"type=q").header != form(b"body=x").header
        assert form(b"body=x", defaults=Defaults(True, 1)).mandatory

    @pytest.mark.parametrize("data", [b"body=1&%62ody=2", b"body=1&body&body=2", b"%62ody=2"])
    def test_a_body_by_another_spelling(self, data):
        assert form(data).body == b"2"

    def test_unknown_fields_are_ignored(self):
        assert properties_of(form(b"body=x&foo=bar&%ff=1&cluster_id=c")) == {"delivery_mode": 2}

    def test_form_beats_query_and_the_last_beats_the_first(self):
        message = form(b"body=1&body=2&type=a&type=b", query=b"type=q&app_id=q")
        assert message.body == b"2"
        got = properties_of(message)
        assert (got["message_type"], got["app_id"]) == ("b", "q")

    def test_an_empty_value_is_as_good_as_none(self):
        got = properties_of(form(b"body=x&type=&priority=&headers=", query=b"type=q"))
        assert got == {"message_type": "q", "delivery_mode": 2}

    def test_json_and_bracket_headers(self):
        message = form(b'body=x&headers={"a":1,"b":2}&headers[b]=3&headers%5Bc%5D%5Bd%5D=4')
        assert properties_of(message)["headers"] == {"a": 1, "b": "3", "c": {"d": "4"}}

    @pytest.mark.parametrize(
        ("data", "table"),
        [
            (b'headers[b]=3&headers[c]=4&headers={"b":2}', {"b": 2, "c": "4"}),
            (b'headers={"b":2}&headers[b]=3', {"b": "3"}),
            (b'headers={"b":2}&headers={"a":1}', {"a": 1}),
            (b"headers[b]=3&headers=", {"b": "3"}),
        ],
    )
    def test_of_one_message_header_the_last_one_wins(self, data, table):
        assert properties_of(form(b"body=x&" + data))["headers"] == table

    def test_headers_of_query_and_form_add_up(self):
        message = form(b"body=x&headers[a]=form", query=b"headers[a]=query&headers[b]=query")
        assert properties_of(message)["headers"] == {"a": "form", "b": "query"}

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"body=x&priority=256", "priority"),
            (b"body=x&mandatory=maybe", "mandatory"),
            (b"body=x&app_id=%ff", "app_id"),
            (b"body=x&app_id=" + b"y" * 256, "app_id"),
            (b"body=x&headers=[1]", "headers"),
            (b'body=x&headers={"a":9223372036854775808}', "64 bits"),
            (b'body=x&headers={"%s":1}' % (b"n" * 256), "256 bytes"),
        ],
    )
    def test_what_the_broker_would_refuse_is_refused_by_name(self, data, words):
        with pytest.raises(RequestError) as error:
            form(data)
        assert error.value.outcome is Outcome.BAD_REQUEST
        assert words in error.value.detail


class TestRaw:
    def test_any_other_media_type_is_the_message_as_it_is(self):
        message = read(b'\x00{"a":1}\n', content_type=b"application/json", content_encoding=b"br")
        assert message.body == b'\x00{"a":1}\n'
        assert properties_of(message) == {
            "content_type": "application/json",
            "content_encoding": "br",
            "delivery_mode": 2,
        }

    def test_no_media_type_at_all(self):
        assert properties_of(read(b"")) == {"delivery_mode": 2}

    def test_query_beats_amqp_headers_which_beat_the_requests_own(self):
        own = {"content_type": b"c/d", "amqp_content_type": b"a/b"}
        got = properties_of(
            read(b"x", b"app_id=query", amqp_app_id=b"header", amqp_type=b"header", **own)
        )
        assert (got["app_id"], got["message_type"]) == ("query", "header")
        assert got["content_type"] == "a/b"

    def test_message_headers_as_request_headers(self):
        got = properties_of(
            read(b"x", amqp_header_attempt=b"1", amqp_headers=b'{"n":2}', query=b"headers[q]=3")
        )
        assert got["headers"] == {"attempt": "1", "n": 2, "q": "3"}

    def test_mandatory_from_each_source(self):
        assert read(b"x", amqp_mandatory=b"true").mandatory
        assert read(b"x", query=b"mandatory=1").mandatory
        assert form(b"body=x&mandatory=true").mandatory
        assert not read(b"x").mandatory


def test_defaults_hold_where_the_client_says_nothing():
    defaults = Defaults(mandatory=True, delivery_mode=1)
    message = form(b"body=x", defaults=defaults)
    assert message.mandatory
    assert properties_of(message)["delivery_mode"] == 1
    message = form(b"body=x&mandatory=false&delivery_mode=2", defaults=defaults)
    assert not message.mandatory
    assert properties_of(message)["delivery_mode"] == 2


def test_the_user_id_is_known_apart():
    assert [form(body).user_id for body in (b"body=x&user_id=bob", b"body=x")] == ["bob", None]
