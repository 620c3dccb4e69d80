"""The parent and its backends: death, orderly stop, daemon mode."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clients import KEPT, Clients, publishing
from gateway import At, GatewayProcess, children, gone, running, state
from waiting import wait_until

import statelessd


def test_a_killed_backend_is_back_at_once_and_the_others_notice_nothing(start_gateway):
    gateway = start_gateway(ports=2)
    first, second = gateway.ports
    backends = wait_until(lambda: _pids(gateway), what="both backends in the figures")
    with Clients(1, publishing(gateway, port=second)) as clients:
        os.kill(backends[str(first)], signal.SIGKILL)
        assert gateway.publish(port=first).status_code == 204
        clients.go_on(10)
    assert set(clients.told) == {204}
    gateway.says("ended by signal SIGKILL; restarting it")


def _pids(gateway):
    """Return the process ids of both backends, or None."""
    found = gateway.get("/dashboard.json").json()["backends"]
    pids = {each["backend"]: each["pid"] for each in found if each["pid"]}
    return pids if len(pids) == 2 else None


@pytest.fixture
def silent():
    """A listener in a broker's place that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


@pytest.mark.parametrize(("wait", "signals"), [(2, 1), (60, 2)])
def test_a_request_that_waits_is_answered_before_the_end(start_gateway, silent, wait, signals):
    """A second signal hurries."""
    settings = {"HTTPServer": {"drain_timeout": 120}}
    gateway = start_gateway(settings, against=At(*silent.getsockname()))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(gateway.publish, headers={"Prefer": f"wait={wait}"})
        with silent.accept()[0]:
            gateway.process.send_signal(signal.SIGTERM)
            gateway.says("stopping: answering")
            if signals == 2:
                gateway.process.send_signal(signal.SIGTERM)
            assert answer.result().status_code == 503
            assert gateway.process.wait(30) == 0


def test_a_backend_that_was_frozen_answers_the_requests_that_wait(start_gateway):
    """Its idle time-outs are over by then, but the requests came in time."""
    idle = 4.0
    gateway = start_gateway({"HTTPServer": {"idle_timeout": idle}})
    [backend] = gateway.backends()
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=60))
            for _ in range(8)
        ]
        for client in clients:
            client.sendall(KEPT)
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 204")
        looked_at = time.monotonic() + 0.6  # by then they were found to be idle
        wait_until(lambda: time.monotonic() > looked_at, what="a look at the connections")
        stack.callback(os.kill, backend, signal.SIGCONT)
        os.kill(backend, signal.SIGSTOP)
        wait_until(lambda: state(backend) == "T", what="it to stand still")
        for client in clients:
            client.sendall(KEPT)
        over = time.monotonic() + idle
        wait_until(lambda: time.monotonic() > over, what="the idle time-out")
        os.kill(backend, signal.SIGCONT)
        assert [client.recv(65536)[:12] for client in clients] == [b"HTTP/1.1 204"] * 8


def test_ctrl_c_is_one_orderly_stop(tmp_path, broker):
    with running(tmp_path, broker, ports=2) as gateway:
        for pid in (gateway.process.pid, *gateway.backends()):
            os.kill(pid, signal.SIGINT)  # a terminal sends it to the whole group
        assert gateway.process.wait(60) == 0
        assert gateway.text.count("stopped: all requests were answered") == 2


def may_read(user, *paths):
    """Whether that user may, which in a home of root's is not so."""
    command = ["setpriv", f"--reuid={user}", "--clear-groups", "test"]
    return all(
        subprocess.run([*command, "-r", path], check=False).returncode == 0 for path in paths
    )


class Daemon(GatewayProcess):
    user = ""

    @property
    def pidfile(self):
        return self.cwd / "run" / "statelessd.pid"

    @property
    def daemon_log(self):
        return self.cwd / "d.log"


class TestDaemon:
    @pytest.fixture
    def daemon(self, tmp_path, broker):
        """A configuration with relative paths, and the daemon of it ended at the end."""
        user = pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0 and may_read("nobody", statelessd.__file__):
            user = "nobody"
        settings = {
            "Daemon": {"pidfile": "run/statelessd.pid", "user": user},
            "Logging": {
                "version": 1,
                "handlers": {"file": {"class": "logging.FileHandler", "filename": "d.log"}},
                "loggers": {"statelessd": {"level": "INFO", "handlers": ["file"]}},
            },
        }
        gateway = Daemon(tmp_path, broker, settings, cwd=tmp_path)
        gateway.user = user
        yield gateway
        if gateway.pidfile.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(gateway.pidfile.read_text()), signal.SIGTERM)

    def test_it_detaches_serves_and_stops(self, daemon):
        done = daemon.run("-d")
        assert done.returncode == 0, done.stderr
        pid = int(daemon.pidfile.read_text())  # and it serves by now
        assert daemon.publish().status_code == 204
        assert os.getsid(pid) != os.getsid(0)
        [backend] = children(pid)
        owner = Path(f"/proc/{backend}").stat().st_uid
        assert owner == pwd.getpwnam(daemon.user).pw_uid
        assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: gone(pid), what="the daemon's end")
        assert not daemon.pidfile.exists()
        assert "all requests were answered" in daemon.daemon_log.read_text()

    def test_a_live_pidfile_is_refused(self, daemon):
        assert daemon.run("-d").returncode == 0
        pid = int(daemon.pidfile.read_text())
        second = daemon.run("-d")
        assert second.returncode == 1
        assert f"is already running as process {pid}" in second.stderr
        assert int(daemon.pidfile.read_text()) == pid

    def test_an_unknown_user_is_told_before_it_detaches(self, daemon):
        done = daemon.run("-d", STATELESSD_DAEMON_USER="no-such-user")
        assert done.returncode == 1
        assert "there is no user 'no-such-user'" in done.stderr

    def test_the_command_fails_if_no_backend_starts(self, daemon, tmp_path):
        package = tmp_path / "lib" / "statelessd"
        shutil.copytree(Path(statelessd.__file__).parent, package)
        shutil.rmtree(package / "pages" / "static")
        user = pwd.getpwuid(os.getuid()).pw_name
        done = daemon.run("-d", PYTHONPATH=str(package.parent), STATELESSD_DAEMON_USER=user)
        assert done.returncode == 1
        assert f"the backend on port {daemon.port} failed: " in done.stderr
        assert f"Directory '{package}/pages/static' does not exist" in done.stderr
        assert "no backend could be started; the last one ended with status 1" in done.stderr
        wait_until(lambda: not daemon.pidfile.exists(), what="the pidfile's end")

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
    def test_a_user_who_may_not_read_the_program_is_named(self, daemon, tmp_path):
        tmp_path.chmod(0o711)
        home = tmp_path / "root"
        shutil.copytree(Path(statelessd.__file__).parent, home / "statelessd")
        home.chmod(0o700)
        done = daemon.run("-d", PYTHONPATH=str(home), STATELESSD_DAEMON_USER="nobody")
        assert done.returncode == 1
        assert f"the user nobody may not read {home}/statelessd" in done.stderr
        wait_until(lambda: not daemon.pidfile.exists(), what="the pidfile's end")
