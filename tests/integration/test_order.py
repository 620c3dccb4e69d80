"""Messages of one client stay in order, also when another connection or channel takes over."""

import json
import time

import pytest
from proxy import Proxy
from stuck import are_in_order

ITEMS = 20_000
ITEMS_OF_A_SLOW_ONE = 400


@pytest.fixture
def a_way_that_lags(broker):
    """To the broker, some 20 ms longer than the direct one."""
    with Proxy(broker.host, broker.amqp_port) as proxy:
        yield proxy
        proxy.lag(0)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_batches_while_connections_are_replaced(
    start_gateway, broker, make_queue, queue, a_way_that_lags, kind
):
    """Three names of one broker are three nodes to the gateway."""
    kept = make_queue(kind)
    kept.channel.queue_bind(kept.name, queue.name, "#")
    port, proxy = broker.amqp_port, a_way_that_lags
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}", f"{proxy.host}:{proxy.port}"]
    rabbitmq = {"hosts": hosts, "reverify_after": 1}
    gateway = start_gateway({"Application": {"rabbitmq": rabbitmq, "publish": {"timeout": 30}}})
    proxy.lag(0.02)
    are_in_order(gateway, queue.name, kept, items=ITEMS, batch=ITEMS // 2, swaps=3)


def test_a_batch_through_a_broker_that_becomes_slow(start_gateway, queue, a_way_that_lags):
    """The gateway tries other channels meanwhile: none overtakes the one that was slow."""
    proxy = a_way_that_lags
    rabbitmq = {"host": proxy.host, "port": proxy.port}
    gateway = start_gateway({"Application": {"rabbitmq": rabbitmq, "publish": {"timeout": 30}}})

    def lines():
        for number in range(ITEMS_OF_A_SLOW_ONE):
            if number == ITEMS_OF_A_SLOW_ONE // 4:
                proxy.lag(1.5)
            time.sleep(0.02)  # the rate of whoever has a message now and then
            item = {"routing_key": f"k{number % 2}", "body": str(number)}
            yield json.dumps(item).encode() + b"\n"

    headers = {"Content-Type": "application/x-ndjson"}
    answer = gateway.publish(f"/test/{queue.name}", data=lines(), headers=headers)
    assert answer.json()["published"] == ITEMS_OF_A_SLOW_ONE, answer.text[:1000]
    found = [int(body) for body in queue.bodies()]
    for key in (0, 1):
        numbers = [number for number in found if number % 2 == key]
        assert numbers == list(range(key, ITEMS_OF_A_SLOW_ONE, 2))
