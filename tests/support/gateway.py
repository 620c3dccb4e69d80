"""A real statelessd in a process of its own, against a broker, for as long as a test needs it."""

import os
import signal
import socket
import subprocess
import sys

import requests
import yaml
from waiting import wait_until


def free_ports(count):
    """Ports that nothing listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class GatewayProcess:
    """``settings``: sections of the YAML file, merged over what the tests need."""

    def __init__(self, directory, broker, settings=None, *, ports=1, arguments=(), cwd=None):
        self.ports = free_ports(ports)
        self.log = directory / f"gateway-{self.ports[0]}.log"
        self.config = directory / f"gateway-{self.ports[0]}.yml"
        document = {
            "Application": {"rabbitmq": {"host": broker.host, "port": broker.amqp_port}},
            "HTTPServer": {"address": "127.0.0.1", "ports": self.ports},
        }
        self.config.write_text(yaml.safe_dump(_merged(document, settings or {})))
        self._arguments = arguments
        self._cwd = cwd
        self.process = None

    @property
    def url(self):
        return self.url_of(self.ports[0])

    @staticmethod
    def url_of(port):
        return f"http://127.0.0.1:{port}"

    @property
    def port(self):
        return self.ports[0]

    def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STATELESSD_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "statelessd", "-c", self.config, *self._arguments],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self._cwd,
            )
        for port in self.ports:
            wait_until(lambda port=port: self._serves(port), what=f"port {port} to answer")
        return self

    def _serves(self, port):
        if self.process.poll() is not None:
            raise AssertionError(f"statelessd ended:\n{self.log.read_text()}")
        try:
            return requests.get(f"{self.url_of(port)}/stats", timeout=2).ok
        except requests.ConnectionError:
            return False

    def stop(self, seconds=15):
        """SIGTERM; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    @property
    def text(self):
        return self.log.read_text()

    def stats(self):
        return requests.get(f"{self.url}/stats", timeout=5).json()

    def raw(self, request):
        """Send bytes that a client library would not; all that comes back until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            received = b""
            while data := connection.recv(65536):
                received += data
        return received.decode("latin-1")

    def publish(self, path, *, user="guest", password="guest", session=requests, **kwargs):
        """POST; the response."""
        return session.post(
            f"{self.url}{path}",
            auth=None if user is None else (user, password),
            timeout=20,
            **kwargs,
        )


def _merged(document, settings):
    merged = dict(document)
    for key, value in settings.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
