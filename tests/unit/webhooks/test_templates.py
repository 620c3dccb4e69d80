"""Routing keys and message ids from templates."""

import contextlib
import json
import time

import pytest
from deliveries import delivery, endpoint, finish, receive, refusal
from hypothesis import given
from hypothesis import strategies as st

from statelessd.message import Outcome, Public, RequestError

FORM = "application/x-www-form-urlencoded"


def key(template, body=b"", headers=(), **more):
    """Return the routing key that the template makes."""
    return receive(endpoint(routing_key=template), delivery(body, headers, **more)).routing_key


def refused(template, body=b"", headers=(), **more):
    """Return the detail with which a delivery is refused."""
    error = refusal(endpoint(routing_key=template), delivery(body, headers, **more))
    assert error.outcome is Outcome.BAD_REQUEST
    return error.detail


def test_the_parts_of_a_delivery_are_inserted():
    template = "a.{header.X-Event}.{query.q}.{json.action|none}"
    made = key(template, b'{"action": "opened"}', {"x-event": "push"}, target=b"/hook?q=a%20b")
    assert made == "a.push.a b.opened"


def test_the_fields_of_a_form_are_inserted():
    assert (
        key("{form.b}", b"a=1&b=2&b=x+%C3%A9", {"Content-Type": FORM + "; charset=utf-8"}) == "x é"
    )
    multipart = b'--x\r\nContent-Disposition: form-data; name="b"\r\n\r\nv\r\n--x--\r\n'
    assert key("{form.b}", multipart, {"Content-Type": "Multipart/Form-Data; boundary=x"}) == "v"


def test_the_json_of_a_form_is_in_its_field_payload():
    headers = {"Content-Type": FORM}
    assert key("{json.action}", b"payload=%7B%22action%22%3A+%22opened%22%7D", headers) == "opened"
    assert key("{json.action|none}", b"other=1", headers) == "none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"invoice.paid"', "invoice.paid"),
        ('"\\u00e9\\n\\"\\\\"', 'é\n"\\'),
        ('"\\ud83d\\ude00"', "😀"),
        ("1.0", "1.0"),
        ("1e3", "1e3"),
        ("-0", "-0"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
        ("false", "false"),
        ("null", "none"),
        ('""', "none"),
        ("{}", "none"),
        ('["x"]', "none"),
    ],
)
def test_scalars_are_inserted_as_they_are_written(text, expected):
    for document in (
        f'{{"a":{text}}}',
        f' {{ "b" : [ ] , "a" : {text} \n}} ',
        f'{{"a":0,"a":{text}}}',
    ):
        assert key("{json.a|none}", document.encode()) == expected
    assert key("{json.0|none}", f"[{text}]".encode()) == expected
    assert key("{json.x.2.y|none}", f'{{"x":[0,1,{{"y":{text}}}]}}'.encode()) == expected


@pytest.mark.parametrize(
    "path", ["b", "a.b", "a.3", "a.-1", "a.01", "a.x", "a.9999999", "a.0.b", "a.1.0", "0"]
)
def test_what_is_not_there_is_missing(path):
    document = b'{"a": [1, "x", {}]}'
    assert key(f"{{json.{path}|none}}", document) == "none"
    assert f"no json.{path}, which its routing key needs" in refused(f"{{json.{path}}}", document)


def test_a_name_with_an_escape_is_found():
    assert key('{json.é.a"b}', b'{"\\u00e9": {"a\\"b": 1}}') == "1"


@pytest.mark.parametrize("place", ["header.x-event", "query.q", "form.f", "json.a.b"])
def test_a_missing_part_is_named(place):
    detail = refused(f"{{{place}}}", b"{}")
    assert f"no {place}" in detail
    assert isinstance(detail, Public)
    assert key(f"{{{place}|x}}{{{place}|}}", b"{}") == "x"


@pytest.mark.parametrize("empty", [{"X-Event": ""}, {"X-Event": "  "}])
def test_an_empty_part_is_as_good_as_none(empty):
    assert key("{header.x-event|none}", headers=empty) == "none"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{json.t}", "a.b c"),
        ("{json.t|word}", "a_b_c"),
        ("{json.t|none|word}", "a_b_c"),
        ("{json.x|no.ne|word}", "no_ne"),
        ("{json.x|no.ne}", "no.ne"),
        ("{json.x|word|word}", "word"),
        ("{json.x||word}", ""),
        ("{{{json.t|word}}}", "{a_b_c}"),
        ("{{json.t}}", "{json.t}"),
        ("", ""),
    ],
)
def test_words_defaults_and_braces(template, expected):
    assert key(template, b'{"t": "a.b c"}') == expected


