"""Messages of one client stay in order, also when another connection or channel takes over."""

import json
import time

import pytest
from found import bodies
from proxy import Proxy
from stuck import send_in_order

ITEMS = 20_000
ITEMS_OF_A_SLOW_ONE = 400
NDJSON = {"Content-Type": "application/x-ndjson"}
SWAPS = 3


@pytest.fixture
def a_way_that_lags(broker):
    """To the broker, some 20 ms longer than the direct one."""
    with Proxy(broker.host, broker.amqp_port) as proxy:
        yield proxy
        proxy.lag(0)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_batches_while_connections_are_replaced(
    start_gateway, broker, amqp, queue, a_way_that_lags, kind
):
    """Three names of one broker are three nodes to the gateway."""
    channel, name = amqp(), f"{queue.name}-{kind}"
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
    channel.queue_bind(name, queue.name, "#")
    port, proxy = broker.amqp_port, a_way_that_lags
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}", f"{proxy.host}:{proxy.port}"]
    rabbitmq = {"hosts": hosts, "reverify_after": 1}
    limits = {"timeout": 30}
    gateway = start_gateway({"Application": {"rabbitmq": rabbitmq, "publish": limits}})
    proxy.lag(0.02)
    sent = send_in_order(gateway, f"/test/{queue.name}", ITEMS, ITEMS // 2, SWAPS)
    found = [int(body) for body in bodies(channel, name)]
    channel.queue_delete(name)
    assert found == list(range(sent))


def test_a_batch_through_a_broker_that_becomes_slow(start_gateway, amqp, queue, a_way_that_lags):
    """The gateway tries other channels meanwhile: none overtakes the one that was slow."""
    proxy = a_way_that_lags
    rabbitmq = {"host": proxy.host, "port": proxy.port}
    gateway = start_gateway({"Application": {"rabbitmq": rabbitmq, "publish": {"timeout": 20}}})

    def lines():
        for number in range(ITEMS_OF_A_SLOW_ONE):
            if number == ITEMS_OF_A_SLOW_ONE // 4:
                proxy.lag(1.5)
            time.sleep(0.02)  # the rate of whoever has a message now and then
            yield (
                json.dumps({"routing_key": f"k{number % 2}", "body": str(number)}).encode() + b"\n"
            )

    answer = gateway.publish(f"/test/{queue.name}", data=lines(), headers=NDJSON)
    assert answer.json()["published"] == ITEMS_OF_A_SLOW_ONE, answer.text[:1000]
    found = [int(body) for body in bodies(amqp(), queue.name)]
    for key in (0, 1):
        numbers = [number for number in found if number % 2 == key]
        assert numbers == list(range(key, ITEMS_OF_A_SLOW_ONE, 2))
