"""What the pictures show: a broker of its own, a gateway, and the traffic of a shop."""

import asyncio
import math
import random
import socket
import threading
import time
from dataclasses import dataclass

import steady
from control import import_definitions
from gateway import GatewayProcess

import broker as broker_script

USUAL_PORTS = [8000, 8001, 8002]
LIMITED = {"x-max-length": 2000}  # the oldest make room: nobody consumes here
EXCHANGES = {"/": ["mail"], "shop": ["orders", "stock"], "billing": ["invoices"], "iot": ["meters"]}
USERS = {"shop": ["web", "app"], "billing": ["billing"], "iot": ["meters"], "/": ["cron"]}


CYCLE = 120  # seconds of a day


@dataclass(frozen=True)
class Flow:
    """Publishes of one user. ``rate``: a second, on the average, to each backend.

    ``hours``: those of the day in which it happens, as shares of it.
    """

    path: str
    user: str
    rate: float
    form: str = "body=#&content_type=application/json"
    password: str = "secret"
    hours: tuple[float, float] = (0, 1)


FLOWS = [
    Flow("/shop/orders/order.placed", "web", 40),
    Flow("/shop/orders/order.paid", "app", 25),
    Flow("/shop/stock/stock.changed", "web", 15),
    Flow("/billing/invoices/invoice.due", "billing", 8),
    Flow("/iot/meters/meter.read", "meters", 60),
    Flow("/%2f/mail/mail.welcome", "cron", 3),
    # What goes wrong anywhere: a queue that was never bound, an exchange that comes later
    # than those who publish to it, an old password.
    Flow("/shop/orders/refund.asked", "app", 0.05, "body=#&mandatory=true"),
    Flow("/billing/reminders/invoice.due", "billing", 2, hours=(0.35, 0.55)),
    Flow("/iot/meters/meter.read", "meters", 0.5, password="former", hours=(0.7, 0.75)),
]


def definitions():
    """Return virtual hosts, users, exchanges and queues."""

    def each(name, host, **members):
        return {"name": name, "vhost": host, "durable": True, "auto_delete": False,
                "arguments": {}, **members}  # fmt: skip

    def binding(host, name, key):
        return {"source": name, "vhost": host, "destination": name, "destination_type": "queue",
                "routing_key": key, "arguments": {}}  # fmt: skip

    exchanges = [(host, name) for host, names in EXCHANGES.items() for name in names]
    logins = [(host, name) for host, names in USERS.items() for name in names]
    rights = {"configure": "", "write": ".*", "read": ""}
    return {
        "vhosts": [{"name": host} for host in EXCHANGES],
        "users": [{"name": name, "password": "secret", "tags": ""} for _, name in logins],
        "permissions": [{"user": name, "vhost": host, **rights} for host, name in logins],
        "exchanges": [each(n, host, type="topic", internal=False) for host, n in exchanges],
        "queues": [each(name, host, arguments=LIMITED) for host, name in exchanges],
        "bindings": [
            binding(host, name, f"{kind}.*")
            for host, name in exchanges
            for kind in ("order", "stock", "invoice", "meter", "mail")
        ],
    }


class World:
    """``broker`` and ``gateway`` with three backends; ``traffic()`` goes on until it is left."""

    def __init__(self, directory):
        self.broker = broker_script.Broker(directory / "broker")
        self._directory = directory

    def __enter__(self):
        self.broker.start()
        import_definitions(self.broker, definitions())
        self.gateway = GatewayProcess(self._directory, self.broker, ports=3)
        self._use(USUAL_PORTS)
        self.gateway.start()
        return self

    def __exit__(self, *_):
        self.gateway.stop()
        self.broker.stop()

    def _use(self, ports):
        """Use the ports of the documentation, unless somebody else does."""
        for port in ports:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
        self.gateway.ports = ports
        self.gateway.change(HTTPServer={"ports": ports})


class Traffic:
    """Clients in a thread of their own, who come and go as in a day."""

    def __init__(self, gateway):
        self._ports = gateway.ports
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    async def _run(self):
        flows = [(flow, port) for flow in FLOWS for port in self._ports]
        tasks = [asyncio.create_task(self._flow(flow, port)) for flow, port in flows]
        await asyncio.to_thread(self._stopping.wait)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _flow(self, flow, port):
        request = steady.form_request(flow.path, flow.user, flow.password, flow.form)
        own = random.Random(f"{flow} {port}")
        under_way = set()
        begun = time.monotonic()
        while True:
            second = time.monotonic() - begun
            if not flow.hours[0] <= second / CYCLE % 1 <= flow.hours[1]:
                await asyncio.sleep(1)
                continue
            tide = 1 + 0.5 * math.sin(second / CYCLE * math.tau)
            rate = flow.rate * tide * own.uniform(0.7, 1.3)
            seconds = max(1, 1 / rate)
            # Not awaited: whoever comes next does not wait for the answers of those before.
            asked = steady.ask_steadily(port, request, rate, seconds - 0.001)
            under_way.add(task := asyncio.create_task(asked))
            task.add_done_callback(under_way.discard)
            await asyncio.sleep(begun + second + seconds - time.monotonic())
