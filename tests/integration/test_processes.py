"""The parent and its backends: death, orderly stop, daemon mode."""

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from waiting import wait_until


def children(pid):
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(task) for task in tasks]


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def publish(gateway, port=None, **kwargs):
    url = gateway.url_of(port or gateway.port)
    return requests.post(
        f"{url}/test/test/k", data={"body": "x"}, auth=("guest", "guest"), timeout=10, **kwargs
    ).status_code


def test_there_is_one_backend_for_each_port(start_gateway):
    gateway = start_gateway(ports=3)
    assert len(children(gateway.process.pid)) == 3
    assert [publish(gateway, port) for port in gateway.ports] == [204, 204, 204]


def test_a_killed_backend_is_back_within_two_seconds_and_the_others_notice_nothing(start_gateway):
    gateway = start_gateway(ports=2)
    assert publish(gateway, gateway.ports[0]) == 204
    victim = next(p for p in children(gateway.process.pid) if _listens_alone(p, gateway.ports[0]))
    os.kill(victim, signal.SIGKILL)
    started = time.monotonic()
    assert publish(gateway, gateway.ports[0]) == 204
    assert time.monotonic() - started < 2
    assert publish(gateway, gateway.ports[1]) == 204
    assert "ended by signal SIGKILL; it is started again" in gateway.text


def _listens_alone(pid, port):
    """Whether this backend holds the listening socket of that port: the others have closed it."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(descriptor.readlink()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            return f"socket:[{fields[9]}]" in inodes
    return False


def test_sigterm_with_requests_in_flight_answers_each(start_gateway):
    gateway = start_gateway()
    publish(gateway)
    answers, refused = [], []
    stop = threading.Event()

    def client():
        with requests.Session() as session:
            session.auth = ("guest", "guest")
            while not stop.is_set():
                try:
                    answer = session.post(
                        f"{gateway.url}/test/test/k", data={"body": "x"}, timeout=10
                    )
                except requests.ConnectionError:
                    refused.append(1)  # the listener is gone, or the connection was
                    return
                answers.append(answer.status_code)
                if answer.headers.get("connection") == "close":
                    return

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client) for _ in range(8)]
        wait_until(lambda: len(answers) > 50)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(60) == 0
        stop.set()
        for each in clients:
            each.result()
    assert set(answers) == {204}
    assert not refused
    assert "stopped: every request was answered" in gateway.text


@contextlib.contextmanager
def silent_broker():
    """Takes one connection and says nothing; ``accept()`` waits for it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        class Silent:
            host, amqp_port = listener.getsockname()

            @staticmethod
            def accept():
                stack.enter_context(listener.accept()[0])

        yield Silent


def test_a_request_that_waits_is_answered_before_the_end(start_gateway):
    with silent_broker() as silent, ThreadPoolExecutor() as pool:
        gateway = start_gateway(against=silent)
        answer = pool.submit(publish, gateway, headers={"Prefer": "wait=2"})
        silent.accept()
        gateway.process.send_signal(signal.SIGTERM)
        assert answer.result() == 503
        assert gateway.process.wait(8) == 0


def test_a_second_signal_hurries(start_gateway):
    with silent_broker() as silent, ThreadPoolExecutor() as pool:
        gateway = start_gateway(against=silent)
        answer = pool.submit(publish, gateway, headers={"Prefer": "wait=60"})
        silent.accept()
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: answering" in gateway.text)
        gateway.process.send_signal(signal.SIGTERM)
        assert answer.result() == 503
        assert gateway.process.wait(8) == 0


def test_the_parent_killed_takes_its_backends_along(start_gateway, tmp_path, broker):
    from gateway import GatewayProcess  # noqa: PLC0415 - the fixture would ask it to stop in order

    gateway = GatewayProcess(tmp_path, broker, ports=2).start()
    backends = children(gateway.process.pid)
    gateway.process.kill()
    gateway.process.wait()
    for backend in backends:
        wait_until(lambda backend=backend: gone(backend))


