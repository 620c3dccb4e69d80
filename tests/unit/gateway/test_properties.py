"""Names and values of properties, and what RabbitMQ would close a channel over."""

import pytest

from statelessd.gateway import properties
from statelessd.message import RequestError


def test_a_property_has_several_names():
    for raw in ("content-type", "content_type", "Content-Type"):
        assert properties.name_of(raw) == "content_type"
    for raw in ("expire", "expiration"):
        assert properties.name_of(raw) == "expiration"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("priority", "0", 0),
        ("priority", "255", 255),
        ("delivery_mode", "1", 1),
        ("delivery_mode", "2", 2),
        ("timestamp", "0", 0),
        ("timestamp", str(2**64 - 1), 2**64 - 1),
        ("expiration", "0", "0"),
        ("expiration", "315360000000", "315360000000"),
        ("expiration", "007", "7"),
        ("reply_to", "answers", "answers"),
        ("app_id", "anything at all", "anything at all"),
    ],
)
def test_values_in_range(name, text, value):
    assert properties.check({name: text}) == {name: value}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("priority", "256"),
        ("priority", "-1"),
        ("priority", "high"),
        ("priority", "1.0"),
        ("priority", "٣"),
        ("delivery_mode", "0"),
        ("delivery_mode", "3"),
        ("timestamp", str(2**64)),
        ("timestamp", "-1"),
        ("timestamp", "2024-01-01"),
        ("timestamp", "9" * 1_000_000),
        ("expiration", "315360000001"),
        ("expiration", "+5"),
        ("expiration", " 5"),
        ("expiration", "5 "),
        ("expiration", "5s"),
        ("reply_to", "amq.rabbitmq.reply-to"),
        ("reply_to", "amq.rabbitmq.reply-to.g1"),
        ("headers", {"CC": "a"}),
        ("headers", {"BCC": ["a", 1]}),
        ("headers", {"CC": ["x" * 256]}),
    ],
)
def test_values_out_of_range_are_refused_by_name(name, text):
    with pytest.raises(RequestError) as error:
        properties.check({name: text})
    assert (name if name != "headers" else "CC") in error.value.detail


DEATH = {"queue": "q", "reason": "expired", "exchange": "", "count": 1, "time": 5}
DEATH |= {"routing-keys": ["k"]}


@pytest.mark.parametrize("value", ["5", "abc", 5.0, True, None, [], {}])
def test_a_delay_that_is_not_an_integer_is_refused(value):
    with pytest.raises(RequestError, match="x-delay must be an integer"):
        properties.check({"headers": {"x-delay": value}})


@pytest.mark.parametrize("value", [1, 1.0, True, None, ["a"], "x" * 4097, "é" * 2049, "a\0"])
def test_a_filter_value_that_crashes_a_stream_is_refused(value):
    with pytest.raises(RequestError, match="x-stream-filter-value must be a string"):
        properties.check({"headers": {"x-stream-filter-value": value}})


@pytest.mark.parametrize(
    "deaths",
    [
        [1],
        ["x"],
        [DEATH, None],
        [[DEATH]],
        [DEATH, DEATH | {"count": "1"}],
        [DEATH | {"count": True}],
        [DEATH | {"count": 1.5}],
        [DEATH | {"count": None}],
        [DEATH | {"count": []}],
    ],
)  # fmt: skip
def test_a_history_of_deaths_that_crashes_a_queue_is_refused(deaths):
    with pytest.raises(RequestError, match="x-death must be an array of tables"):
        properties.check({"headers": {"x-death": deaths}})


