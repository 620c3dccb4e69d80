"""``mandatory``: 404 for exactly those messages that no queue took."""

import collections
import contextlib

import pika
import pytest
from problems import is_problem
from stream import Stream
from waiting import wait_until


@pytest.fixture
def exchange(queue):
    """The queue's exchange with one binding, "yes"; nothing else has a route."""
    queue.channel.queue_unbind(queue.name, queue.name, "#")
    queue.channel.queue_bind(queue.name, queue.name, "yes")
    return queue.name


def test_by_request(gateway, exchange, queue):
    answer = gateway.publish(f"/test/{exchange}/no", data={"body": "x", "mandatory": "true"})
    is_problem(answer, 404, "no-route")
    assert gateway.publish(f"/test/{exchange}/no").status_code == 204
    answer = gateway.publish(f"/test/{exchange}/yes", data={"body": "y", "mandatory": "true"})
    assert answer.status_code == 204
    assert queue.bodies() == [b"y"]


def test_by_default(start_gateway, exchange):
    gateway = start_gateway({"Application": {"publish": {"mandatory": True}}})
    is_problem(gateway.publish(f"/test/{exchange}/no"), 404, "no-route")
    form = {"body": "x", "mandatory": "false"}
    assert gateway.publish(f"/test/{exchange}/no", data=form).status_code == 204


@pytest.mark.parametrize(
    ("form", "count"),
    [
        ("body=&mandatory=true", 2),
        ("body=the same&mandatory=true", 2),
        ("body=#&message_id=the+same&mandatory=true", 2),
        # Beside them, of the same exchange, messages that are never returned.
        ("body=the same", 1),
    ],
)
def test_what_looks_alike_in_flight(gateway, exchange, queue, form, count):
    """Returns carry no delivery tag, and come among acks of several messages at once."""
    with contextlib.ExitStack() as stack:
        routed = stack.enter_context(Stream(gateway, f"/test/{exchange}/yes", form=form, rate=500))
        mandatory = "body=the same&message_id=the+same&mandatory=true"
        returned = [
            stack.enter_context(Stream(gateway, f"/test/{exchange}/{key}", form=mandatory))
            for key in ["no", "neither"][:count]
        ]
    assert set(routed.statuses()) == {204}
    assert [set(stream.statuses()) for stream in returned] == [{404}] * count
    assert len(queue.bodies()) == len(routed.answers)


@pytest.mark.parametrize("body", ["the same", "#"])
def test_a_binding_that_comes_and_goes(gateway, exchange, queue, body):
    """Byte-identical messages, some of which have a route: as many 204s as messages."""
    form = f"body={body}&mandatory=true"
    with Stream(gateway, f"/test/{exchange}/sometimes", form=form, rate=500) as stream:
        for _ in range(100):
            queue.channel.queue_bind(queue.name, exchange, "sometimes")
            queue.channel.queue_unbind(queue.name, exchange, "sometimes")
    told, found = stream.statuses(), queue.counted()
    assert set(told) == {204, 404}
    assert found.total() == told[204]
    if body == "#":  # and it is known which
        assert found == collections.Counter(stream.confirmed())


def test_equal_bodies_and_headers_in_any_order(gateway, queue):
    """RabbitMQ sorts the headers of a returned message from 3.13 on."""
    exchange = f"headers-{queue.name}"
    queue.channel.exchange_declare(exchange, "headers", auto_delete=True)
    arguments = {"x-match": "all", "kind": "wanted"}
    queue.channel.queue_bind(queue.name, exchange, arguments=arguments)
    items, expected = [], []
    for i in range(400):
        wanted = i % 4 == 3
        headers = {"kind": "wanted" if wanted else "other", "a": i // 2}
        if i % 2:
            headers = dict(reversed(headers.items()))
        message = {"routing_key": "k", "body": "the same", "headers": headers, "mandatory": True}
        items.append(message)
        expected.append(204 if wanted else 404)
    results = gateway.publish(f"/test/{exchange}", json=items).json()["results"]
    assert [each["status"] for each in results] == expected
    assert len(queue.bodies()) == 100


@pytest.mark.parametrize("copied", [False, True], ids=["routing key", "CC"])
def test_an_answer_to_an_rpc_is_delivered_though_it_is_returned(gateway, amqp, queue, copied):
    """Up to 4.1 RabbitMQ does not count direct reply-to as a queue, and returns the message."""
    channel = amqp()
    answers = []
    direct = "amq.rabbitmq.reply-to"
    channel.basic_consume(direct, lambda *got: answers.append(got[3]), auto_ack=True)
    channel.basic_publish("", queue.name, b"?", pika.BasicProperties(reply_to=direct))
    found = []
    wait_until(lambda: found or (found.append(got[0]) if (got := queue.get()) else None))
    address = found[0].reply_to
    item = {"routing_key": address, "body": "!", "mandatory": True}
    if copied:
        item |= {"routing_key": "nowhere", "headers": {"CC": [address]}}
    [result] = gateway.publish("/test/amq.default", json=[item]).json()["results"]
    wait_until(lambda: answers or channel.connection.process_data_events(0.1))
    assert answers == [b"!"]
    assert result["status"] == 204 or result["outcome"] == "unknown"
