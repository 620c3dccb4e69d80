"""wrk: one run of publishes against one gateway."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("publish.lua")


@dataclass(frozen=True)
class Load:
    """What wrk counted: answers, and latencies in milliseconds."""

    seconds: float
    confirmed: int
    non_204: int
    p50_ms: float
    p99_ms: float
    connect_errors: int
    read_errors: int
    write_errors: int
    timeouts: int
    p999_ms: float = 0.0

    @property
    def requests(self) -> int:
        """Requests that were answered, whatever the answer was."""
        return self.confirmed + self.non_204

    @property
    def socket_errors(self) -> int:
        return self.connect_errors + self.read_errors + self.write_errors + self.timeouts


@dataclass(frozen=True)
class Shape:
    """How requests differ from a form of 100 bytes over kept connections to one port.

    ``body_file``: the request's body. ``paths`` take turns. ``ports``: a thread for
    each, which has its share of the connections. ``close``: a new connection for
    each request. ``authorized``: with Basic credentials. ``pause_ms``: from an
    answer to that connection's next request, on average.
    """

    content_type: str = "application/x-www-form-urlencoded"
    body_file: Path | None = None
    paths: Sequence[str] = ()
    ports: Sequence[int] = ()
    close: bool = False
    authorized: bool = True
    pause_ms: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """As ``publish.lua`` takes it."""
        variables = {
            "BENCH_CONTENT_TYPE": self.content_type,
            "BENCH_PATHS": " ".join(self.paths),
            "BENCH_PORTS": " ".join(map(str, self.ports)),
            "BENCH_PAUSE_MS": str(self.pause_ms),
        }
        if self.body_file is not None:
            variables["BENCH_BODY_FILE"] = str(self.body_file)
        if self.close:
            variables["BENCH_CONNECTION"] = "close"
        return variables


def parse(output: str) -> Load:
    """Read wrk's output: the figures are the JSON line that ``publish.lua`` prints last.

    Raises ``ValueError`` when there is none.
    """
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return Load(**json.loads(line))
    raise ValueError(f"wrk printed no result:\n{output.strip()}")


def run(
    url: str,
    connections: int,
    seconds: float,
    username: str,
    password: str,
    shape: Shape | None = None,
) -> Load:
    """Publish over ``connections`` connections for whole ``seconds``, on one thread.

    Raises ``RuntimeError`` when wrk fails; ends wrk by its id if interrupted.
    """
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    shape = shape or Shape()
    command = [
        shutil.which("wrk") or "wrk",
        f"--threads={max(1, len(shape.ports))}",
        f"--connections={connections}",
        f"--duration={seconds:.0f}s",
        "--timeout=10s",
        f"--script={SCRIPT}",
        url,
    ]
    login = {"BENCH_AUTHORIZATION": f"Basic {token}"} if shape.authorized else {}
    environment = os.environ | login | shape.environment
    # subprocess.run kills its child when an exception, Ctrl-C included, passes through.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def version() -> str:
    """wrk's version, as ``wrk --version`` begins with it."""
    # It exits with 1 after its version.
    done = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).split()[1]
