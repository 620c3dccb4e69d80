"""One run of publishes: what a load counts, and wrk, which makes most of them."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amqp_client import PASSWORD, USER

SCRIPT = Path(__file__).with_name("publish.lua")
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Load:
    """What was answered, and latencies in milliseconds. ``non_204``: answers of no success."""

    seconds: float
    confirmed: int
    non_204: int
    socket_errors: int
    p50_ms: float
    p99_ms: float

    @property
    def requests(self) -> int:
        """Return how many requests were answered, whatever the answer was."""
        return self.confirmed + self.non_204


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """Return what this share of the values, in order, stays within; 0 where there are none."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


def of_latencies(seconds: float, milliseconds: Sequence[float], failed: int = 0) -> Load:
    """Return the load whose confirmed publishes took so long each."""
    ordered = sorted(milliseconds)
    ranks = nearest_rank(ordered, 0.5), nearest_rank(ordered, 0.99)
    return Load(seconds, len(ordered), failed, 0, *ranks)


def token(user: str = USER) -> str:
    """Return the credentials of HTTP's Basic scheme."""
    return base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class Shape:
    """How requests differ from a form of 100 bytes over kept connections to one port.

    ``body_file``: the request's body. ``turns``: paths, each with its credentials, that take
    turns. ``ports``: a thread for each, which has its share of the connections. ``close``: a
    new connection for each request. ``authorized``: with Basic credentials.
    """

    content_type: str = FORM
    body_file: Path | None = None
    turns: Sequence[tuple[str, str]] = ()
    ports: Sequence[int] = ()
    close: bool = False
    authorized: bool = True

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that ``publish.lua`` reads."""
        variables = {
            "BENCH_CONTENT_TYPE": self.content_type,
            "BENCH_TURNS": "\n".join(f"{path} {login}" for path, login in self.turns),
            "BENCH_PORTS": " ".join(map(str, self.ports)),
        }
        if self.authorized:
            variables["BENCH_AUTHORIZATION"] = f"Basic {token()}"
        if self.body_file is not None:
            variables["BENCH_BODY_FILE"] = str(self.body_file)
        if self.close:
            variables["BENCH_CONNECTION"] = "close"
        return variables


def parse(output: str) -> Load:
    """Read the JSON line that a load prints last. Raise ``ValueError`` when there is none."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return Load(**json.loads(line))
    raise ValueError(f"the load printed no result:\n{output.strip()}")


def wrk(url: str, connections: int, seconds: float, shape: Shape) -> Load:
    """Publish for whole ``seconds``. Raise ``RuntimeError`` when wrk fails."""
    command = [
        shutil.which("wrk") or "wrk",
        f"--threads={max(1, len(shape.ports))}",
        f"--connections={connections}",
        f"--duration={seconds:.0f}s",
        "--timeout=10s",
        f"--script={SCRIPT}",
        url,
    ]
    # subprocess.run kills its child when an exception, Ctrl-C included, passes through.
    done = subprocess.run(
        command, env=os.environ | shape.environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def wrk_version() -> str:
    """Return the version that ``wrk --version`` begins with."""
    # It exits with 1 after its version.
    done = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).split()[1]
