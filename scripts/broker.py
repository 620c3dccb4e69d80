"""A private RabbitMQ for development, tests and benchmarks.

    broker.py start [--nodes N] [--run-dir DIR]   start it, unless it runs already
    broker.py stop | status | url                 likewise with --run-dir
    broker.py ctl ARGUMENT …                      rabbitmqctl for its first node

It has a name, ports, cookie and data directory of its own under the run
directory, listens on loopback only, and lives beside any other RabbitMQ. What
this script did not start it never touches; what it started it ends by process
id. With AMQP_URL in the environment that broker is used as it is.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import debian
from login import takes_logins
from process import Process

ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = ROOT / ".run" / "broker"
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
DOCKER_IMAGE = "rabbitmq:3.13"
START_SECONDS = 90.0

# What the examples use: a virtual host, and in it and in / a topic exchange with a queue.
VIRTUAL_HOSTS = ("/", "test")


class BrokerError(Exception):
    """The broker cannot be had; the text says what to do."""


class Node:
    """One RabbitMQ node, from Debian's package, as whoever runs this."""

    host = "127.0.0.1"

    def __init__(self, cluster: "Broker", index: int, ports: dict[str, int]) -> None:
        self.cluster = cluster
        self.amqp_port = ports["amqp"]
        self.directory = cluster.run_dir / f"node{index}"
        self.name = f"{cluster.name}-{index}@localhost"
        self.log_path = self.directory / "server.log"
        self._distribution_port = ports["distribution"]
        self._pid_file = self.directory / "process.json"

    @property
    def url(self) -> str:
        """Of the virtual host /."""
        return f"amqp://guest:guest@{self.host}:{self.amqp_port}/%2f"

    @property
    def process(self) -> Process | None:
        """The running server, or None."""
        try:
            recorded = Process(**json.loads(self._pid_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return recorded if recorded.alive else None

    @property
    def pid(self) -> int:
        process = self.process
        return process.pid if process else 0

    def start(self) -> None:
        """Start it and wait until it takes logins. Raises BrokerError with the log's end."""
        if self.process is None:
            if takes_logins(self.host, self.amqp_port):
                raise BrokerError(f"port {self.amqp_port} is another broker's")
            self._configure()
            with self.log_path.open("ab") as log:
                server = subprocess.Popen(
                    [PROGRAMS / "rabbitmq-server"],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.directory,
                    start_new_session=True,  # Ctrl-C is for whoever started it
                )
            process = Process(server.pid)
            self._pid_file.write_text(json.dumps({"pid": process.pid, "started": process.started}))
            self.cluster.popen.append(server)
        self._wait_until_it_takes_logins()

    def stop(self) -> None:
        """Stop it in order."""
        if process := self.process:
            process.end()
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """As a power cut would."""
        if process := self.process:
            process.end(signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """rabbitmqctl; what it prints. Raises BrokerError when it fails."""
        if not self.cluster.epmd_runs:  # or rabbitmqctl would start one, and leave it behind
            raise BrokerError(f"{self.name} does not run")
        done = subprocess.run(
            [PROGRAMS / "rabbitmqctl", "--quiet", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if check and done.returncode:
            raise BrokerError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of an installed RabbitMQ's own configuration."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        return kept | {
            "HOME": str(self.cluster.run_dir),  # where Erlang looks for the cookie
            "ERL_EPMD_PORT": str(self.cluster.epmd_port),
            "ERL_EPMD_ADDRESS": self.host,
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": self.host,
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "environment"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.directory / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_PID_FILE": str(self.directory / "rabbitmq.pid"),
            # An idle broker must not spin on a small machine.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _configure(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        definitions = self.directory / "definitions.json"
        definitions.write_text(json.dumps(_definitions()))
        lines = [
            f"listeners.tcp.1 = {self.host}:{self.amqp_port}",
            f"load_definitions = {definitions}",
            "log.console = true",
            "log.console.level = info",
            "cluster_formation.peer_discovery_backend = classic_config",
            "cluster_formation.discovery_retry_limit = 3",
            "cluster_formation.discovery_retry_interval = 500",
            *(
                f"cluster_formation.classic_config.nodes.{i} = {node.name}"
                for i, node in enumerate(self.cluster.nodes, 1)
                if len(self.cluster.nodes) > 1
            ),
            self.cluster.extra_conf,
        ]
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        plugins = ",".join(self.cluster.plugins)
        (self.directory / "plugins").write_text(f"[{plugins}].\n")
        (self.directory / "environment").touch()
        (self.directory / "advanced.config").write_text("[].\n")

    def _wait_until_it_takes_logins(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not takes_logins(self.host, self.amqp_port):
            if self.process is None or time.monotonic() > deadline:
                tail = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-120:])
                raise BrokerError(f"RabbitMQ did not start; the end of {self.log_path}:\n{tail}")
            time.sleep(0.1)


class DockerNode(Node):
    """The same from Docker's image, where Debian's package cannot be had."""

    @property
    def container(self) -> str:
        return self.name.partition("@")[0]

    @property
    def process(self) -> Process | None:
        shown = _docker("inspect", "--format", "{{.State.Pid}}", self.container)
        return Process(int(shown)) if shown.isdigit() and int(shown) else None

    def start(self) -> None:
        if self.process is None:
            self._configure()
            (self.directory / "rabbitmq.conf").write_text(
                "load_definitions = /etc/rabbitmq/definitions.json\nloopback_users = none\n"
                + self.cluster.extra_conf
            )
            mounts = [
                f"--volume={self.directory / name}:/etc/rabbitmq/{name}:ro"
                for name in ("rabbitmq.conf", "definitions.json")
            ]
            port = f"--publish={self.host}:{self.amqp_port}:5672"
            _docker(
                "run", "--detach", "--rm", "--name", self.container, port, *mounts, DOCKER_IMAGE
            )
        self._wait_until_it_takes_logins()

    def stop(self) -> None:
        _docker("stop", self.container)

    def kill(self) -> None:
        _docker("kill", self.container)

    def ctl(self, *arguments: str, check: bool = True) -> str:
        return _docker("exec", self.container, "rabbitmqctl", "--quiet", *arguments, check=check)


class Broker:
    """One node, or a cluster of up to three; a context manager that stops what it started.

    ``extra_conf``: lines for rabbitmq.conf. ``plugins``: names of plugins to enable.
    """

    def __init__(
        self,
        run_dir: Path = RUN_DIR,
        *,
        nodes: int = 1,
        extra_conf: str = "",
        plugins: tuple[str, ...] = (),
    ) -> None:
        if not 1 <= nodes <= 3:
            raise BrokerError("a cluster has one to three nodes")
        self.run_dir = run_dir.resolve()
        self.extra_conf = extra_conf
        self.plugins = plugins
        self.popen: list[subprocess.Popen[bytes]] = []
        self.name = "statelessd-" + hashlib.sha256(str(self.run_dir).encode()).hexdigest()[:8]
        self.started_here = False
        docker = not PROGRAMS.exists() and _docker_runs()
        kind = DockerNode if docker else Node
        ports = self._ports(nodes)
        self.epmd_port = ports[0]["epmd"]
        self.nodes = [kind(self, i, ports[i - 1]) for i in range(1, nodes + 1)]

    def _ports(self, nodes: int) -> list[dict[str, int]]:
        """Chosen once for a run directory, so that a restarted node keeps its own."""
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
        """rabbitmqctl for the first node."""
        return self.node.ctl(*arguments, check=check)

    @property
    def running(self) -> bool:
        return all(node.process is not None for node in self.nodes)

    def start(self) -> Self:
        """Start every node that does not run. Raises BrokerError."""
        self.started_here = not self.running
        if isinstance(self.node, DockerNode):
            self.node.start()
            return self
        self._start_epmd()
        self._make_cookie()
        for node in self.nodes:  # one after the other: each joins those before it
            node.start()
        return self

    def stop(self) -> None:
        """Stop the nodes and whatever was started for them."""
        for node in reversed(self.nodes):
            node.stop()
        with contextlib.suppress(OSError, ValueError, TypeError):
            Process(**json.loads(self._epmd_file.read_text())).end()
        self._epmd_file.unlink(missing_ok=True)
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
        """Whether the name server that this script started is there."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Process(**json.loads(self._epmd_file.read_text())).alive
        return False

    def _start_epmd(self) -> None:
        """Erlang's name server; a node would start one by itself, and leave it behind."""
        if self.epmd_runs:
            return
        self.run_dir.mkdir(parents=True, exist_ok=True)
        server = subprocess.Popen(
            ["epmd", "-port", str(self.epmd_port), "-address", Node.host],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        process = Process(server.pid)
        self._epmd_file.write_text(json.dumps({"pid": process.pid, "started": process.started}))
        self.popen.append(server)

    def _make_cookie(self) -> None:
        cookie = self.run_dir / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(20))
            cookie.chmod(0o400)


class GivenBroker:
    """The broker of AMQP_URL: used, never started, stopped or configured."""

    started_here = False
    running = True
    pid = 0

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or "localhost"
        self.amqp_port = parts.port or 5672
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        if not takes_logins(self.host, self.amqp_port, user, password):
            raise BrokerError(
                f"the broker of AMQP_URL, {self.host}:{self.amqp_port}, takes no login"
            )
        print(
            f"Using the broker of AMQP_URL. The examples need a virtual host 'test', and there "
            f"and in '/' a topic exchange 'test' with a queue bound to it, for the user {user}."
        )

    def start(self) -> Self:
        return self

    def stop(self) -> None:
        """Not ours to stop."""


def development_broker(run_dir: Path = RUN_DIR, nodes: int = 1) -> "Broker | GivenBroker":
    """The broker for ``make run`` and the benchmarks, not started yet. Raises BrokerError."""
    if url := os.environ.get("AMQP_URL"):
        return GivenBroker(url)
    try:
        debian.ensure(["rabbitmq-server"])
    except debian.MissingPackagesError as error:
        if not _docker_runs():
            raise BrokerError(
                f"RabbitMQ is needed: {error} (or start a Docker engine, or name a broker "
                "in AMQP_URL)"
            ) from error
    return Broker(run_dir, nodes=nodes)


def _definitions() -> dict[str, Any]:
    salt = b"salt"
    hashed = salt + hashlib.sha256(salt + b"guest").digest()
    return {
        "users": [
            {
                "name": "guest",
                "password_hash": base64.b64encode(hashed).decode(),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["administrator"],
            }
        ],
        "vhosts": [{"name": name} for name in VIRTUAL_HOSTS],
        "permissions": [
            {"user": "guest", "vhost": name, "configure": ".*", "write": ".*", "read": ".*"}
            for name in VIRTUAL_HOSTS
        ],
        "exchanges": [
            {"name": "test", "vhost": name, "type": "topic", "durable": True,
             "auto_delete": False, "internal": False, "arguments": {}}
            for name in VIRTUAL_HOSTS
        ],
        "queues": [
            {"name": "test", "vhost": name, "durable": True, "auto_delete": False,
             "arguments": {}}
            for name in VIRTUAL_HOSTS
        ],
        "bindings": [
            {"source": "test", "vhost": name, "destination": "test",
             "destination_type": "queue", "routing_key": "#", "arguments": {}}
            for name in VIRTUAL_HOSTS
        ],
    }  # fmt: skip


def _free_port(held: contextlib.ExitStack) -> int:
    probe = held.enter_context(socket.socket())
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    return port


def _docker_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def _docker(*arguments: str, check: bool = False) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise BrokerError(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


@contextlib.contextmanager
def _errors_to_stderr() -> Iterator[None]:
    try:
        yield
    except BrokerError as error:
        print(f"broker.py: {error}", file=sys.stderr)
        sys.exit(1)


def main() -> int:
    """The command."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--run-dir", type=Path, default=RUN_DIR, help="where its files are")
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
            broker = development_broker(options.run_dir, options.nodes)
            already = isinstance(broker, Broker) and broker.running
            broker.start()
            print(f"RabbitMQ {'runs already' if already else 'runs'} on port {broker.amqp_port}.")
            return 0
        broker = Broker(options.run_dir, nodes=3 if options.command == "stop" else 1)
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
