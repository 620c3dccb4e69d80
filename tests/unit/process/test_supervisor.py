"""The parent with backends of the tests' own: real processes, real signals."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from waiting import wait_until

from statelessd.config.settings import Config
from statelessd.process.supervisor import Supervisor

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

# Run in a process of its own: the supervisor takes signals and forks.
SCRIPT = """
import sys, socket
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_supervisor as tests
sys.exit(tests.supervise({backend!r}, Path({directory!r}), {ports}))
"""


def supervise(backend, directory, ports):
    # Orphans become its children, as those of process 1.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    listeners = {port: [socket.create_server(("127.0.0.1", 0))] for port in range(ports)}
    server = msgspec.structs.replace(Config().http_server, drain_timeout=0.5)
    config = msgspec.structs.replace(Config(), http_server=server)

    def run(_config, _listeners, port, serves):
        with (directory / f"starts-{port}").open("a") as starts:
            starts.write(f"{os.getpid()}\n")
        serves()
        return BACKENDS[backend](directory, port)

    return Supervisor(config, listeners, run).run()


def serve_and_leave_an_orphan(directory, port):
    if (middle := os.fork()) == 0:
        if (orphan := os.fork()) == 0:
            os._exit(0)
        (directory / "orphan").write_text(str(orphan))
        os._exit(0)
    os.waitpid(middle, 0)
    serve(directory, port)


def serve(directory, port):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (directory / f"ready-{port}").touch()
    while True:
        signal.pause()


def serve_stubbornly(directory, port):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (directory / f"ready-{port}").touch()
    while True:
        signal.pause()


BACKENDS = {
    "serve": serve,
    "serve stubbornly": serve_stubbornly,
    "serve and leave an orphan": serve_and_leave_an_orphan,
    "fail": lambda directory, port: 7,
    "raise": lambda directory, port: 1 / 0,
}


@pytest.fixture
def start(tmp_path):
    started = []

    def start(backend, ports=2):
        code = SCRIPT.format(
            tests=str(Path(__file__).parent), backend=backend, directory=str(tmp_path), ports=ports
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def pids(directory, port):
    path = directory / f"starts-{port}"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_backend_that_dies_is_started_again_at_once_and_alone(start, tmp_path):
    parent = start("serve")
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    [first] = pids(tmp_path, 0)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(pids(tmp_path, 0)) == 2, 2)
    assert len(pids(tmp_path, 1)) == 1
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(5) == 0


def test_one_that_keeps_dying_is_started_with_growing_pauses(start, tmp_path):
    parent = start("serve")
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    times = []
    for deaths in range(1, 4):
        (tmp_path / "ready-0").unlink()
        os.kill(pids(tmp_path, 0)[-1], signal.SIGKILL)
        died = time.monotonic()
        wait_until((tmp_path / "ready-0").exists)
        times.append(time.monotonic() - died)
        assert len(pids(tmp_path, 0)) == deaths + 1
    assert times[0] < times[1] < times[2]
    assert parent.poll() is None


def test_an_orphan_that_it_is_given_does_not_stay_a_zombie(start, tmp_path):
    parent = start("serve and leave an orphan", ports=1)
    wait_until((tmp_path / "ready-0").exists)
    orphan = int((tmp_path / "orphan").read_text())
    wait_until(lambda: not Path(f"/proc/{orphan}").exists(), 3)
    assert len(pids(tmp_path, 0)) == 1
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(5) == 0


@pytest.mark.parametrize("backend", ["fail", "raise"])
def test_when_none_can_start_it_ends_and_says_why(start, tmp_path, backend):
    parent = start(backend)
    _, stderr = parent.communicate(timeout=20)
    assert parent.returncode == 1
    assert "no backend could be started" in stderr
    assert ("ZeroDivisionError" in stderr) is (backend == "raise")
    assert len(pids(tmp_path, 0)) >= 3


def test_a_backend_that_does_not_stop_is_killed(start, tmp_path):
    parent = start("serve stubbornly", 1)
    wait_until(lambda: list(tmp_path.glob("ready-*")))
    parent.send_signal(signal.SIGINT)
    _, stderr = parent.communicate(timeout=10)
    assert parent.returncode == 0
    assert "did not stop in time; killing it" in stderr


def test_backends_do_not_outlive_a_killed_parent(start, tmp_path):
    parent = start("serve")
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    parent.kill()
    parent.wait()
    for port in (0, 1):
        [pid] = pids(tmp_path, port)
        wait_until(lambda pid=pid: _ended(pid))


def _ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
