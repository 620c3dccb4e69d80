"""What goes in over HTTP comes out of RabbitMQ, bit for bit."""

import json
import os

import pytest
import requests
from gateway import running
from pamqp import commands
from users import add_users

BODIES = {
    "empty": b"",
    "one byte": b"\x00",
    "every byte": bytes(range(256)),
    "line ends": b"\r\n\r\n--\r\n",
    "invalid UTF-8": b"\xff\xfe\xc3(",
    "looks like a form": b"a=1&b=%zz+%20",
    "one frame of 8192": os.urandom(8184),
    "one frame and a byte": os.urandom(8185),
    "one frame of 131072": os.urandom(131064),
    "one large frame and a byte": os.urandom(131065),
    "a megabyte": os.urandom(1_000_003),
    "the limit": os.urandom(10 * 1024 * 1024 - 2000),
}


# Since 4.1 RabbitMQ takes no frame_max below 8192.
@pytest.fixture(scope="module", params=[131072, 8192], ids=lambda n: f"frame_max {n}")
def framed_gateway(request, tmp_path_factory, broker):
    settings = {"Application": {"rabbitmq": {"frame_max": request.param}}}
    with running(tmp_path_factory.mktemp("framed"), broker, settings) as started:
        yield started


@pytest.mark.parametrize("way", ["urlencoded", "multipart", "multipart file", "raw"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_arrives_bit_for_bit(framed_gateway, queue, body, way):
    if way == "urlencoded":
        body = body[:3_000_000]  # percent-encoded it is three times as long
    request = {
        "urlencoded": {"data": {"body": body}},
        "multipart": {"files": {"body": (None, body)}},
        "multipart file": {"files": {"body": ("x.bin", body)}},
        "raw": {"data": body, "headers": {"Content-Type": "application/octet-stream"}},
    }
    answer = framed_gateway.publish(f"/test/{queue.name}/a.b", **request[way])
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    assert queue.bodies() == [body]


PROPERTIES = {
    "content_type": "text/plain; charset=utf-8",
    "content_encoding": "gzip",
    "delivery_mode": 1,
    "priority": 255,
    "correlation_id": "c-1",
    "reply_to": "answers",
    "expiration": "600000",
    "message_id": "m-ü",
    "timestamp": 1364403057,
    "type": "an example",
    "user_id": "guest",
    "app_id": "x" * 255,
}


@pytest.mark.parametrize("source", ["form", "query", "request headers"])
def test_every_property_arrives_as_it_was_sent(gateway, queue, source):
    fields = {"AMQP-" + k.replace("_", "-"): str(v).encode() for k, v in PROPERTIES.items()}
    request = {
        "form": {"data": {"body": "x", **PROPERTIES}},
        "query": {"params": PROPERTIES, "data": b"x", "headers": {"Content-Type": ""}},
        "request headers": {"data": b"x", "headers": fields},
    }
    answer = gateway.publish(f"/test/{queue.name}/k", **request[source])
    assert answer.status_code == 204, answer.text
    properties, _, _ = queue.get()
    got = {name: getattr(properties, name) for name in PROPERTIES}
    assert got == PROPERTIES


def test_the_defaults_are_persistent_and_nothing_else(gateway, queue):
    gateway.publish(f"/test/{queue.name}/k")
    properties, _, _ = queue.get()
    names = set(commands.Basic.Properties.attributes()) - {"message_type"}
    assert {n: getattr(properties, n) for n in names if getattr(properties, n) is not None} == {
        "delivery_mode": 2
    }


HEADERS = {
    "text": "grüße",
    "empty": "",
    "small": 1,
    "large": 2**63 - 1,
    "negative": -(2**63),
    "double": 0.1,
    "whole": 3.0,
    "yes": True,
    "no": False,
    "nothing": None,
    "list": [1, "two", [3.5, None], {"four": True}],
    "table": {"a": {"b": {"c": []}}},
    "n" * 255: "a long name",
    "ключ": "not ASCII",
}


def test_headers_keep_their_types(gateway, queue, monkeypatch):
    monkeypatch.setattr("pika.data.long", lambda number: number)  # it makes integers of doubles
    answer = gateway.publish(
        f"/test/{queue.name}/k", data={"body": "x", "headers": json.dumps(HEADERS)}
    )
    assert answer.status_code == 204, answer.text
    headers = queue.get()[0].headers
    assert headers == HEADERS
    types = {name: type(value) for name, value in headers.items()}
    assert types == {name: type(value) for name, value in HEADERS.items()}


def test_headers_as_request_headers(gateway, queue):
    answer = gateway.publish(
        f"/test/{queue.name}/k", data=b"x", headers={"AMQP-Header-Attempt": "3"}
    )
    assert answer.status_code == 204
    assert queue.get()[0].headers == {"attempt": "3"}


@pytest.mark.parametrize(
    ("segment", "routing_key"),
    [
        ("a%2Fb", "a/b"),
        ("a+b", "a+b"),
        ("%23", "#"),
        ("%E2%82%AC", "€"),
        ("", ""),
        ("x" * 255, "x" * 255),
        ("%00", "\0"),
    ],
)
def test_a_routing_key_of_any_characters(gateway, queue, segment, routing_key):
    answer = gateway.publish(f"/test/{queue.name}/{segment}")
    assert answer.status_code == 204, answer.text
    assert queue.get()[2] == routing_key


def test_an_exchange_whose_name_is_not_ascii(gateway, amqp):
    channel = amqp()
    channel.exchange_declare("börse", "fanout", auto_delete=True)
    channel.queue_declare("börse", exclusive=True)
    channel.queue_bind("börse", "börse")
    answer = gateway.publish("/test/b%C3%B6rse/k")
    assert answer.status_code == 204, answer.text
    assert channel.basic_get("börse", auto_ack=True)[2] == b"x"


@pytest.mark.parametrize("exchange", ["", "amq.default"])
def test_the_default_exchange(gateway, queue, exchange):
    answer = gateway.publish(f"/test/{exchange}/{queue.name}")
    assert answer.status_code == 204, answer.text
    assert queue.bodies() == [b"x"]


def test_a_returned_message_with_bcc_is_recognised(gateway, queue, amqp):
    amqp().queue_unbind(queue.name, queue.name, "#")
    form = {"body": "x", "mandatory": "true", "headers": '{"BCC": ["nowhere"], "n": 1.5}'}
    answer = gateway.publish(f"/test/{queue.name}/k", data=form)
    assert answer.json()["type"] == "/docs#no-route"


def test_messages_of_one_connection_keep_their_order(gateway, queue):
    with requests.Session() as session:
        for i in range(50):
            path = f"/test/{queue.name}/k"
            assert gateway.publish(path, data={"body": str(i)}, session=session).ok
    assert queue.bodies() == [str(i).encode() for i in range(50)]


def test_a_password_with_colons_and_umlauts(gateway, broker, queue):
    password = "pä:ss:wörd€"
    add_users(broker, {"bob": password})
    answer = gateway.publish(f"/test/{queue.name}/k", user="bob", password=password)
    assert answer.status_code == 204, answer.text


def test_the_brokers_list_of_connections_says_who_we_are(gateway, broker):
    gateway.publish()
    listed = broker.ctl("list_connections", "client_properties")
    assert f":{gateway.port}" in listed
    assert "statelessd" in listed
    assert "HTTP to AMQP publishing gateway" in listed


def test_the_stats_count_what_was_confirmed(start_gateway):
    gateway = start_gateway()
    for _ in range(3):
        assert gateway.publish().status_code == 204
    assert gateway.publish("/test/missing/k").status_code == 404
    assert gateway.publish("/test/test/k", password="no").status_code == 401
    stats = gateway.stats()
    assert stats["connections"] == {
        "test:guest": {
            "connections": {"opened": 1, "closed": 0},
            "channels": {"opened": 2, "closed": 1},
            "connected": True,
            "publishes": 3,
            "queue_size": 0,
        }
    }
    counted = stats["requests"]
    assert counted["response.204"] == 3
    assert counted["response.404"] == 1
    assert counted["response.401"] == 1
    assert counted["method.POST"] == 5
    assert counted["processing_time"] > 0
