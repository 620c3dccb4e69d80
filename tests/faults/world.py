"""What a run plays in: a broker with its queues, a proxy, and a gateway, all of the run's own."""

import abc
import contextlib
import os
import signal

import control
from gateway import At, GatewayProcess
from proxy import Proxy
from queues import channel_to, count_ids
from users import add_users
from waiting import wait_until

import broker as broker_script

QUEUES = [f"stays.{i}" for i in range(4)]  # bound to the exchange "traffic"; the last is a quorum
FULL = "full"  # rejects publishes when it has a few messages
VICTIM = "victim"  # an exchange that comes and goes, and its queue, which stays
USERS = ("guest", "alice", "bob", "carol")  # carol may only write topics that begin with "ok."
SETTINGS = {
    "Application": {
        "publish": {"timeout": 2},
        "rabbitmq": {"reverify_after": 7, "stalled_timeout": 5, "heartbeat": 4},
    },
    "HTTPServer": {"drain_timeout": 5},
}


class World(abc.ABC):
    """``broker`` and ``gateway``, which has two backends; a context manager."""

    queues: tuple[str, ...] = ()

    def __init__(self, directory, suite=None, **options):
        self.broker = broker_script.Broker(directory / "broker", suite=suite, **options)
        self._directory = directory
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.broker)
            with self.channel() as channel:
                self.declare(channel)
            self.gateway = GatewayProcess(self._directory, *self.reach(stack), ports=2)
            self.gateway.start()
            stack.callback(self.gateway.kill)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    @abc.abstractmethod
    def declare(self, channel):
        """Declare exchanges and queues."""

    @abc.abstractmethod
    def reach(self, stack):
        """Return where the gateway reaches the broker, and its settings."""

    def channel(self):
        """Return a context manager: a channel to the broker."""
        return channel_to(self.broker)

    def end_gateway(self):
        """Stop the gateway in order, and return its log."""
        status = self.gateway.stop()
        assert status == 0, f"the gateway ended with status {status}:\n{self.gateway.text}"
        return self.gateway.text

    def found(self):
        """Return how often each message id is in the queues; empty them.

        Whatever publishes has to have stopped.
        """
        wait_until(
            lambda: not control.has_connections(self.broker),
            what="the end of the gateway's connections on the broker",
        )
        with self.channel() as channel:
            return count_ids(channel, self.queues)


class FaultyWorld(World):
    """One node, and a ``proxy`` between it and the gateway."""

    queues = (*QUEUES, FULL, VICTIM)

    def declare(self, channel):
        for exchange in ("traffic", VICTIM):
            channel.exchange_declare(exchange, "topic", durable=True)
        full = {"x-max-length": 5, "x-overflow": "reject-publish"}
        special = {QUEUES[-1]: {"x-queue-type": "quorum"}, FULL: full}
        for name in self.queues:
            channel.queue_declare(name, durable=True, arguments=special.get(name))
        for number, name in enumerate(QUEUES):
            channel.queue_bind(name, "traffic", f"*.{number}")
        channel.queue_bind(VICTIM, VICTIM, "#")
        add_users(self.broker, {name: name for name in USERS[1:3]})
        add_users(self.broker, {"carol": "carol"}, topics={"traffic": r"^ok\."})

    def reach(self, stack):
        proxy = Proxy(self.broker.host, self.broker.amqp_port)
        self.proxy = stack.enter_context(proxy)
        return At(proxy.host, proxy.port), SETTINGS

    def kill_backend(self, index):
        backends = self.gateway.backends()
        os.kill(backends[index % len(backends)], signal.SIGKILL)

    def heal(self):
        """Undo whatever a fault may have left behind."""
        self.proxy.delay(0)
        self.proxy.resume()
        if not self.broker.running:
            self.broker.node.start()
        control.limit_memory(self.broker)
        control.limit_disk(self.broker)

    def found(self):
        """End the gateway's connections, so that nothing more arrives, and count."""
        self.heal()
        control.close_all_connections(self.broker, "the queues are counted")
        return super().found()
