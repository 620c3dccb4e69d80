"""CloudEvents of the official SDK, published over HTTP, are the same when it reads them.

What Knative's RabbitMQ source reads is played after its code: see ``as_knative_reads``.
"""

import datetime as dt
import json
import subprocess

import pytest
from cloudevents.core.bindings import http, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from gateway import running

BATCH = {"Content-Type": "application/cloudevents-batch+json"}
NON_ASCII = 'Zürich % 100 "zitiert" \\ 東京 🐇'
TIME = dt.datetime(2018, 4, 5, 3, 56, 24, 123456, tzinfo=dt.UTC)


def event(number=0, data=None, **attributes):
    given = {
        "id": f"A-{number}-{NON_ASCII}",
        "source": "https://example.com/größe?a=b%20c",
        "type": "com.example.order.paid",
        "specversion": "1.0",
        "time": TIME,
        "subject": NON_ASCII,
        "datacontenttype": "application/json",
        "dataschema": "https://example.com/schema",
        "tenant7": NON_ASCII,
        **attributes,
    }
    return CloudEvent(given, {"text": NON_ASCII, "n": number} if data is None else data)


def is_same(one, other):
    return (one.get_attributes(), one.get_data()) == (other.get_attributes(), other.get_data())


def as_sdk_reads(properties, body):
    headers, content_type = properties.headers or {}, properties.content_type
    return rabbitmq.from_rabbitmq_event(rabbitmq.RabbitMQMessage(headers, content_type, body))


def as_knative_reads(properties, body):
    """Return the attributes that Knative's source finds (pkg/rabbit/message.go), and the data.

    It takes the type of the data from a message header, not from the property.
    """
    if properties.content_type.partition(";")[0] == "application/cloudevents+json":
        whole = json.loads(body)
        return whole, whole.pop("data")
    found = {}
    for header, value in properties.headers.items():
        name = header.lower().removeprefix("ce-")
        if name == "content-type":
            found["datacontenttype"] = value
        elif not name.startswith("x-") and name not in ("traceparent", "tracestate"):
            found[name] = value
    return found, json.loads(body)


def as_text(attributes):
    time = TIME.isoformat().removesuffix("+00:00") + "Z"
    return {n: time if isinstance(v, dt.datetime) else v for n, v in attributes.items()}


@pytest.fixture(scope="module")
def forwarding(tmp_path_factory, broker):
    settings = {"Application": {"publish": {"forward_headers": ["content-type"]}}}
    with running(tmp_path_factory.mktemp("gateway"), broker, settings) as started:
        yield started


def publish(gateway, queue, sent, **headers):
    message = http.to_binary(sent, JSONFormat())
    return gateway.publish(
        f"/test/{queue.name}/k", data=message.body, headers={**message.headers, **headers}
    )


@pytest.mark.parametrize(
    "sent",
    [
        event(),
        event(data="gr\u00fcn", datacontenttype="text/plain; charset=utf-8"),
        event(data=b"\xff\x00", datacontenttype="application/octet-stream"),
    ],
    ids=["JSON", "text", "bytes"],
)
def test_a_binary_event_is_the_same(gateway, queue, sent):
    answer = publish(gateway, queue, sent)
    assert answer.status_code == 204, answer.text
    properties, body, key = queue.get()
    assert is_same(as_sdk_reads(properties, body), sent)
    assert (properties.message_id, key) == (sent.get_id(), "k")
    expected = rabbitmq.to_binary_event(sent)
    assert properties.headers == expected.headers
    assert (properties.content_type, body) == (expected.content_type, expected.body)


def test_a_structured_event_is_the_same(gateway, queue):
    message = http.to_structured_event(event())
    answer = gateway.publish(f"/test/{queue.name}/k", data=message.body, headers=message.headers)
    assert answer.status_code == 204
    properties, body, _ = queue.get()
    assert body == message.body
    assert is_same(as_sdk_reads(properties, body), event())
    assert not properties.message_id


def test_a_batch_of_a_hundred_is_the_same(gateway, queue):
    sent = [event(n, data={"large": "x" * 100_000} if n == 50 else None) for n in range(100)]
    body = b"[" + b", ".join(JSONFormat().write(each) for each in sent) + b"]"
    answer = gateway.publish(f"/test/{queue.name}", data=body, headers=BATCH)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [(each["status"], each["id"]) for each in results] == [
        (204, each.get_id()) for each in sent
    ]
    for each in sent:
        properties, text, key = queue.get()
        assert is_same(as_sdk_reads(properties, text), each)
        assert (properties.message_id, key) == (each.get_id(), each.get_type())
        attributes, data = as_knative_reads(properties, text)
        assert (attributes, data) == (as_text(each.get_attributes()), each.get_data())
    assert queue.get() is None


def test_a_batch_is_routed_by_a_template(gateway, queue):
    queue.channel.queue_unbind(queue.name, queue.name, "#")
    queue.channel.queue_bind(queue.name, queue.name, "paid.*")
    sent = [event(0, subject="New York"), event(1, type="other", subject="Rome")]
    path = (
        f"/test/{queue.name}?mandatory=true&routing_key=" + "{json.status|paid}.{json.subject|word}"
    )
    body = b"[" + b",".join(JSONFormat().write(each) for each in sent) + b"]"
    body = body.replace(b'"other"', b'"other", "status": "open"')
    answer = gateway.publish(path, data=body, headers=BATCH)
    assert [each["status"] for each in answer.json()["results"]] == [204, 404]
    assert queue.get()[2] == "paid.New_York"


def test_knative_reads_a_binary_event(forwarding, queue):
    assert publish(forwarding, queue, event()).status_code == 204
    attributes, data = as_knative_reads(*queue.get()[:2])
    assert (attributes, data) == (as_text(event().get_attributes()), event().get_data())


def test_a_retry_with_its_key_has_the_same_message_id(gateway, queue):
    keys = ['"order-42"', "order-42"]
    for key in keys:
        answer = publish(gateway, queue, event(), **{"Idempotency-Key": key})
        assert (answer.status_code, answer.headers["amqp-message-id"]) == (204, "order-42")
    assert [queue.get()[0].message_id for _ in keys] == ["order-42"] * 2


def test_curl_sends_an_event(gateway, queue):
    lines = ["ce-specversion: 1.0", "ce-type: t", "ce-source: /curl", "ce-id: 1"]
    subprocess.run(
        ["curl", "--silent", "--fail", "--user", "guest:guest", "--data-binary", "[1]"]
        + [part for line in [*lines, "Content-Type: application/json"] for part in ("-H", line)]
        + [f"{gateway.url}/test/{queue.name}/k"],
        check=True,
    )
    properties, body, _ = queue.get()
    read = as_sdk_reads(properties, body)
    assert (read.get_type(), read.get_source(), read.get_data()) == ("t", "/curl", [1])
