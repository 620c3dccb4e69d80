"""Three nodes with a quorum queue, a gateway with two backends, and what can befall a node."""

import pika
from found import count_ids
from gateway import GatewayProcess
from waiting import wait_until

import broker as broker_script

VHOST = "test"
QUEUE = "steady"  # bound to the exchange of that name
SETTINGS = {"Application": {"rabbitmq": {"reverify_after": 10}}}


class ClusterWorld:
    """``broker`` and ``gateway``; a context manager."""

    def __init__(self, directory, nodes=3, suite=None):
        self.broker = broker_script.Broker(
            directory / "broker",
            nodes=nodes,
            suite=suite,
            extra_conf="cluster_partition_handling = pause_minority" if nodes > 2 else "",
        )
        self._directory = directory

    def __enter__(self):
        self.broker.start()
        try:
            self._declare()
            hosts = [f"{node.host}:{node.amqp_port}" for node in self.broker.nodes]
            settings = {"Application": {"rabbitmq": {"hosts": hosts}}}
            settings["Application"]["rabbitmq"].update(SETTINGS["Application"]["rabbitmq"])
            self.gateway = GatewayProcess(
                self._directory, self.broker.node, settings, ports=2
            ).start()
        except BaseException:
            self.broker.stop()
            raise
        return self

    def __exit__(self, *_):
        if self.gateway.process.poll() is None:
            self.gateway.process.kill()
            self.gateway.process.wait()
        self.broker.stop()

    def _declare(self):
        channel = self.channel()
        arguments = {
            "x-queue-type": "quorum",
            "x-quorum-initial-group-size": len(self.broker.nodes),
        }
        channel.queue_declare(QUEUE, durable=True, arguments=arguments)
        channel.exchange_declare(QUEUE, "topic", durable=True)
        channel.queue_bind(QUEUE, QUEUE, "#")
        channel.connection.close()

    def channel(self):
        node = self.broker.node
        parameters = pika.ConnectionParameters(node.host, node.amqp_port, VHOST)
        return pika.BlockingConnection(parameters).channel()

    def node_of(self, name):
        return next(node for node in self.broker.nodes if node.name == name)

    def isolate(self, node):
        """Part it from the others: as they know each other by wrong cookies, none can connect."""
        names = self._others(node)
        node.ctl(
            "eval",
            f"[begin erlang:set_cookie(N, wrong), erlang:disconnect_node(N) end || {names}].",
        )

    def rejoin(self, node):
        """Undo that."""
        node.ctl("eval", f"[erlang:set_cookie(N, erlang:get_cookie()) || {self._others(node)}].")

    def is_isolated(self, node):
        """Whether neither side sees the other."""
        sees = {n.name: n.ctl("eval", "nodes().") for n in self.broker.nodes}
        return not any(n.name in sees[node.name] for n in self._but(node)) and not any(
            node.name in sees[n.name] for n in self._but(node)
        )

    def _but(self, node):
        return [each for each in self.broker.nodes if each is not node]

    def _others(self, node):
        return "N <- [" + ", ".join(f"'{each.name}'" for each in self._but(node)) + "]"

    def found(self):
        """How often each message id is in the queue; the gateway has to have stopped."""
        wait_until(
            lambda: not self.broker.ctl("list_connections", "--silent", "pid").split(),
            60,
            what="the end of the gateway's connections on the broker",
        )
        channel = self.channel()
        found = count_ids(channel, [QUEUE])
        channel.connection.close()
        return found
