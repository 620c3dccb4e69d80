"""The gateways under test: how each is started, and that it answers before it is measured."""

import hashlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
import time
import venv
from collections.abc import Collection, Mapping
from pathlib import Path

import load
import processes
from amqp_client import EXCHANGE, ROUTING_KEY, VIRTUAL_HOST, Connection

PEERS = {"mq-bridge": "rust_bridge", "fastapi": "fastapi_aio_pika"}  # in bench/peers
DIRECTORY = Path(__file__).parent / "peers"
RUN = Path(__file__).resolve().parent.parent / ".run"
PATH = f"/{VIRTUAL_HOST}/{EXCHANGE}/{ROUTING_KEY}"


class Gateway:
    """A running gateway, ended with its descendants by ``stop``.

    ``port``: where it is asked. ``path``: what is posted to. ``success``: the status of its
    answer when the message is confirmed. ``tls``: what it speaks TLS with, if it does.
    """

    def __init__(
        self,
        name: str,
        command: Collection[str | Path],
        log: Path,
        *,
        port: int,
        cores: Collection[int],
        path: str = PATH,
        success: int = 204,
        tls: ssl.SSLContext | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{port}{path}"
        self._log = log
        self._path = path
        self._success = success
        self._tls = tls
        with log.open("wb") as output, processes.on_cores(cores):
            self._process = subprocess.Popen(
                list(command),
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours: we end it in order
            )

    @property
    def pids(self) -> list[int]:
        return processes.tree_of(self._process.pid)

    def wait_until_it_publishes(self, patience: float = 20.0) -> None:
        """Publish until one is confirmed.

        Raise ``RuntimeError`` with the end of its log if it dies, or confirms nothing within
        ``patience`` seconds.
        """
        deadline = time.monotonic() + patience
        answer: object = "nothing"
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                answer = self.publish(self._path, load.token())
            except (OSError, http.client.HTTPException) as error:
                answer = repr(error)
            if answer == self._success:
                return
            time.sleep(0.02)
        tail = self._log.read_text(errors="replace")[-2000:].strip()
        raise RuntimeError(f"{self.name} answered {answer}; its log {self._log} ends:\n{tail}")

    def publish(self, path: str, token: str) -> int:
        """Return the status of one publish over a connection of its own."""
        headers = {"Authorization": f"Basic {token}", "Content-Type": load.FORM}
        address = "127.0.0.1", self.port
        connection = (
            http.client.HTTPSConnection(*address, timeout=10, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(*address, timeout=10)
        )
        try:
            connection.request("POST", path, "body=ready", headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def stop(self) -> None:
        processes.end(self._process)


class AmqpProxy(Gateway):
    """amqproxy: clients speak AMQP to it, and it keeps connections to the broker."""

    def publish(self, path: str, token: str) -> int:
        """Log in through it. Return the status that counts as success."""
        Connection(self.port).close()
        return self._success


def requirements_of(peer: str) -> dict[str, str]:
    """Return the packages that a peer's environment is made of, each with its version."""
    lines = (DIRECTORY / f"{PEERS[peer]}.txt").read_text().splitlines()
    pins = (line.partition("==") for line in lines if not line.startswith("#"))
    return {name: version for name, _, version in pins}


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer's virtual environment; make it if it is missing or old.

    Raise ``subprocess.CalledProcessError`` when pip fails.
    """
    requirements = DIRECTORY / f"{PEERS[peer]}.txt"
    directory = RUN / f"bench-{peer}-{sys.version_info.major}.{sys.version_info.minor}"
    python = directory / "bin" / "python"
    stamp = directory / "installed"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"installing the packages of {peer}", flush=True)
    venv.create(directory, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    subprocess.run([*pip, "--no-deps", "-r", str(requirements)], check=True)
    stamp.write_text(wanted)
    return python


def free_port() -> int:
    """Return a TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