@pytest.mark.parametrize(
    "template",
    [
        "{", "}", "a{b", "{json.a", "json.a}", "{{json.a}", "{}", "{json}", "{json.}",
        "{json.a..b}", "{body}", "{headers.a}", "{header.a b}", "{header.ü}", "{json.a|x|y}",
        "{json.a|word|none}", "{json.a|x|word|word}", "{header.authorization}",
        "{header.Cookie|x}", "{header.proxy-x}",
        "{json." + "a." * 40 + "a}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("setting", ["routing_key", "message_id"])
def test_a_template_that_cannot_be_read_is_refused(setting, template):
    with pytest.raises(ValueError, match=f"^{setting} has .*\\.$"):
        endpoint(**{setting: template})


def test_a_key_may_have_255_bytes():
    assert key("{json.a}", json.dumps({"a": "é" * 127 + "x"}).encode()) == "é" * 127 + "x"
    assert "256 bytes; at most 255" in refused("{json.a}", json.dumps({"a": "é" * 128}).encode())
    assert "too long" in refused("{json.a}", json.dumps({"a": "x" * 10**6}).encode())
    assert "too long" in refused("{form.a}", b"a=" + b"x" * 10**6, {"Content-Type": FORM})
    assert "has 300 bytes" in refused("{header.a}", headers={"a": "x" * 300})


@pytest.mark.parametrize(
    ("template", "body", "headers", "target"),
    [
        ("{header.x}", b"", {"x": b"\xff"}, b"/"),
        ("{query.x}", b"", {}, b"/?x=%ff"),
        ("{form.x}", b"x=%ff", {"Content-Type": FORM}, b"/"),
        ("{json.x}", b'{"x":"\xff"}', {}, b"/"),
    ],
)
def test_what_is_not_utf8_is_refused(template, body, headers, target):
    assert "UTF-8" in refused(template, body, headers, target=target)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text",
        b"{",
        b'{"a":1',
        b'{"a":1}x',
        b"[" * 10_000,
        b"1",
        b'"a"',
        b'{"a":"\\ud800"}',
        b"{]",
    ],
)
def test_a_body_that_is_not_json_has_no_members(body):
    assert key("{json.a|none}", body) == "none"
    assert "no json.a" in refused("{json.a}", body)


@given(st.binary(max_size=60) | st.text('{}[]",:a01 \\\n', max_size=60).map(str.encode))
def test_no_body_raises_anything_else(body):
    hook = endpoint(routing_key="{json.a.0|none}{json.0.a|none}")
    request = delivery(body)
    assert isinstance(receive(hook, request).routing_key, str)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda each: st.dictionaries(st.sampled_from("ab"), each) | st.lists(each, max_size=3),
        max_leaves=12,
    )
)
def test_paths_lead_where_python_finds_them(document):
    text = json.dumps(document)
    for path in ("a", "b.a", "0", "a.0", "1.b"):
        value = document
        for name in path.split("."):
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, list) and name.isdigit():
                value = value[int(name)] if int(name) < len(value) else None
            else:
                value = None
        expected = "none"
        if isinstance(value, str) and value:
            expected = value
        elif isinstance(value, bool | int) and not isinstance(value, str):
            expected = json.dumps(value)
        assert key(f"{{json.{path}|none}}", text.encode()) == expected


MIB = 1024 * 1024
LARGE = {
    "nested arrays": b"[" * 12 * MIB + b"]" * 12 * MIB,
    "a wide array": b"[" + b"0," * 12 * MIB + b"0]",
    "a wide object": b"{" + b'"":0,' * 5 * MIB + b'"a":0}',
    "one long string": b'{"a":"' + b"\\u0041" * 4 * MIB + b'"}',
    "one long name": b'{"' + b"x" * 24 * MIB + b'":1}',
    "white space": b'{"a":' + b" " * 24 * MIB + b"1}",
    "quotes": b'"' * 24 * MIB,
    "groups": b"[" + b"[[]]," * 5 * MIB + b"0]",
    "in a group": b'{"a":[' + b"[[]]," * 5 * MIB + b"0]}",
    "a form": b"a=%" + b"&=%" * 8 * MIB,
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_body_does_not_hold_the_loop(name):
    headers = {"Content-Type": FORM} if name == "a form" else {}
    hook = endpoint(routing_key="{json.a.0.b|none}")
    steps = hook.receive(delivery(LARGE[name], headers), [])
    longest, all_of_it = 0.0, time.process_time()
    is_done = False
    while not is_done:
        before = time.process_time()
        with contextlib.suppress(RequestError):  # which ends the steps
            is_done = next(steps, "done") == "done"
        longest = max(longest, time.process_time() - before)
    assert longest < 0.1
    assert time.process_time() - all_of_it < 20


def test_the_message_id_is_a_template_and_may_be_none():
    hook = endpoint(message_id="{header.x-id|}")
    assert receive(hook, delivery(headers={"X-Id": "7"})).message_id == "7"
    assert receive(hook, delivery()).message_id is None
    assert finish(endpoint().receive(delivery(), [])).message_id is None
