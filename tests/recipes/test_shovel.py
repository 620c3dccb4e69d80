"""A local RabbitMQ keeps what is published while the central one is away, and a shovel sends it.

Two real brokers, a gateway before the local one, and a count at the end.
"""

import collections
import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time

import pytest
from frameworks import EXAMPLES
from gateway import running
from queues import Queue, channel_to
from waiting import wait_until

import broker as broker_script
import node

SCRIPT = EXAMPLES / "shovel.sh"
AWAY = 60  # seconds
SENDERS = 3
PAUSE = 0.05  # seconds between two messages of a sender


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    with broker_script.Broker(tmp_path_factory.mktemp("central")) as started:
        yield started


@pytest.fixture(scope="module")
def local(tmp_path_factory, central):
    """The broker beside the gateway, after the script was run for the exchange "orders"."""
    with channel_to(central, "/") as channel:
        channel.exchange_declare("orders", "topic", durable=True)
        channel.queue_declare("orders", durable=True)
        channel.queue_bind("orders", "orders", "#")
    with broker_script.Broker(tmp_path_factory.mktemp("local")) as started:
        run_script(started, central, "orders")
        wait_until(lambda: state(started, "orders") == "running", what="the shovel to run")
        yield started


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, local):
    with running(tmp_path_factory.mktemp("gateway"), local) as started:
        yield started


def run_script(broker, central, *arguments, **variables):
    """Run the script where rabbitmqctl is that of the broker's node."""
    path = f"{node.PROGRAMS}:{os.environ['PATH']}"
    uri = f"{central.url}?heartbeat=10"
    done = subprocess.run(
        ["sh", SCRIPT, *arguments],
        env={**broker.node.environment, "PATH": path, "CENTRAL_URI": uri, **variables},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def state(broker, shovel):
    """Return the state that rabbitmqctl shows for the shovel."""
    shown = json.loads(broker.ctl("shovel_status", "--formatter", "json"))
    return {each["name"]: each["state"] for each in shown}.get(shovel)


def left(broker):
    """Return how many messages are in the local queue, sent and not confirmed ones included."""
    lines = broker.ctl("list_queues", "--silent", "name", "messages").splitlines()
    return int(dict(line.split() for line in lines)["shovel.orders"])


class Traffic:
    """Publishes messages with ids of their own until ``stop``, and counts the answers."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.confirmed = []
        self.others = collections.Counter()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.send, args=(n,)) for n in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def send(self, sender):
        with self.gateway.client() as session:
            session.auth = ("guest", "guest")
            for number in itertools.count():
                if self.stopping.wait(PAUSE):
                    return
                message_id = f"{sender}-{number}"
                answer = session.post(
                    f"{self.gateway.url}/%2f/orders/orders.{sender}",
                    params={"message_id": message_id, "mandatory": "true"},
                    data=message_id.encode(), timeout=30,
                )  # fmt: skip
                if answer.status_code == 204:
                    self.confirmed.append(message_id)
                else:
                    self.others[answer.status_code] += 1

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


@contextlib.contextmanager
def traffic_to(gateway):
    """Send until the end of the ``with`` statement."""
    traffic = Traffic(gateway)
    try:
        yield traffic
    finally:
        traffic.stop()


def went_on(traffic, count=50):
    """Wait until that many more messages are confirmed."""
    before = len(traffic.confirmed)
    wait_until(lambda: len(traffic.confirmed) >= before + count, what="confirmed messages")


def test_a_message_arrives_as_it_was_published(gateway, central):
    gateway.publish(
        "/%2f/orders/orders.new%2Fü%20",
        data={
            "body": b"\0\xff",
            "headers": json.dumps({"größe": [1, None, {"a": True}], "source": "shop"}),
            "message_id": "order-42",
            "content_type": "application/json",
            "correlation_id": "c",
            "priority": "3",
            "timestamp": "1700000000",
            "type": "order",
            "app_id": "shop",
        },
    )
    with channel_to(central, "/") as channel:
        properties, body, routing_key = wait_until(Queue(channel, "orders").get, what="it")
    assert (body, routing_key) == (b"\0\xff", "orders.new/ü ")
    assert properties.headers == {"größe": [1, None, {"a": True}], "source": "shop"}
    assert (properties.message_id, properties.correlation_id) == ("order-42", "c")
    assert (properties.priority, properties.timestamp) == (3, 1700000000)
    assert (properties.type, properties.app_id) == ("order", "shop")
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)


@pytest.mark.timeout(600)
def test_nothing_is_lost_while_the_central_broker_is_away(gateway, local, central, record_property):
    with traffic_to(gateway) as traffic:
        went_on(traffic)
        # It is silent before it dies: so the shovel has sent messages that it never took.
        os.kill(central.pid, signal.SIGSTOP)
        went_on(traffic)
        central.node.kill()
        back = time.monotonic() + AWAY
        wait_until(lambda: state(local, "orders") != "running", what="the shovel to notice")
        assert_a_full_queue_refuses(gateway, local, central)
        wait_until(lambda: time.monotonic() >= back, 2 * AWAY, what="the end of the minute")
        waited = left(local)
        central.start()
        went_on(traffic)
    wait_until(lambda: left(local) == 0, 120, what="the shovel to send everything")
    with channel_to(central, "/") as channel:
        found = Queue(channel, "orders").counted()
    lost = {message_id for message_id in traffic.confirmed if message_id.encode() not in found}
    again = sum(found.values()) - len(found)
    record_property(
        "verdict",
        f"shovel: {len(traffic.confirmed)} answered 204, of them {len(lost)} lost; "
        f"{again} came twice; {waited} waited here while the central broker was away",
    )
    assert not lost
    assert not traffic.others
    assert set(map(bytes.decode, found)) == set(traffic.confirmed)
    assert waited >= 50


def assert_a_full_queue_refuses(gateway, local, central):
    """Fill a queue of 1,000 bytes, which belongs to an exchange of its own."""
    run_script(local, central, "small", "fanout", MAX_BYTES="1000")

    def refused():
        answer = gateway.publish("/%2f/small/k", data={"body": "x" * 600})
        return None if answer.status_code == 204 else (answer.status_code, answer.json()["type"])

    assert refused() is None
    assert wait_until(refused, what="a full queue") == (503, "/docs#nacked")
