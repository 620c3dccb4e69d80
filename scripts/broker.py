"""A private RabbitMQ for development, tests and benchmarks.

    broker.py start [--nodes N] [--run-dir DIR]   start it, unless it runs already
    broker.py stop | status | url                 likewise with --run-dir
    broker.py ctl ARGUMENT …                      rabbitmqctl for its first node

With --suite trixie, or testing, or BROKER_SUITE in the environment, it is the
RabbitMQ of that Debian release, in a root file system that is made once (suite.py).

It has its own name, ports, cookie and data directory under the run directory. It
listens on loopback only, and runs beside any other RabbitMQ. The script only ends
processes that it started, by their ids. With AMQP_URL in the environment, that broker
is used as it is.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

import debian
from login import takes_logins
from node import VIRTUAL_HOSTS, BrokerError, Node
from process import Process, uninterrupted
from suite import Suite, SuiteError

__all__ = [
    "VIRTUAL_HOSTS",
    "Address",
    "Broker",
    "BrokerError",
    "GivenBroker",
    "Node",
    "development_broker",
    "private_broker",
    "takes_logins",
]

ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = ROOT / ".run" / "broker"


class Broker:
    """One node, or a cluster of up to three; a context manager that stops what it started.

    ``extra_conf`` has lines for rabbitmq.conf, and ``plugins`` the plugins to enable.
    ``suite`` is the Debian release whose RabbitMQ it is. The default is BROKER_SUITE of
    the environment, or else the machine's own RabbitMQ.
    """

    def __init__(
        self,
        run_dir: Path = RUN_DIR,
        *,
        nodes: int = 1,
        extra_conf: str = "",
        plugins: tuple[str, ...] = (),
        suite: str | None = None,
    ) -> None:
        if not 1 <= nodes <= 3:
            raise BrokerError("a cluster has one to three nodes")
        self.run_dir = run_dir.resolve()
        self.extra_conf = extra_conf
        self.plugins = plugins
        self.popen: list[subprocess.Popen[bytes]] = []
        self.name = "statelessd-" + hashlib.sha256(str(self.run_dir).encode()).hexdigest()[:8]
        name = os.environ.get("BROKER_SUITE", "") if suite is None else suite
        self.suite = Suite(name) if name else None
        ports = self._ports(nodes)
        self.epmd_port = ports[0]["epmd"]
        self.nodes = [Node(self, i, ports[i - 1]) for i in range(1, nodes + 1)]

    def _ports(self, nodes: int) -> list[dict[str, int]]:
        """Return the ports of the nodes. They are chosen once for a run directory."""
        file = self.run_dir / "ports.json"
        with contextlib.suppress(OSError, ValueError):
            ports: list[dict[str, int]] = json.loads(file.read_text())
            if len(ports) >= nodes:
                return ports
        with contextlib.ExitStack() as held:
            ports = [
                {use: _free_port(held) for use in ("amqp", "distribution", "epmd")}
                for _ in range(3)
            ]
        self.run_dir.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(ports))
        return ports

    @property
    def node(self) -> Node:
        return self.nodes[0]

    @property
    def host(self) -> str:
        return self.node.host

    @property
    def amqp_port(self) -> int:
        return self.node.amqp_port

    @property
    def url(self) -> str:
        return self.node.url

    @property
    def pid(self) -> int:
        return self.node.pid

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """Run rabbitmqctl for the first node."""
        return self.node.ctl(*arguments, check=check)

    def evaluate(self, expression: str) -> str:
        """Return the value of an Erlang expression in the first node."""
        return self.node.evaluate(expression)

    @property
    def running(self) -> bool:
        return all(node.process is not None for node in self.nodes)

    def start(self) -> Self:
        """Start every node that does not run. Raise BrokerError if one does not start."""
        if self.suite:
            try:
                self.suite.ensure()
            except SuiteError as error:
                raise BrokerError(str(error)) from error
        own_epmd = False
        launched: list[Node] = []
        try:
            with uninterrupted():
                own_epmd = self._start_epmd()
                self._make_cookie()
                # All start at once, because since 4.0 a node waits for the others of its cluster.
                launched.extend(node for node in self.nodes if node.launch())
            for node in self.nodes:
                node.wait_until_it_takes_logins()
            if len(launched) > 1:
                self.ctl("await_online_nodes", str(len(self.nodes)))
        except BaseException:
            for node in launched:
                node.kill()
            if own_epmd:
                self._stop_epmd()
            self._reap()
            raise
        return self

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command that runs this one where the broker's programs are."""
        if self.suite:
            return self.suite.command(self.run_dir, *arguments)
        return [str(each) for each in arguments]

    def stop(self) -> None:
        """Stop the nodes and whatever was started for them."""
        for node in reversed(self.nodes):
            node.stop()
        self._stop_epmd()
        self._reap()

    def _reap(self) -> None:
        """Reap the processes that ended, so that subprocess does not warn about them."""
        for process in self.popen:
            process.poll()
            process.returncode = 0 if process.returncode is None else process.returncode
        self.popen.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _epmd_file(self) -> Path:
        return self.run_dir / "epmd.json"

    @property
    def epmd_runs(self) -> bool:
        """Return whether the name server that this script started is there."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Process(**json.loads(self._epmd_file.read_text())).alive
        return False

    def _start_epmd(self) -> bool:
        """Start Erlang's name server; a node would start one by itself, and leave it behind.

        Return False when it runs already.
        """
        if self.epmd_runs:
            return False
        self.run_dir.mkdir(parents=True, exist_ok=True)
        if self.suite is None and shutil.which("epmd") is None:
            raise BrokerError(
                "Erlang is missing, which RabbitMQ needs: apt-get install erlang-base"
            )
        server = subprocess.Popen(
            self.command("epmd", "-port", str(self.epmd_port), "-address", Node.host),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        process = Process(server.pid)
        self._epmd_file.write_text(json.dumps({"pid": process.pid, "started": process.started}))
        self.popen.append(server)
        return True

    def _stop_epmd(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            Process(**json.loads(self._epmd_file.read_text())).end()
        self._epmd_file.unlink(missing_ok=True)

    def _make_cookie(self) -> None:
        cookie = self.run_dir / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(20))
            cookie.chmod(0o400)


class Address(NamedTuple):
    """Where a broker is, and who logs in there."""

    host: str
    port: int
    user: str = "guest"
    password: str = "guest"

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Return what an AMQP URL says. Raise BrokerError if it is malformed."""
        try:
            parts = urlsplit(url)
            port = parts.port or 5672
        except ValueError as error:
            raise BrokerError(f"AMQP_URL is not a URL: {error}") from error
        if parts.scheme != "amqp":
            raise BrokerError("AMQP_URL does not begin with amqp://")
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        return cls(parts.hostname or "localhost", port, user, password)


