"""What goes in over HTTP comes out of RabbitMQ, bit for bit."""

import contextlib
import json
import os

import pytest
import requests
from pamqp import commands
from rawamqp import RawChannel
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
    from gateway import GatewayProcess  # noqa: PLC0415 - the fixture of that name is not it

    settings = {"Application": {"rabbitmq": {"frame_max": request.param}}}
    running = GatewayProcess(tmp_path_factory.mktemp("framed"), broker, settings).start()
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("way", ["urlencoded", "multipart", "multipart file", "raw"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_arrives_bit_for_bit(framed_gateway, queue, body, way):
    path = f"/test/{queue.name}/a.b"
    if way == "urlencoded":
        if len(body) > 3_000_000:
            body = body[:3_000_000]  # percent-encoded it is three times as long
        answer = framed_gateway.publish(path, data={"body": body})
    elif way == "multipart":
        answer = framed_gateway.publish(path, files={"body": (None, body)})
    elif way == "multipart file":
        answer = framed_gateway.publish(path, files={"body": ("x.bin", body)})
    else:
        headers = {"Content-Type": "application/octet-stream"}
        answer = framed_gateway.publish(path, data=body, headers=headers)
    assert answer.status_code == 204, answer.text
    assert answer.content == b""
    [arrived] = queue.bodies()
    assert arrived == body


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
    path = f"/test/{queue.name}/k"
    if source == "form":
        answer = gateway.publish(path, data={"body": "x", **PROPERTIES})
    elif source == "query":
        answer = gateway.publish(path, params=PROPERTIES, data=b"x", headers={"Content-Type": ""})
    else:
        headers = {
            "AMQP-" + name.replace("_", "-"): str(value).encode()
            for name, value in PROPERTIES.items()
        }
        answer = gateway.publish(path, data=b"x", headers=headers)
    assert answer.status_code == 204, answer.text
    properties, _, _ = queue.get()
    got = {name: getattr(properties, name) for name in PROPERTIES}
    assert got == PROPERTIES


def test_the_defaults_are_persistent_and_nothing_else(gateway, queue):
    gateway.publish(f"/test/{queue.name}/k", data={"body": "x"})
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


def test_headers_keep_their_types(gateway, queue, broker):
    answer = gateway.publish(
        f"/test/{queue.name}/k", data={"body": "x", "headers": json.dumps(HEADERS)}
    )
    assert answer.status_code == 204, answer.text
    with contextlib.closing(RawChannel(broker)) as channel:
        headers = channel.get_properties(queue.name).headers
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
    answer = gateway.publish(f"/test/{queue.name}/{segment}", data={"body": "x"})
    assert answer.status_code == 204, answer.text
    assert queue.get()[2] == routing_key


def test_an_exchange_whose_name_is_not_ascii(gateway, amqp):
    channel = amqp()
    channel.exchange_declare("börse", "fanout", auto_delete=True)
    channel.queue_declare("börse", exclusive=True)
    channel.queue_bind("börse", "börse")
    answer = gateway.publish("/test/b%C3%B6rse/k", data={"body": "x"})
    assert answer.status_code == 204, answer.text
    assert channel.basic_get("börse", auto_ack=True)[2] == b"x"


@pytest.mark.parametrize("exchange", ["", "amq.default"])
def test_the_default_exchange(gateway, queue, exchange):
    answer = gateway.publish(f"/test/{exchange}/{queue.name}", data={"body": "x"})
    assert answer.status_code == 204, answer.text
    assert queue.bodies() == [b"x"]


def test_mandatory_asks_for_a_queue(gateway, queue, amqp):
    amqp().queue_unbind(queue.name, queue.name, "#")
    path = f"/test/{queue.name}/k"
    assert gateway.publish(path, data={"body": "x"}).status_code == 204
    answer = gateway.publish(path, data={"body": "", "mandatory": "true"})
    assert (answer.status_code, answer.json()["type"]) == (404, "/docs#no-route")
    assert answer.json()["outcome"] == "not-published"


def test_a_returned_message_with_bcc_is_recognised(gateway, queue, amqp):
    amqp().queue_unbind(queue.name, queue.name, "#")
    form = {"body": "x", "mandatory": "true", "headers": '{"BCC": ["nowhere"], "n": 1.5}'}
    answer = gateway.publish(f"/test/{queue.name}/k", data=form)
    assert answer.json()["type"] == "/docs#no-route"


def test_messages_of_one_connection_keep_their_order(gateway, queue):
    with requests.Session() as session:
        for i in range(50):
            path = f"/test/{queue.name}/k"
            assert gateway.publish(path, data={"body": str(i)}, session=session).status_code == 204
    assert queue.bodies() == [str(i).encode() for i in range(50)]


def test_a_password_with_colons_and_umlauts(gateway, broker, queue):
    password = "pä:ss:wörd€"
    add_users(broker, {"bob": password})
    path = f"/test/{queue.name}/k"
    auth = (b"bob", password.encode())
    answer = gateway.publish(path, user=auth[0], password=auth[1], data={"body": "x"})
    assert answer.status_code == 204, answer.text


def test_the_brokers_list_of_connections_says_who_we_are(gateway, broker):
    gateway.publish("/test/test/k", data={"body": "x"})
    listed = broker.ctl("list_connections", "client_properties")
    assert f":{gateway.port}" in listed
    assert "statelessd" in listed
    assert "HTTP to AMQP publishing gateway" in listed


def test_the_stats_count_what_was_confirmed(start_gateway):
    gateway = start_gateway()
    for _ in range(3):
        assert gateway.publish("/test/test/k", data={"body": "x"}).status_code == 204
    assert gateway.publish("/test/missing/k", data={"body": "x"}).status_code == 404
    assert gateway.publish("/test/test/k", password="no", data={"body": "x"}).status_code == 401
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
    page = requests.get(gateway.url, timeout=5).text
    assert "test:guest" in page


def test_secrets_stay_secret(start_gateway):
    gateway = start_gateway({"Application": {"debug": True}})
    secret = "sEcReT-pAsSwOrD"
    answer = gateway.publish("/test/test/k", password=secret, data={"body": "x"})
    assert answer.status_code == 401
    stats = requests.get(f"{gateway.url}/stats", timeout=5).text
    page = requests.get(gateway.url, timeout=5).text
    for shown in (answer.text, stats, page, gateway.text):
        assert secret not in shown
