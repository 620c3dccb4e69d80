"""The parent and its backends: death, orderly stop, daemon mode."""

import contextlib
import os
import pwd
import shutil
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

import statelessd


def children(pid):
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(task) for task in tasks]


def _state(pid):
    """The letter for it in proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def gone(pid):
    try:
        return _state(pid) == "Z"
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


def test_a_backend_that_was_frozen_answers_the_requests_that_wait(start_gateway):
    """Its idle time-outs are over by then, but the requests came in time."""
    idle = 4.0
    gateway = start_gateway({"HTTPServer": {"idle_timeout": idle}})
    [backend] = gateway.backends()
    body = b"body=x"
    request = (
        b"POST /test/test/k HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
    ) % (len(body), body)
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=20))
            for _ in range(8)
        ]
        for client in clients:
            client.sendall(request)
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 204")
        looked_at = time.monotonic() + 0.6  # by then they were found to be idle
        wait_until(lambda: time.monotonic() > looked_at, what="a look at the connections")
        stack.callback(os.kill, backend, signal.SIGCONT)
        os.kill(backend, signal.SIGSTOP)
        wait_until(lambda: _state(backend) == "T", what="it to stand still")
        for client in clients:
            client.sendall(request)
        over = time.monotonic() + idle
        wait_until(lambda: time.monotonic() > over, what="the idle time-out")
        os.kill(backend, signal.SIGCONT)
        assert [client.recv(65536)[:12] for client in clients] == [b"HTTP/1.1 204"] * 8


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


def may_read(user, *paths):
    """Whether that user may, which in a home of root's is not so."""
    command = ["setpriv", f"--reuid={user}", "--clear-groups", "test"]
    return all(
        subprocess.run([*command, "-r", path], check=False).returncode == 0 for path in paths
    )


class TestDaemon:
    @pytest.fixture
    def daemon(self, tmp_path, broker):
        """A configuration with relative paths, and the daemon of it ended at the end."""
        from gateway import GatewayProcess  # noqa: PLC0415 - as above

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

    def test_it_says_that_it_serves_when_it_does(self, daemon):
        assert self.start(daemon).returncode == 0
        assert int(daemon.pidfile.read_text())
        assert publish(daemon) == 204

    def test_the_command_fails_if_no_backend_starts(self, daemon, tmp_path):
        package = tmp_path / "lib" / "statelessd"
        shutil.copytree(Path(statelessd.__file__).parent, package)
        shutil.rmtree(package / "pages" / "static")
        user = pwd.getpwuid(os.getuid()).pw_name
        done = _statelessd(
            "-d", "-c", str(daemon.config),
            environment={"PYTHONPATH": str(package.parent), "STATELESSD_DAEMON_USER": user},
            cwd=daemon._cwd,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"the backend on port {daemon.port} failed: " in done.stderr
        assert f"Directory '{package}/pages/static' does not exist" in done.stderr
        assert "no backend could be started; the last one ended with status 1" in done.stderr
        wait_until(lambda: not daemon.pidfile.exists())

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
    def test_a_user_who_may_not_read_the_program_is_named(self, daemon, tmp_path):
        tmp_path.chmod(0o711)
        home = tmp_path / "root"
        shutil.copytree(Path(statelessd.__file__).parent, home / "statelessd")
        home.chmod(0o700)
        done = _statelessd(
            "-d", "-c", str(daemon.config),
            environment={"PYTHONPATH": str(home), "STATELESSD_DAEMON_USER": "nobody"},
            cwd=daemon._cwd,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"the user nobody may not read {home}/statelessd" in done.stderr
        wait_until(lambda: not daemon.pidfile.exists())
