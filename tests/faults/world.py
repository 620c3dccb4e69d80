"""What a run plays in: a broker with its queues, a proxy, and a gateway, all of the run's own."""

import json
import os
import signal
import threading
from pathlib import Path

import pika
from found import count_ids
from gateway import GatewayProcess
from proxy import Proxy
from waiting import wait_until

import broker as broker_script

VHOST = "test"
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


def _definitions():
    def queue(name, **arguments):
        return {
            "name": name, "vhost": VHOST, "durable": True, "auto_delete": False,
            "arguments": {key.replace("_", "-"): value for key, value in arguments.items()},
        }  # fmt: skip

    def exchange(name):
        return {
            "name": name, "vhost": VHOST, "type": "topic", "durable": True,
            "auto_delete": False, "internal": False, "arguments": {},
        }  # fmt: skip

    def binding(source, key, destination):
        return {
            "source": source, "vhost": VHOST, "destination": destination,
            "destination_type": "queue", "routing_key": key, "arguments": {},
        }  # fmt: skip

    *classic, quorum = QUEUES
    return {
        "users": [{"name": name, "password": name, "tags": ""} for name in USERS[1:]],
        "permissions": [
            {"user": name, "vhost": VHOST, "configure": "", "write": ".*", "read": ""}
            for name in USERS[1:]
        ],
        "topic_permissions": [
            {"user": "carol", "vhost": VHOST, "exchange": "traffic", "write": r"^ok\.", "read": ""}
        ],
        "exchanges": [exchange("traffic"), exchange(VICTIM)],
        "queues": [
            *(queue(name) for name in classic),
            queue(quorum, x_queue_type="quorum"),
            queue(FULL, x_max_length=5, x_overflow="reject-publish"),
            queue(VICTIM),
        ],
        "bindings": [
            *(binding("traffic", f"*.{i}", name) for i, name in enumerate(QUEUES)),
            binding(VICTIM, "#", VICTIM),
        ],
    }


class World:
    """``broker``, ``proxy`` and ``gateway``, and how to lay hands on them."""

    def __init__(self, directory: Path, suite: str | None = None):
        self.broker = broker_script.Broker(directory / "broker", suite=suite)
        self.proxy = Proxy(self.broker.host, self.broker.amqp_port)
        self._directory = directory
        self._lifecycle = threading.Lock()

    def __enter__(self):
        self.broker.start()
        definitions = self._directory / "definitions.json"
        definitions.write_text(json.dumps(_definitions()))
        self.broker.ctl("import_definitions", str(definitions))
        self.proxy.__enter__()
        where = type("Where", (), {"host": self.proxy.host, "amqp_port": self.proxy.port})
        self.gateway = GatewayProcess(self._directory, where, SETTINGS, ports=2).start()
        return self

    def __exit__(self, *_):
        if self.gateway.process.poll() is None:
            self.gateway.process.kill()
            self.gateway.process.wait()
        self.proxy.__exit__()
        self.broker.stop()

    def backends(self):
        parent = self.gateway.process.pid
        return [
            int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        ]

    def memory(self):
        """Resident bytes of each backend, the largest."""
        sizes = [0]
        for pid in self.backends():
            try:
                pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
            except OSError:
                continue
            sizes.append(int(pages) * os.sysconf("SC_PAGE_SIZE"))
        return max(sizes)

    def kill_backend(self, index):
        backends = self.backends()
        os.kill(backends[index % len(backends)], signal.SIGKILL)

    def restart_gateway(self):
        """SIGTERM for the parent, and a start when it has ended; its exit status."""
        status = self.gateway.stop()
        self.gateway.start()
        return status

    def channel(self):
        parameters = pika.ConnectionParameters(self.broker.host, self.broker.amqp_port, VHOST)
        return pika.BlockingConnection(parameters).channel()

    def heal(self):
        """Undo whatever a fault may have left behind."""
        self.proxy.delay(0)
        self.proxy.resume()
        if not self.broker.running:
            self.broker.node.start()
        self.broker.ctl("set_vm_memory_high_watermark", "0.4")
        self.broker.ctl("set_disk_free_limit", "50MB")

    def settle(self):
        """End the gateway's connections, so that nothing more arrives in the queues."""
        self.heal()
        self.broker.ctl("close_all_connections", "--global", "the queues are counted")
        wait_until(
            lambda: not self.broker.ctl("list_connections", "--silent", "pid").split(),
            60,
            what="the end of the gateway's connections on the broker",
        )

    def found(self):
        """How often each message id is in the queues; they are empty afterwards."""
        channel = self.channel()
        found = count_ids(channel, (*QUEUES, FULL, VICTIM))
        channel.connection.close()
        return found
