"""What only a cluster can show of a stuck queue, and of order: a part of ``make test-isolation``.

It takes minutes, so this is no part of ``make test``; pytest finds it by its name only.
"""

import contextlib
import os
import signal

import pytest
from stuck import STUCK, are_in_order, play_beside

import broker as broker_script


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with broker_script.Broker(tmp_path_factory.mktemp("cluster"), nodes=3) as running:
        yield running


@contextlib.contextmanager
def two_stopped(broker):
    """Leave a quorum queue without its majority."""
    pids = [int(node.evaluate("os:getpid().").strip('"')) for node in broker.nodes[1:]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("what", [name for name in STUCK if "known" in name or "new" in name])
def test_a_queue_without_its_majority_beside_healthy_ones(
    start_gateway, broker, queue, make_queue, what
):
    healthy, stuck = make_queue(), make_queue("quorum")
    play_beside(start_gateway(), queue, healthy, stuck, what, lambda: two_stopped(broker))


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_batches_over_three_nodes_while_connections_are_replaced(
    start_gateway, broker, queue, make_queue, kind
):
    kept = make_queue(kind)
    kept.channel.queue_bind(kept.name, queue.name, "#")
    hosts = [f"{node.host}:{node.amqp_port}" for node in broker.nodes]
    rabbitmq = {"hosts": hosts, "reverify_after": 1}
    gateway = start_gateway({"Application": {"rabbitmq": rabbitmq, "publish": {"timeout": 30}}})
    are_in_order(gateway, queue.name, kept, items=60_000, batch=60_000, swaps=3)
