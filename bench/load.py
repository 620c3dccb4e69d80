"""wrk: one keep-alive run of publishes against one gateway."""

import base64
import json
import os
import shutil
import subprocess
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

    @property
    def requests(self) -> int:
        """Requests that were answered, whatever the answer was."""
        return self.confirmed + self.non_204

    @property
    def socket_errors(self) -> int:
        return self.connect_errors + self.read_errors + self.write_errors + self.timeouts


def parse(output: str) -> Load:
    """Read wrk's output: the figures are the JSON line that ``publish.lua`` prints last.

    Raises ``ValueError`` when there is none.
    """
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return Load(**json.loads(line))
    raise ValueError(f"wrk printed no result:\n{output.strip()}")


def run(url: str, connections: int, seconds: float, username: str, password: str) -> Load:
    """Publish over ``connections`` keep-alive connections for whole ``seconds``, on one thread.

    Raises ``RuntimeError`` when wrk fails; ends wrk by its id if interrupted.
    """
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    command = [
        shutil.which("wrk") or "wrk",
        "--threads=1",
        f"--connections={connections}",
        f"--duration={seconds:.0f}s",
        "--timeout=10s",
        f"--script={SCRIPT}",
        url,
    ]
    environment = os.environ | {"BENCH_AUTHORIZATION": f"Basic {token}"}
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
