"""A real statelessd in a process of its own, against a broker, for as long as a test needs it."""

import contextlib
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import requests
import yaml
from forked import Forked
from waiting import wait_until

from statelessd.form import FORM

STARTED_WITH = os.environ.get("PYTHONPATH")  # also of the process that gateways are forked from
PATIENCE = 30  # seconds for an answer: a busy machine may take any time below that


class At(NamedTuple):
    """Where a broker, or what stands for one, is to be reached."""

    host: str
    amqp_port: int


def free_ports(count):
    """Return ports that nothing listens on.

    They are below those that the kernel gives to outgoing connections: so none of these
    takes one before whoever it is meant for.
    """
    with contextlib.ExitStack() as stack:
        found = []
        while len(found) < count:
            probe, port = stack.enter_context(socket.socket()), random.randrange(10_000, 20_000)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        return found


def free_port():
    """Return a port that nothing listens on."""
    return free_ports(1)[0]


def listening():
    """Return the ports that somebody listens on."""
    found = set()
    for table in ("tcp", "tcp6"):
        with Path(f"/proc/net/{table}").open() as lines:
            next(lines)
            for line in lines:
                _, local, _, state, *_ = line.split()
                if state != "0A":  # listeners come first
                    break
                found.add(int(local.rpartition(":")[2], 16))
    return found


def listens(port, timeout=5.0):
    """Return whether a connection to the port is taken.

    A listener that is full or about to stop drops it, which takes until the time-out.
    """
    try:
        socket.create_connection(("127.0.0.1", port), timeout).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running(directory, broker, settings=None, **options):
    """Yield a gateway, which has to end in order and without a traceback."""
    gateway = GatewayProcess(directory, broker, settings, **options).start()
    try:
        yield gateway
    finally:
        gateway.ends_in_order()


_numbers = itertools.count()