@pytest.mark.parametrize(
    "headers",
    [
        {"CC": ["a"], "BCC": []},
        {"x-delay": -1},
        {"x-delay": 2**63 - 1},
        {"x-stream-filter-value": ""},
        {"x-stream-filter-value": "é" * 2048},
        {"x-death": [DEATH, DEATH]},
        {"x-death": []},
        {"x-death": [{"queue": "q"}]},
        {"x-death": "as text, from a client that makes everything text"},
        {"nested": {"x-delay": "5"}},
    ],
    ids=str,
)
def test_headers_that_rabbitmq_reads_are_taken_where_it_can(headers):
    assert properties.check({"headers": headers}) == {"headers": headers}


@pytest.mark.parametrize(
    ("text", "table"),
    [
        (b"{}", {}),
        (b'{"a": 1, "b": 1.0, "c": true, "d": null, "e": [1, {"f": "g"}]}',
         {"a": 1, "b": 1.0, "c": True, "d": None, "e": [1, {"f": "g"}]}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"\xc3\xa9": 9223372036854775807}', {"é": 2**63 - 1}),
        (b'{"a": "%s"}' % (b"[" * 100), {"a": "[" * 100}),
    ],
)  # fmt: skip
def test_headers_as_json(text, table):
    got = properties.parse_headers(text)
    assert got == table
    assert [type(v) for v in got.values()] == [type(v) for v in table.values()]


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b'"text"', b"1", b"null", b"{", b'{"a": NaN}', b'{"a": 1e400}',
        b'{"a": "\xff"}', b"{a: 1}",
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"a": ' + b"[" * 100_000,
        b'{"a": "' + b"x" * properties.MAX_HEADERS_TEXT + b'"}',
    ],
)  # fmt: skip
def test_headers_that_are_no_json_object_are_refused(text):
    with pytest.raises(RequestError):
        properties.parse_headers(text)


@pytest.mark.parametrize(
    ("pairs", "table"),
    [
        ([("headers[a]", "1")], {"a": "1"}),
        ([("headers[a][b]", "1"), ("headers[a][c]", "2")], {"a": {"b": "1", "c": "2"}}),
        ([("headers[t][0]", "x"), ("headers[t][1]", "y")], {"t": ["x", "y"]}),
        ([("headers[t][]", "x"), ("headers[t][]", "y")], {"t": ["x", "y"]}),
        ([("headers[t][1]", "x"), ("headers[t][2]", "y")], {"t": {"1": "x", "2": "y"}}),
        # [] is one more than the greatest number so far, and replaces nothing
        ([("headers[t][1]", "x"), ("headers[t][]", "y")], {"t": {"1": "x", "2": "y"}}),
        ([("headers[t][5]", "x"), ("headers[t][]", "y")], {"t": {"5": "x", "6": "y"}}),
        ([("headers[t][a]", "x"), ("headers[t][]", "y")], {"t": {"a": "x", "0": "y"}}),
        ([("headers[t][007]", "x"), ("headers[t][]", "y")], {"t": {"007": "x", "0": "y"}}),
        ([("headers[t][][a]", "x"), ("headers[t][][a]", "y")], {"t": [{"a": "x"}, {"a": "y"}]}),
        ([("headers[0]", "x")], {"0": "x"}),  # headers itself is always a table
        ([("headers[a]", "1"), ("headers[a]", "2")], {"a": "2"}),
        ([("headers[a]", "1"), ("headers[a][b]", "2")], {"a": {"b": "2"}}),
        ([("headers[a-b.c]", "1")], {"a-b.c": "1"}),
    ],
)
def test_headers_in_phps_brackets(pairs, table):
    assert properties.bracket_headers(pairs) == table


@pytest.mark.parametrize(
    "name", ["headers[", "headers[]", "headers[a", "headers[a]b", "headers" + "[a]" * 40]
)
def test_malformed_brackets_are_refused(name):
    with pytest.raises(RequestError):
        properties.bracket_headers([(name, "1")])


def test_flags():
    found = [properties.flag("mandatory", text) for text in ("true", "1", "FALSE", "0")]
    assert found == [True, True, False, False]
    with pytest.raises(RequestError, match="mandatory"):
        properties.flag("mandatory", "yes")