class GivenBroker:
    """The broker of AMQP_URL, which is never started, stopped or configured."""

    running = True
    pid = 0

    def __init__(self, url: str) -> None:
        at = Address.of_url(url)
        self.url = url
        self.host, self.amqp_port = at.host, at.port
        if not takes_logins(*at):
            raise BrokerError(
                f"the broker of AMQP_URL, {at.host}:{at.port}, is not reached or refuses the login"
            )
        print(
            "Using the broker of AMQP_URL. The examples need a virtual host 'test', and there and "
            "in '/' a topic exchange 'test' with a queue 'test' bound to it, for the user "
            f"{at.user}."
        )

    def start(self) -> Self:
        return self

    def stop(self) -> None:
        """Do nothing, because this script did not start it."""


def development_broker(
    run_dir: Path | None = None, nodes: int = 1, suite: str | None = None
) -> "Broker | GivenBroker":
    """Return the broker for ``make run`` and the benchmarks, not started yet.

    Raise BrokerError if it cannot be used.
    """
    if url := os.environ.get("AMQP_URL"):
        return GivenBroker(url)
    broker = private_broker(run_dir, nodes, suite)
    if broker.suite:
        return broker
    try:
        debian.ensure(["rabbitmq-server"])
    except debian.MissingPackagesError as error:
        raise BrokerError(f"RabbitMQ is needed: {error} (or name a broker in AMQP_URL)") from error
    return broker


def private_broker(run_dir: Path | None = None, nodes: int = 1, suite: str | None = None) -> Broker:
    """Return the development broker.

    Each suite has its own directory, because RabbitMQ cannot read the data of a newer one.
    """
    name = os.environ.get("BROKER_SUITE", "") if suite is None else suite
    default = RUN_DIR.with_name(f"{RUN_DIR.name}-{name}") if name else RUN_DIR
    return Broker(run_dir or default, nodes=nodes, suite=name)


def _free_port(held: contextlib.ExitStack) -> int:
    """Hold and return a port below those that the kernel gives to outgoing connections.

    So nobody's connection takes the port while the broker does not listen.
    """
    while True:
        probe = held.enter_context(socket.socket())
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def _errors_to_stderr() -> Iterator[None]:
    try:
        yield
    except BrokerError as error:
        print(f"broker.py: {error}", file=sys.stderr)
        sys.exit(1)


def main() -> int:
    """Run the command, and return its exit status."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--run-dir", type=Path, help="where its files are")
    common.add_argument("--suite", help="the Debian release whose RabbitMQ it is: trixie, testing")
    parser = argparse.ArgumentParser(description="A private RabbitMQ for development.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", parents=[common], help="start it, unless it runs")
    start.add_argument("--nodes", type=int, default=1, help="one to three")
    commands.add_parser("stop", parents=[common], help="stop every node of it")
    commands.add_parser("status", parents=[common], help="exit status 0 when it runs")
    commands.add_parser("url", parents=[common], help="its AMQP URL")
    ctl = commands.add_parser("ctl", parents=[common], help="rabbitmqctl for its first node")
    ctl.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with _errors_to_stderr():
        if options.command == "start":
            broker = development_broker(options.run_dir, options.nodes, options.suite)
            already = isinstance(broker, Broker) and broker.running
            broker.start()
            print(f"RabbitMQ {'runs already' if already else 'runs'} on port {broker.amqp_port}.")
            return 0
        broker = private_broker(
            options.run_dir, 3 if options.command == "stop" else 1, options.suite
        )
        match options.command:
            case "stop":
                broker.stop()
            case "status":
                print(f"running on port {broker.amqp_port}" if broker.running else "not running")
                return 0 if broker.running else 1
            case "url":
                print(broker.url)
            case "ctl":
                print(broker.ctl(*options.arguments), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
