"""The parent with backends of the tests' own: real processes, real signals."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

from statelessd.config.settings import Config, HTTPServer
from statelessd.process.supervisor import Supervisor

HERE = str(Path(__file__).parent)
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

# In a process of its own, because the supervisor takes signals and forks.
SCRIPT = "import sys, test_supervisor as tests; sys.exit(tests.supervise(*sys.argv[1:]))"


def supervise(backend, directory, ports):
    # Orphans become its children, as those of process 1.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.chdir(directory)
    listeners = {port: [socket.create_server(("127.0.0.1", 0))] for port in range(int(ports))}

    def run(_config, _listeners, port, serves):
        with Path(f"starts-{port}").open("a") as starts:
            starts.write(f"{os.getpid()}\n")
        serves()
        return globals()[backend](port)

    config = Config(http_server=HTTPServer(drain_timeout=0.5))
    return Supervisor(config, listeners, run).run()


def serve(port, on_sigterm=lambda *_: sys.exit(0)):
    signal.signal(signal.SIGTERM, on_sigterm)
    Path(f"ready-{port}").touch()
    while True:
        signal.pause()


def serve_stubbornly(port):
    serve(port, signal.SIG_IGN)


def serve_and_leave_an_orphan(port):
    if (middle := os.fork()) == 0:
        if (orphan := os.fork()) == 0:
            os._exit(0)
        Path("orphan").write_text(str(orphan))
        os._exit(0)
    os.waitpid(middle, 0)
    serve(port)


@pytest.fixture
def start(tmp_path):
    started = []

    def start(backend, ports=2):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, backend.__name__, tmp_path, str(ports)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])},
        )
        started.append(process)
        if backend.__name__.startswith("serve"):
            wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == ports)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def pids(tmp_path):
    """Returns the processes that were started for a port, in order."""
    return lambda port: [int(line) for line in (tmp_path / f"starts-{port}").read_text().split()]


def test_a_backend_that_keeps_dying_is_started_alone_at_once_and_then_with_growing_pauses(
    start, tmp_path, pids
):
    parent = start(serve)
    ready, times = tmp_path / "ready-0", []
    for deaths in range(1, 4):
        ready.unlink()
        os.kill(pids(0)[-1], signal.SIGKILL)
        died = time.monotonic()
        wait_until(ready.exists)
        times.append(time.monotonic() - died)
        assert len(pids(0)) == deaths + 1
    assert times[0] < times[1] < times[2]
    assert len(pids(1)) == 1
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(5) == 0


def test_an_orphan_that_it_is_given_does_not_stay_a_zombie(start, tmp_path, pids):
    parent = start(serve_and_leave_an_orphan, ports=1)
    orphan = int((tmp_path / "orphan").read_text())
    wait_until(lambda: not Path(f"/proc/{orphan}").exists(), 3)
    assert len(pids(0)) == 1
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(5) == 0


def test_a_backend_that_does_not_stop_is_killed(start):
    parent = start(serve_stubbornly, 1)
    parent.send_signal(signal.SIGINT)
    _, stderr = parent.communicate(timeout=20)
    assert parent.returncode == 0
    assert "did not stop in time; killing it" in stderr


def test_a_parent_without_descriptors_lives_and_starts_the_backend_later(start, tmp_path, pids):
    parent = start(serve, 1)
    ready = tmp_path / "ready-0"
    ready.unlink()
    before = resource.prlimit(parent.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(parent.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    os.kill(pids(0)[0], signal.SIGKILL)
    line = parent.stderr.readline() + parent.stderr.readline()
    assert "starting the backend on port 0 failed: Too many open files" in line
    assert len(pids(0)) == 1
    resource.prlimit(parent.pid, resource.RLIMIT_NOFILE, before)
    wait_until(ready.exists)
    parent.send_signal(signal.SIGTERM)
    _, stderr = parent.communicate(timeout=20)
    assert parent.returncode == 0
    assert "OSError" not in stderr
