"""Several nodes: what does not answer is passed over; what died is left, and met again.

The whole of it, with a quorum queue and a partition, is ``make test-cluster``.
"""

import pytest
from gateway import free_port
from prometheus_client.parser import text_string_to_metric_families
from queues import channel_to
from waiting import wait_until

import broker as broker_script

VIRTUAL_HOSTS = ("%2f", "test")  # each a login, and so a connection, of its own


def publish(gateway, virtual_host):
    return gateway.publish(f"/{virtual_host}/test/k").status_code


def by_node(gateway, name):
    text = gateway.get("/metrics").text
    [family] = [f for f in text_string_to_metric_families(text) if f.name == f"statelessd_{name}"]
    return {sample.labels["node"]: sample.value for sample in family.samples}


def settings(hosts, **more):
    return {"Application": {"rabbitmq": {"hosts": hosts, **more}}}


def test_what_does_not_answer_is_passed_over(broker, start_gateway):
    dead = free_port()
    # The broker listens on 127.0.0.1 only, which is one of the addresses of localhost.
    port = broker.amqp_port
    hosts = [f"127.0.0.1:{dead}", f"[::1]:{port}", f"localhost:{port}", "no-such-name.invalid"]
    gateway = start_gateway(settings(hosts))
    assert [publish(gateway, each) for each in VIRTUAL_HOSTS] == [204, 204]
    reached = f"localhost:{port}"
    assert by_node(gateway, "broker_node_connections")[reached] == 2
    assert by_node(gateway, "broker_node_up")[reached] == 1
    assert f"publishing to 127.0.0.1:{dead}, [::1]:{port}, localhost:{port}," in gateway.text


@pytest.fixture
def two_nodes(tmp_path):
    """A cluster whose queues are the first node's, whichever node read the definitions."""
    with broker_script.Broker(tmp_path / "broker", nodes=2) as running:
        for virtual_host in broker_script.VIRTUAL_HOSTS:
            with channel_to(running, virtual_host) as channel:
                channel.queue_delete("test")
                channel.queue_declare("test", durable=True)
                channel.queue_bind("test", "test", "#")
        yield running


@pytest.mark.timeout(180)
def test_a_node_that_dies_is_left_at_once_and_met_again(two_nodes, start_gateway):
    survivor, victim = two_nodes.nodes
    hosts = [f"{node.host}:{node.amqp_port}" for node in two_nodes.nodes]
    gateway = start_gateway(settings(hosts, reverify_after=3), against=survivor)

    def connections():
        found = by_node(gateway, "broker_node_connections")
        return [found[host] for host in hosts]

    assert [publish(gateway, each) for each in VIRTUAL_HOSTS] == [204, 204]
    wait_until(lambda: connections() == [1, 1], what="a connection to each")
    victim.kill()
    for each in VIRTUAL_HOSTS:  # long before the node is back
        wait_until(lambda each=each: publish(gateway, each) == 204, 15, what="a 204")
    wait_until(lambda: by_node(gateway, "broker_node_up")[hosts[1]] == 0, what="the node's absence")
    wait_until(lambda: connections() == [2, 0], what="both connections to the other")
    victim.start()
    wait_until(lambda: connections()[1], what="a connection to the node that is back")
    assert by_node(gateway, "broker_node_up") == dict.fromkeys(hosts, 1)
    gateway.says(f"node {hosts[1]} is reachable again")
    assert gateway.text.count(f"cannot reach the broker's node {hosts[1]}") == 1
