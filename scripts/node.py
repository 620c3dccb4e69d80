"""One node of a private RabbitMQ, as a process of Debian's package."""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from login import takes_logins
from process import Process

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
START_SECONDS = 120.0
CTL_SECONDS = 120.0  # on a machine that is busy with other work

# What the examples use: a virtual host, and in it and in / a topic exchange with a queue.
VIRTUAL_HOSTS = ("/", "test")


class BrokerError(Exception):
    """The broker cannot be started; the text says what to do."""


class Cluster(Protocol):
    """The broker that a node belongs to, as the node sees it."""

    run_dir: Path
    name: str
    epmd_port: int
    extra_conf: str
    plugins: tuple[str, ...]
    popen: list[subprocess.Popen[bytes]]

    @property
    def nodes(self) -> "Sequence[Node]": ...

    @property
    def epmd_runs(self) -> bool: ...

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command that runs this one where the broker's programs are."""


class Node:
    """One RabbitMQ node from Debian's package, with the rights of the user who runs this.

    Its programs are the machine's, or those of a suite's root file system.
    """

    host = "127.0.0.1"

    def __init__(self, cluster: Cluster, index: int, ports: dict[str, int]) -> None:
        self.cluster = cluster
        self.amqp_port = ports["amqp"]
        self.directory = cluster.run_dir / f"node{index}"
        self.name = f"{cluster.name}-{index}@localhost"
        self.log_path = self.directory / "server.log"
        self._distribution_port = ports["distribution"]
        self._pid_file = self.directory / "process.json"
        self._calls = threading.Lock()
        # Exists until the first start has succeeded: data of half a start may be unusable.
        self._first_start = self.directory / "first-start"

    @property
    def url(self) -> str:
        """Return the AMQP URL of the virtual host /."""
        return f"amqp://guest:guest@{self.host}:{self.amqp_port}/%2f"

    @property
    def process(self) -> Process | None:
        """Return the running server, or None."""
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
        """Start it and wait until it takes logins. Raise BrokerError, with the log, if not."""
        launched = self.launch()
        try:
            self.wait_until_it_takes_logins()
        except BaseException:
            if launched:
                self.kill()
            raise

    def launch(self) -> bool:
        """Start it unless it runs. Return whether it was started. Raise BrokerError if not."""
        if self.process is not None:
            return False
        if takes_logins(self.host, self.amqp_port):
            raise BrokerError(f"port {self.amqp_port} is another broker's")
        self._configure()
        self._forget_half_a_start()
        with self.log_path.open("ab") as log:
            server = subprocess.Popen(
                self.cluster.command(PROGRAMS / "rabbitmq-server"),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C must only reach the script
            )
        process = Process(server.pid)
        self._pid_file.write_text(json.dumps({"pid": process.pid, "started": process.started}))
        self.cluster.popen.append(server)
        return True

    def stop(self) -> None:
        """Stop it in order."""
        if process := self.process:
            process.end()
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if process := self.process:
            process.end(signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """Return what rabbitmqctl prints. Raise BrokerError if it fails."""
        if not self.cluster.epmd_runs:  # rabbitmqctl would start one and leave it behind
            raise BrokerError(f"{self.name} does not run")
        done = subprocess.run(
            self.cluster.command(PROGRAMS / "rabbitmqctl", "--quiet", *arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=CTL_SECONDS,
        )
        if check and done.returncode:
            raise BrokerError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def evaluate(self, expression: str) -> str:
        """Return the value of an Erlang expression in the node, as Erlang writes it.

        ``rabbitmqctl eval`` does the same, but its start takes more than a second of CPU time.
        Raise BrokerError if the expression fails.
        """
        if not self.cluster.epmd_runs:
            raise BrokerError(f"{self.name} does not run")
        with self._calls:  # two calls at once would have the same node name, which fails
            done = subprocess.run(
                self.cluster.command("erl_call", "-n", self.name, "-e"),
                env=self.environment,
                input=f"{expression}\n",
                capture_output=True,
                text=True,
                check=False,
                timeout=CTL_SECONDS,
            )
        if not done.stdout.startswith("{ok, "):
            raise BrokerError(f"{expression}: {done.stdout}{done.stderr}")
        return done.stdout.removeprefix("{ok, ").strip().removesuffix("}")

    @property
    def environment(self) -> dict[str, str]:
        """Return an environment without the configuration of an installed RabbitMQ."""
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

    def _forget_half_a_start(self) -> None:
        data = self.directory / "data"
        if self._first_start.exists():
            shutil.rmtree(data, ignore_errors=True)
        elif not data.exists():
            self._first_start.touch()

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

    def wait_until_it_takes_logins(self) -> None:
        """Wait at most START_SECONDS. Raise BrokerError, with the log's end, after that."""
        deadline = time.monotonic() + START_SECONDS
        while not takes_logins(self.host, self.amqp_port):
            if self.process is None or time.monotonic() > deadline:
                tail = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-120:])
                raise BrokerError(f"RabbitMQ did not start; the end of {self.log_path}:\n{tail}")
            time.sleep(0.1)
        self._first_start.unlink(missing_ok=True)


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
