"""One caller's errors beside another's good publishes, on the same connection."""

import collections

import pika
import pytest
from problems import is_problem
from queues import Queue, parameters_of
from stream import RATE, SECONDS, UNTIL_STOPPED, Stream
from users import add_users
from waiting import wait_until

import broker as broker_script

CAROL = {"user": "carol", "password": "pw"}


def answered(gateway, status):
    """How many requests were, with that."""
    return gateway.stats()["requests"].get(f"response.{status}", 0)


def test_a_storm_of_missing_exchanges_beside_good_publishes_of_the_same_user(gateway, queue):
    opened = gateway.publish(f"/test/{queue.name}/k", data={"body": "opens"})
    assert opened.status_code == 204
    before = gateway.stats()["connections"]["test:guest"]["connections"]["opened"]
    with (
        Stream(gateway, "/test/missing/k") as storm,
        Stream(gateway, f"/test/{queue.name}/k") as good,
    ):
        pass
    assert set(good.statuses()) == {204}
    assert set(storm.statuses()) == {404}
    assert sorted(queue.bodies()) == sorted([b"opens", *good.confirmed()])
    assert gateway.stats()["connections"]["test:guest"]["connections"]["opened"] == before


def test_refused_topics_beside_good_ones_on_the_same_exchange(gateway, queue, broker):
    # RabbitMQ checks topics only where there is a rule for them.
    add_users(broker, {"carol": "pw"}, topics={queue.name: "^yes"})
    with (
        Stream(gateway, f"/test/{queue.name}/no", **CAROL) as refused,
        Stream(gateway, f"/test/{queue.name}/yes", **CAROL) as neighbours,
        Stream(gateway, f"/test/{queue.name}/k") as others,
    ):
        pass
    assert set(others.statuses()) == {204}
    # Those behind a culprit are sent again; of those before it nobody knows (504).
    assert set(neighbours.statuses()) <= {204, 504}
    # How many depends on how many are under way at once, and so on the machine's load.
    assert neighbours.statuses()[204] > RATE * SECONDS / 10
    # Each refusal closes a channel: on a busy machine some reach their deadlines unsent (503).
    assert set(refused.statuses()) <= {403, 503, 504}
    found = collections.Counter(queue.bodies())
    for number in range(len(others.answers)):
        body = b"%d" % number
        certain = (body in others.confirmed()) + (body in neighbours.confirmed())
        unknown = any(a.number == number and a.status == 504 for a in neighbours.answers)
        assert certain <= found[body] <= certain + unknown


def test_a_few_refused_topics_beside_many_good_ones(gateway, queue, broker):
    add_users(broker, {"carol": "pw"}, topics={queue.name: "^yes"})
    with (
        Stream(gateway, f"/test/{queue.name}/no", **CAROL, rate=5, seconds=6) as refused,
        Stream(gateway, f"/test/{queue.name}/yes", **CAROL, rate=150, seconds=6) as good,
    ):
        pass
    assert set(refused.statuses()) <= {403, 504}
    assert set(good.statuses()) <= {204, 504}
    # The first refusal may take with it what was under way; 8 % when each one does.
    assert good.statuses()[504] <= 0.02 * len(good.answers)


def test_an_exchange_that_is_deleted_under_traffic(gateway, queue, amqp):
    channel = amqp()
    channel.exchange_declare("doomed", "topic")
    channel.queue_bind(queue.name, "doomed", "#")
    with (
        Stream(gateway, "/test/doomed/k", seconds=UNTIL_STOPPED) as doomed,
        Stream(gateway, f"/test/{queue.name}/k", seconds=UNTIL_STOPPED) as good,
    ):
        wait_until(lambda: queue.get() is not None)
        missing = answered(gateway, 404)
        channel.exchange_delete("doomed")
        wait_until(lambda: answered(gateway, 404) > missing + RATE, 30)
        doomed.stop()
        good.stop()
    assert set(good.statuses()) == {204}
    assert set(doomed.statuses()) <= {204, 404, 504}
    assert doomed.statuses()[404] > 0
    # The last answers of all: nothing was published once the exchange was known to be gone.
    assert doomed.answers[-1].status == 404


def test_permissions_that_are_revoked_under_traffic(start_gateway, queue, broker):
    add_users(broker, {"carol": "pw"})
    gateway = start_gateway({"Application": {"rabbitmq": {"reverify_after": 1}}})
    path = f"/test/{queue.name}/k"
    with (
        Stream(gateway, path, **CAROL, seconds=UNTIL_STOPPED) as revoked,
        Stream(gateway, path, seconds=UNTIL_STOPPED) as good,
    ):
        wait_until(lambda: queue.get() is not None)
        broker.ctl("set_permissions", "-p", "test", "carol", "", "^nothing$", "")
        wait_until(lambda: answered(gateway, 403) > RATE, 30)
        revoked.stop()
        good.stop()
    assert set(good.statuses()) == {204}
    assert set(revoked.statuses()) <= {204, 403, 504}
    assert revoked.answers[-1].status == 403


@pytest.fixture
def a_broker_of_small_messages(tmp_path):
    """One that takes 100,000 bytes, and its queue."""
    conf = "max_message_size = 100000"
    with (
        broker_script.Broker(tmp_path / "broker", extra_conf=conf) as running,
        pika.BlockingConnection(parameters_of(running, "test")) as connection,
    ):
        yield running, Queue(connection.channel(), "test")


def test_a_message_above_the_brokers_maximum(start_gateway, a_broker_of_small_messages):
    """RabbitMQ closes the channel over it, with 406."""
    broker, queue = a_broker_of_small_messages
    gateway = start_gateway(against=broker)
    path, bystander = "/test/test/k", "/test//test"
    headers = {"Content-Type": "application/octet-stream"}
    with Stream(gateway, path) as neighbours, Stream(gateway, bystander) as good:
        wait_until(lambda: queue.get() is not None)
        told = [gateway.publish(path, data=b"x" * 100_001, headers=headers) for _ in range(5)]
    assert set(good.statuses()) == {204}
    assert set(neighbours.statuses()) <= {204, 504}
    assert neighbours.statuses()[204] > RATE * SECONDS / 2
    assert {answer.status_code for answer in told} <= {413, 504}
    is_problem(gateway.publish(path, data=b"x" * 100_001, headers=headers), 413, "too-large")
    assert not [body for body in queue.bodies() if len(body) > 100_000]
