"""The gateways under test: how each is started, and that it answers before it is measured."""

import base64
import http.client
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

import processes
from measured_queue import EXCHANGE, VIRTUAL_HOST

BENCH = Path(__file__).parent
ROUTING_KEY = "bench.message"
PATH = f"/{VIRTUAL_HOST}/{EXCHANGE}/{ROUTING_KEY}"


@dataclass(frozen=True)
class Broker:
    """Where the broker is, and as whom to publish."""

    port: int
    username: str
    password: str

    @property
    def url(self) -> str:
        return f"amqp://{self.username}:{self.password}@127.0.0.1:{self.port}/{VIRTUAL_HOST}"


@dataclass(frozen=True)
class Command:
    """How to start one gateway on one port."""

    arguments: list[str]
    environment: dict[str, str]


def statelessd(
    python: Path,
    port: int,
    broker: Broker,
    run_directory: Path,
    http: dict[str, Any] | None = None,
    rabbitmq: dict[str, Any] | None = None,
) -> Command:
    """One backend of this project, with the defaults of everything but addresses.

    ``http``, ``rabbitmq``: settings of HTTPServer and Application.rabbitmq that differ.
    """
    config: dict[str, Any] = {
        "Application": {"rabbitmq": {"host": "127.0.0.1", "port": broker.port} | (rabbitmq or {})},
        "HTTPServer": {"address": "127.0.0.1", "ports": [port]} | (http or {}),
    }
    file = run_directory / f"statelessd-{port}.yaml"
    file.write_text(yaml.safe_dump(config))
    return Command([str(python), "-m", "statelessd", "-c", str(file)], {})


def fastapi(python: Path, port: int, broker: Broker) -> Command:
    """The reference of ``peers/fastapi_aio_pika.py``: one uvicorn process."""
    return Command(
        [
            *(str(python), "-m", "uvicorn", "fastapi_aio_pika:app"),
            *("--app-dir", str(BENCH / "peers"), "--host", "127.0.0.1", "--port", str(port)),
            *("--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--log-level", "warning"),
        ],
        {"AMQP_URL": broker.url},
    )


def mq_bridge(python: Path, port: int, broker: Broker) -> Command:
    """The bridge of ``peers/rust_bridge.py``, which publishes what is posted to ``/publish``."""
    program = str(BENCH / "peers" / "rust_bridge.py")
    return Command([str(python), program, str(port), broker.url, EXCHANGE, ROUTING_KEY], {})


class Gateway:
    """A running gateway, ended with its descendants by ``stop``.

    ``tls``: what it speaks TLS with, if it does. ``path``: what is posted to;
    ``success``: the status of its answer when the message is confirmed.
    """

    def __init__(
        self,
        name: str,
        log: Path,
        cores: Collection[int] | None,
        tls: ssl.SSLContext | None = None,
        *,
        path: str = PATH,
        success: int = 204,
    ) -> None:
        self.name = name
        self.port = free_port()
        self.seconds_to_first_204 = 0.0
        self._log = log
        self._cores = cores
        self._tls = tls
        self._path = path
        self._success = str(success)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}{self._path}"

    @property
    def pids(self) -> list[int]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return processes.tree_of(self._process.pid)

    def start(self, command: Command, broker: Broker, patience: float = 20.0) -> None:
        """Start it and wait for its first 204.

        Raises ``RuntimeError`` with the end of its log if it dies, or answers
        no 204 within ``patience`` seconds.
        """
        begun = time.monotonic()
        with self._log.open("wb") as log:
            self._process = self._spawn(command, log)
        answer = "nothing"
        while time.monotonic() < begun + patience and self._process.poll() is None:
            answer = self._publish_once(broker)
            if answer == self._success:
                self.seconds_to_first_204 = time.monotonic() - begun
                return
            time.sleep(0.02)
        tail = self._log.read_text(errors="replace")[-2000:].strip()
        raise RuntimeError(f"{self.name} answered {answer}; its log {self._log} ends:\n{tail}")

    def _spawn(self, command: Command, log: IO[bytes]) -> subprocess.Popen[bytes]:
        ours = os.sched_getaffinity(0)
        # Set before it starts, so that whatever counts cores on its start counts right.
        os.sched_setaffinity(0, self._cores or ours)
        try:
            return subprocess.Popen(
                command.arguments,
                env=os.environ | command.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours: we end it in order
            )
        finally:
            os.sched_setaffinity(0, ours)

    def _publish_once(self, broker: Broker) -> str:
        """The status of one publish, or the error that came instead."""
        token = base64.b64encode(f"{broker.username}:{broker.password}".encode()).decode()
        headers = {
            "Authorization": f"Basic {token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        address = "127.0.0.1", self.port
        connection = (
            http.client.HTTPSConnection(*address, timeout=10, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(*address, timeout=10)
        )
        try:
            connection.request("POST", self._path, "body=ready", headers)
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            connection.close()

    def stop(self) -> None:
        if self._process is not None:
            processes.end(self._process)


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
