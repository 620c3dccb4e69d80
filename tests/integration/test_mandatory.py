"""``mandatory``: 404 for exactly those messages that no queue took."""

import collections
import contextlib

import pytest
from problems import is_problem
from stream import Stream


@pytest.fixture
def exchange(queue):
    """The queue's exchange with one binding, "yes"; nothing else has a route."""
    queue.channel.queue_unbind(queue.name, queue.name, "#")
    queue.channel.queue_bind(queue.name, queue.name, "yes")
    return queue.name


def test_by_request(gateway, exchange, queue):
    answer = gateway.publish(f"/test/{exchange}/no", data={"body": "x", "mandatory": "true"})
    is_problem(answer, 404, "no-route")
    assert gateway.publish(f"/test/{exchange}/no", data={"body": "x"}).status_code == 204
    answer = gateway.publish(f"/test/{exchange}/yes", data={"body": "y", "mandatory": "true"})
    assert answer.status_code == 204
    assert queue.bodies() == [b"y"]


def test_by_default(start_gateway, exchange):
    gateway = start_gateway({"Application": {"publish": {"mandatory": True}}})
    is_problem(gateway.publish(f"/test/{exchange}/no", data={"body": "x"}), 404, "no-route")
    answer = gateway.publish(f"/test/{exchange}/no", data={"body": "x", "mandatory": "false"})
    assert answer.status_code == 204


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


def test_a_binding_that_comes_and_goes(gateway, exchange, queue):
    """Byte-identical messages, some of which have a route: as many 204s as messages."""
    form = "body=the same&mandatory=true"
    with Stream(gateway, f"/test/{exchange}/sometimes", form=form, rate=500) as stream:
        for _ in range(100):
            queue.channel.queue_bind(queue.name, exchange, "sometimes")
            queue.channel.queue_unbind(queue.name, exchange, "sometimes")
    told = stream.statuses()
    assert set(told) <= {204, 404}
    assert len(queue.bodies()) == told[204]
    assert told[404] > 0


def test_which_is_which_when_a_binding_comes_and_goes(gateway, exchange, queue):
    form = "body=#&mandatory=true"
    with Stream(gateway, f"/test/{exchange}/sometimes", form=form, rate=500) as stream:
        for _ in range(100):
            queue.channel.queue_bind(queue.name, exchange, "sometimes")
            queue.channel.queue_unbind(queue.name, exchange, "sometimes")
    assert set(stream.statuses()) == {204, 404}
    assert collections.Counter(queue.bodies()) == collections.Counter(stream.confirmed())
