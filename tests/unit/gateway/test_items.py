"""One item of a batch, right and wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statelessd.amqp import encode
from statelessd.gateway.defaults import Defaults
from statelessd.gateway.items import id_of, read_item
from statelessd.message import Outcome, RequestError


def read(text, **members):
    text = text if isinstance(text, bytes) else json.dumps({**text, **members}).encode()
    return read_item(text, "e", 0, Defaults(), None)


def wrong(text, **members):
    with pytest.raises(RequestError) as error:
        read(text, **members)
    assert error.value.outcome is Outcome.BAD_REQUEST
    return error.value.detail


K = {"routing_key": "k", "body": "x"}
TEXT = {"app_id": "a", "content_encoding": "gzip", "content_type": "t", "correlation_id": "c",
        "message_id": "m", "reply_to": "r", "type": "t", "user_id": "u"}  # fmt: skip
NUMBERS = {"priority": 9, "timestamp": 1364403057, "delivery_mode": 1}


def test_everything_an_item_may_say():
    item_id, message = read(
        K, **TEXT, **NUMBERS, expiration=60_000, headers={"n": [1, None]}, id="i", mandatory=True
    )
    assert item_id == "i"
    assert (message.exchange, message.routing_key, message.body) == ("e", "k", b"x")
    assert (message.mandatory, message.user_id) == (True, "u")
    values = {**TEXT, **NUMBERS, "expiration": "60000", "headers": {"n": [1, None]}}
    assert message.header == encode.properties(values)


@pytest.mark.parametrize(
    ("members", "body"),
    [
        ({"body": ""}, b""),
        ({"body": "grün\0"}, "grün\0".encode()),
        ({"body_base64": "AP8="}, b"\x00\xff"),
        ({"json": None}, b"null"),
        ({"json": {"a": [1, "x"]}}, b'{"a": [1, "x"]}'),
    ],
)
def test_bodies(members, body):
    _, message = read({"routing_key": "k"}, **members)
    assert message.body == body


def test_json_is_published_as_written_and_as_json():
    _, message = read(b'{"json": {"a" : 1.0e2},  "routing_key": ""}')
    assert message.body == b'{"a" : 1.0e2}'
    assert message.header == encode.properties(
        {"content_type": "application/json", "delivery_mode": 2}
    )
    _, message = read({"routing_key": "k"}, json=1, content_type="x/y")
    assert b"x/y" in message.header


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ({"priority": 256}, "priority"),
        ({"priority": True}, "priority"),
        ({"headers": {"x" * 256: 1}}, "headers"),
        ({"headers": {"n": 2**63}}, "headers"),
        ({"headers": []}, "headers"),
        ({"type": "x" * 256}, "type"),
        ({"routing_key": "x" * 256}, "routing_key"),
        ({"routing_key": 1}, "routing_key"),
        ({"routingkey": "x"}, "routingkey"),
        ({"body": 1}, "body"),
        ({"body_base64": "AAA="}, "exactly one"),
        ({"body": None}, "exactly one"),
        ({"body": None, "body_base64": "A"}, "body_base64"),
        ({"mandatory": "yes"}, "mandatory"),
        ({"id": 1.5}, "id"),
        ({"id": 2**53}, "id"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(members, names):
    assert names in wrong(K, **members)
    assert "routing_key" in wrong({"body": "x"})


def test_headers_may_not_nest_without_end():
    nested = b"[" * 40 + b"]" * 40
    assert "nested" in wrong(b'{"routing_key":"k","body":"","headers":{"a":' + nested + b"}}")
    endless = b"[" * 100_000 + b"]" * 100_000
    for name in (b'"headers":{"a":%b}', b'"unknown":%b'):
        wrong(b'{"routing_key":"k","json":0,' + name % endless + b"}")


def test_the_id_of_an_invalid_item_is_told_where_it_can_be_read():
    assert id_of(b'{"id": "x", "priority": 999}') == "x"
    for text in (b"{", b'{"id": []}', b"[]", b'{"id": 9007199254740992}'):
        assert id_of(text) is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: json.dumps(t).encode()))
def test_any_bytes_are_an_item_or_a_400(data):
    for text in (data, b'{"routing_key":"k","body":"x","id":' + data + b"}"):
        outcome = Outcome.BAD_REQUEST
        try:
            read_item(text, "e", 0, Defaults(), None)
        except RequestError as error:
            outcome = error.outcome
        assert outcome is Outcome.BAD_REQUEST
        id_of(text)