def test_ctrl_c_is_one_orderly_stop(tmp_path, broker):
    from gateway import GatewayProcess  # noqa: PLC0415 - as above

    gateway = GatewayProcess(tmp_path, broker, ports=2).start()
    for pid in [gateway.process.pid, *children(gateway.process.pid)]:
        os.kill(pid, signal.SIGINT)  # a terminal sends it to the whole group
    assert gateway.process.wait(60) == 0
    assert gateway.text.count("stopped: every request was answered") == 2


def test_a_port_that_is_taken_is_told_at_once(tmp_path, broker):
    from gateway import GatewayProcess  # noqa: PLC0415 - as above

    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = GatewayProcess(tmp_path, broker)
        port = taken.getsockname()[1]
        done = _statelessd(
            "-c", str(gateway.config), environment={"STATELESSD_HTTPSERVER_PORTS": str(port)}
        )
    assert done.returncode == 1
    assert f"cannot listen on port {port}" in done.stderr


def _statelessd(*arguments, environment=None, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "statelessd", *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        cwd=cwd,
    )


class TestDaemon:
    @pytest.fixture
    def daemon(self, tmp_path, broker):
        """A configuration with relative paths, and the daemon of it ended at the end."""
        from gateway import GatewayProcess  # noqa: PLC0415 - as above

        user = pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            user = "nobody"
        settings = {
            "Daemon": {"pidfile": "run/statelessd.pid", "user": user},
            "Logging": {
                "version": 1,
                "handlers": {"file": {"class": "logging.FileHandler", "filename": "d.log"}},
                "loggers": {"statelessd": {"level": "INFO", "handlers": ["file"]}},
            },
        }
        gateway = GatewayProcess(tmp_path, broker, settings, cwd=tmp_path)
        gateway.pidfile = tmp_path / "run" / "statelessd.pid"
        gateway.daemon_log = tmp_path / "d.log"
        gateway.user = user
        yield gateway
        if gateway.pidfile.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(gateway.pidfile.read_text()), signal.SIGTERM)

    def start(self, daemon):
        return _statelessd("-d", "-c", str(daemon.config), cwd=daemon._cwd)

    def test_it_detaches_serves_and_stops(self, daemon):
        done = self.start(daemon)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: daemon.pidfile.exists() and daemon.pidfile.read_text())
        pid = int(daemon.pidfile.read_text())
        assert publish(daemon) == 204
        assert os.getsid(pid) != os.getsid(0)
        [backend] = children(pid)
        owner = Path(f"/proc/{backend}").stat().st_uid
        assert owner == pwd.getpwnam(daemon.user).pw_uid
        assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: gone(pid))
        assert not daemon.pidfile.exists()
        assert "every request was answered" in daemon.daemon_log.read_text()

    def test_a_live_pidfile_is_refused(self, daemon):
        assert self.start(daemon).returncode == 0
        wait_until(lambda: daemon.pidfile.exists() and daemon.pidfile.read_text())
        pid = int(daemon.pidfile.read_text())
        second = self.start(daemon)
        assert second.returncode == 1
        assert f"runs already, as process {pid}" in second.stderr
        assert int(daemon.pidfile.read_text()) == pid

    def test_a_stale_pidfile_is_noticed_and_replaced(self, daemon):
        daemon.pidfile.parent.mkdir()
        daemon.pidfile.write_text("999999\n")
        assert self.start(daemon).returncode == 0
        wait_until(lambda: daemon.pidfile.read_text() not in ("999999\n", ""))
        assert "is stale" in daemon.daemon_log.read_text()
        assert publish(daemon) == 204

    def test_an_unknown_user_is_told_before_it_detaches(self, daemon):
        environment = {"STATELESSD_DAEMON_USER": "no-such-user"}
        done = _statelessd("-d", "-c", str(daemon.config), environment=environment, cwd=daemon._cwd)
        assert done.returncode == 1
        assert "there is no user 'no-such-user'" in done.stderr
