"""Messages of one client stay in order, also when a younger connection takes over."""

import pytest
from found import bodies
from proxy import Proxy
from stuck import send_in_order

ITEMS = 20_000
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
