"""A real statelessd in a process of its own, against a broker, for as long as a test needs it."""

import itertools
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

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


_numbers = itertools.count()


class GatewayProcess:
    """``settings``: sections of the YAML file, merged over what the tests need.

    ``unix``: paths of Unix sockets, beside the ports. ``ca``: whom to trust when
    the settings have a certificate.
    """

    def __init__(
        self, directory, broker, settings=None, *, ports=1, unix=(), ca=None, arguments=(), cwd=None
    ):
        self.ports = free_ports(ports)
        name = next(_numbers)
        self.log = directory / f"gateway-{name}.log"
        self.config = directory / f"gateway-{name}.yml"
        document = {
            "Application": {"rabbitmq": {"host": broker.host, "port": broker.amqp_port}},
            "HTTPServer": {
                "address": "127.0.0.1",
                "ports": [*self.ports, *(f"unix:{path}" for path in unix)],
            },
        }
        self.ca = ca
        self.config.write_text(yaml.safe_dump(_merged(document, settings or {})))
        self._arguments = arguments
        self._cwd = cwd
        self.process = None

    @property
    def url(self):
        return self.url_of(self.ports[0])

    def url_of(self, port):
        scheme = "http" if self.ca is None else "https"
        return f"{scheme}://127.0.0.1:{port}"

    @property
    def port(self):
        return self.ports[0]

    def start(self):
        told = self.text.count("listening on ") if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(*self._arguments),
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self._cwd,
            )
        if not self.ports:
            wait_until(lambda: self.text.count("listening on ") > told, what="it to listen")
        for port in self.ports:
            wait_until(lambda port=port: self._serves(port), 60, what=f"port {port} to answer")
        return self

    def run(self, *arguments):
        """It, with these arguments, until it ends by itself."""
        return subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            env=self._environment(),
            timeout=60,
            check=False,
        )

    def _command(self, *arguments):
        return [sys.executable, "-m", "statelessd", "-c", self.config, *arguments]

    def _environment(self):
        return {k: v for k, v in os.environ.items() if not k.startswith("STATELESSD_")}

    def _serves(self, port):
        if self.process.poll() is not None:
            raise AssertionError(f"statelessd ended:\n{self.log.read_text()}")
        try:
            return self._get(f"{self.url_of(port)}/healthz", 2).ok
        except requests.ConnectionError:
            return False

    def change(self, **sections):
        """Its configuration file, for a reload to take up."""
        document = yaml.safe_load(self.config.read_text())
        for section, settings in sections.items():
            document.setdefault(section, {}).update(settings)
        self.config.write_text(yaml.safe_dump(document))

    def backends(self):
        """The process ids of those that serve."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return sorted(int(pid) for pid in Path(children).read_text().split())

    def stop(self, seconds=30):
        """SIGTERM; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    @property
    def text(self):
        return self.log.read_text()

    def stats(self):
        return self._get(f"{self.url}/stats", 5).json()

    def _get(self, url, timeout):
        with self.client() as session:
            return session.get(url, timeout=timeout)

    def client(self):
        """A session of requests that trusts ``ca``."""
        session = requests.Session()
        if self.ca is not None:
            session.trust_env = False  # REQUESTS_CA_BUNDLE would come before ours
            session.verify = str(self.ca)
        return session

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
            timeout=60,
            **kwargs,
        )


def _merged(document, settings):
    merged = dict(document)
    for key, value in settings.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