class GatewayProcess:
    """A gateway: ``start`` begins it, ``stop`` ends it.

    ``settings``: sections of the YAML file, merged over what the tests need.
    ``unix``: paths of Unix sockets, beside the ports. ``ca``: whom to trust when
    the settings have a certificate. ``cwd``: the directory that it starts in. ``files``: how
    many files it may have open, at most.
    """

    def __init__(
        self,
        directory,
        broker,
        settings=None,
        *,
        ports=1,
        unix=(),
        ca=None,
        cwd=None,
        files=None,
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
        self.cwd = cwd
        self.files = files
        self.config.write_text(yaml.safe_dump(_merged(document, settings or {})))
        self.process = None

    @property
    def url(self):
        return self.url_of(self.port)

    def url_of(self, port):
        return f"http{'s' if self.ca else ''}://127.0.0.1:{port}"

    @property
    def port(self):
        return self.ports[0]

    @property
    def command(self):
        """Return the command line that starts it."""
        limited = [] if self.files is None else ["prlimit", f"--nofile={self.files}"]
        return [*limited, sys.executable, "-m", "statelessd", "-c", str(self.config)]

    def start(self):
        """Start it, and wait until it answers on each port."""
        told = self.text.count("listening on ")
        self.process = self._begin(_environment())
        if not self.ports:
            self.says("listening on ", told + 1)
        for port in self.ports:
            wait_until(lambda port=port: self._serves(port), what=f"port {port} to answer")
        if "; publishing to " in self.text:  # its first line, unless a test logs elsewhere
            assert f" ({FORM}) on " in self.text, "it runs another form than the test"
        return self

    def _begin(self, environment):
        """Return its process, which ``make test`` forks, unless that would make a difference."""
        is_special = self.files is not None or self.cwd is not None
        is_special = is_special or environment.get("PYTHONPATH") != STARTED_WITH
        if "PYTEST_XDIST_WORKER" in environment and not is_special:
            return Forked(self.command, self.log, environment)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command, stdout=log, stderr=log, env=environment, cwd=self.cwd
            )

    def run(self, *arguments, **environment):
        """Run it with these arguments and variables until it ends by itself."""
        return subprocess.run(
            [*self.command, *arguments],
            capture_output=True,
            text=True,
            env=_environment() | environment,
            timeout=60,
            check=False,
            cwd=self.cwd,
        )

    def _serves(self, port):
        if self.process.poll() is not None:
            raise AssertionError(f"statelessd ended:\n{self.text}")
        if port not in listening():
            return False  # asking would cost much more than looking
        try:
            return self.get("/healthz", port).ok
        except requests.ConnectionError:
            return False

    def change(self, **sections):
        """Change its configuration file, for the next reload."""
        document = yaml.safe_load(self.config.read_text())
        for section, settings in sections.items():
            document.setdefault(section, {}).update(settings)
        self.config.write_text(yaml.safe_dump(document))

    def hang_up(self, **sections):
        """Change its configuration file, and send SIGHUP."""
        self.change(**sections)
        self.process.send_signal(signal.SIGHUP)

    def reload(self, seconds=120, **sections):
        """Do so, and wait until all its former backends have ended.

        Ask again if the machine was too busy to check the configuration within 10 s.
        """
        ended = re.compile("old backend on .*: ended with status 0")
        expected = len(ended.findall(self.text)) + len(self.backends())
        late = self.text.count("--check-config']' timed out")

        def done():
            nonlocal late
            if self.text.count("--check-config']' timed out") > late:
                late += 1
                self.hang_up()
            return len(ended.findall(self.text)) >= expected

        self.hang_up(**sections)
        wait_until(done, seconds, what="the former backends' end")

    def backends(self):
        """Return the process ids of those that serve."""
        return children(self.process.pid)

    def resident(self):
        """Return the resident memory of its largest backend, in bytes."""
        sizes = [0]
        for pid in self.backends():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
                sizes.append(int(pages) * os.sysconf("SC_PAGE_SIZE"))
        return max(sizes)

    def stop(self, seconds=60):
        """Send SIGTERM, and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(seconds)

    @contextlib.contextmanager
    def activated(self, *listeners):
        """Run it below systemd-socket-activate with these listeners, and yield the process.

        It starts with the first connection, and has to end in order.
        """
        listen = [f"--listen={each}" for each in listeners]
        with self.log.open("ab") as log:
            command = ["systemd-socket-activate", *listen, *self.command]
            process = subprocess.Popen(command, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(60) == 0

    def ends_in_order(self):
        """Stop it; its exit status has to be 0, and its log without a traceback."""
        status = self.stop()
        print(self.text)  # noqa: T201 - shown when the test fails
        assert status == 0
        assert "Traceback" not in self.text

    def kill(self):
        """Send SIGKILL to the parent, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def connections(self):
        """Return how many clients its first port has, established or half-closed."""
        fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = f"0100007F:{self.port:04X}"
        return sum(f[1] == ours and f[3] in ("01", "05", "08") for f in fields)

    @property
    def text(self):
        """Return what it has logged so far."""
        return self.log.read_text() if self.log.exists() else ""

    def says(self, text, times=1):
        """Wait until the log has that text, so often."""
        wait_until(lambda: self.text.count(text) >= times, what=f"{text!r} in the log")

    def get(self, path, port=None, **parameters):
        """Return the response to GET."""
        with self.client() as session:
            url = self.url_of(port or self.port) + path
            return session.get(url, params=parameters, timeout=PATIENCE)

    def stats(self, port=None, **parameters):
        return self.get("/stats", port, **parameters).json()

    def answered(self, status):
        """Return how many requests were answered with that status."""
        return self.stats()["requests"].get(f"response.{status}", 0)

    def client(self):
        """Return a session of requests that trusts ``ca``."""
        session = requests.Session()
        # REQUESTS_CA_BUNDLE would come before ours, and looking for proxies takes CPU time.
        session.trust_env = False
        if self.ca is not None:
            session.verify = str(self.ca)
        return session

    def raw(self, request):
        """Send bytes that a client library would not; return all that comes until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(request)
            received = b""
            while data := connection.recv(65536):
                received += data
        return received.decode("latin-1")

    def publish(self, path="/test/test/k", *, user="guest", password="guest", **options):
        """Return the response to a POST, by default of a short form.

        ``port``, ``session``: others than the first port and a fresh session.
        """
        session, port = options.pop("session", None), options.pop("port", self.port)
        if not {"data", "json", "files"} & set(options):
            options["data"] = {"body": "x"}
        auth = None if user is None else (user.encode(), password.encode())
        with contextlib.nullcontext(session) if session else self.client() as client:
            return client.post(self.url_of(port) + path, auth=auth, timeout=60, **options)


def children(pid):
    """Return the process ids of a process's children, in order."""
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def state(pid):
    """Return the letter for a process's state in proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def gone(pid):
    """Return whether the process has ended."""
    try:
        return state(pid) == "Z"
    except OSError:
        return True


def _environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("STATELESSD_")}


def _merged(document, settings):
    merged = dict(document)
    for key, value in settings.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
