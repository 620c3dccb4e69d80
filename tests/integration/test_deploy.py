"""What deploy/ has, with the programs that it is for."""

import collections
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from certificates import Authority
from clients import LOGIN, Clients, kept_alive, tcp
from proxies import DEPLOY, haproxy, nginx
from verdict import CONFIRMED, NOT_PUBLISHED, UNKNOWN, Answer, judge
from waiting import wait_until

import statelessd

HEADERS = {**LOGIN, "Content-Type": "text/plain", "AMQP-Mandatory": "true"}


class TestSystemd:
    @pytest.fixture
    def unit(self, tmp_path):
        """The unit, with a program that is there."""
        text = (DEPLOY / "statelessd.service").read_text()
        program = Path(sys.executable).with_name("statelessd")
        path = tmp_path / "statelessd.service"
        path.write_text(text.replace("/opt/statelessd/bin/statelessd", str(program)))
        (tmp_path / "statelessd.socket").write_text((DEPLOY / "statelessd.socket").read_text())
        return path

    def test_the_units_verify_clean(self, unit):
        for path in (unit, unit.with_suffix(".socket")):
            done = _analyze("verify", path)
            assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_it_is_hardened(self, unit):
        done = _analyze("security", "--offline=true", "--threshold=20", unit)
        assert done.returncode == 0, done.stdout[-3000:]

    def test_the_service_manager_is_told(self, start_gateway, tmp_path, monkeypatch):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.settimeout(60)
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            monkeypatch.setenv("WATCHDOG_USEC", "500000")

            def told(*wanted):
                """What comes, but for the watchdog's signs, until all of it has come."""
                seen, alive = [], 0
                while len(seen) < len(wanted):
                    text = manager.recv(1000).decode().splitlines()
                    alive += "WATCHDOG=1" in text
                    seen += [line for line in text if line in wanted]
                assert tuple(seen) == wanted
                return alive

            gateway = start_gateway(ports=2)
            told("READY=1")
            gateway.hang_up()
            assert told("RELOADING=1", "READY=1") > 0
            gateway.config.write_text("nonsense: 1")
            gateway.process.send_signal(signal.SIGHUP)
            told("RELOADING=1", "READY=1")
            gateway.process.send_signal(signal.SIGTERM)
            told("STOPPING=1")

    def test_the_watchdog_is_fed_between_the_check_and_the_start(
        self, start_gateway, installed, tmp_path, monkeypatch
    ):
        """On a busy machine each of the two takes nearly the unit's WatchdogSec."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.settimeout(60)
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            monkeypatch.setenv("WATCHDOG_USEC", "500000")
            gateway = start_gateway()
            held = tmp_path / "go"
            program = installed / "__main__.py"
            program.write_text(HELD.format(path=str(held)) + program.read_text())
            gateway.hang_up()
            signs = ""
            while "RELOADING=1" not in signs:
                signs = manager.recv(1000).decode()
            # The parent waits in the check, and then at the begin of the new program.
            assert [manager.recv(1000) for _ in range(2)] == [b"WATCHDOG=1"] * 2
            held.touch()
            while "READY=1" not in signs:
                signs = manager.recv(1000).decode()


# Holds a program that a reload has started, though not its check, until a file is there.
HELD = """
import pathlib, sys, time
while "--check-config" not in sys.argv and not pathlib.Path({path!r}).exists():
    time.sleep(0.02)
"""


def _analyze(*arguments):
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def numbered(port, exchange):
    """Return a client whose messages have numbers; it tells what it was told of each."""
    numbers = itertools.count()

    def tell(name, status, body):
        if not status:
            return Answer(name, UNKNOWN, body)
        return Answer(name, *_told(status, body))

    path = f"/test/{exchange}/k"
    return kept_alive(
        tcp(port), path, headers=HEADERS, body=lambda _: f"m{next(numbers)}", tell=tell
    )


def paced(ask, pause=0.05):
    """Return the client with a pause after each answer, which leaves a reload some CPU time."""

    def slower(stopping):
        for told in ask(stopping):
            yield told
            stopping.wait(pause)

    return slower


def _told(status, body):
    if status == 204:
        return CONFIRMED, ""
    try:
        return json.loads(body)["outcome"], str(status)
    except ValueError:  # the proxy's own words: it does not know
        return (NOT_PUBLISHED if status == 503 else UNKNOWN), f"the proxy's {status}"


@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_a_backend_is_killed_under_load(start_gateway, queue, tmp_path, proxy):
    """Nothing is lost, denied or doubled, and only what was under way there is told of."""
    path = tmp_path / "8001.sock"
    gateway = start_gateway(unix=[path])
    kills = 4
    clients = 8
    with (
        proxy(tmp_path, f"127.0.0.1:{gateway.port}", f"unix:{path}") as port,
        Clients(clients, numbered(port, queue.name)) as load,
    ):
        load.go_on()
        for number in range(kills):
            before = gateway.backends()
            os.kill(before[number % 2], signal.SIGKILL)
            wait_until(
                lambda before=before: len(gateway.backends()) == 2 and gateway.backends() != before,
                what="a successor",
            )
            load.go_on()
    found = collections.Counter(body.decode() for body in queue.bodies())
    verdict = judge(load.told, found)
    assert verdict.true, str(verdict)
    assert verdict.outcomes[NOT_PUBLISHED] == 0, str(verdict)
    # A POST that was sent is never sent again; there is one at a time for each client.
    assert verdict.outcomes[UNKNOWN] <= kills * clients, str(verdict)
    assert verdict.outcomes[CONFIRMED] > 800


def test_an_upgrade_and_its_rollback_under_load(start_gateway, installed, queue, tmp_path):
    """Nothing is lost, denied, doubled or in doubt."""
    path = tmp_path / "8001.sock"
    gateway = start_gateway(unix=[path])
    version = installed / "version.py"
    former = version.read_text()
    newer = former.replace(statelessd.__version__, "99.0")
    with (
        nginx(tmp_path, f"127.0.0.1:{gateway.port}", f"unix:{path}") as port,
        Clients(8, paced(numbered(port, queue.name))) as load,
    ):
        for text, name in ((newer, "99.0"), (former, statelessd.__version__)):
            load.go_on(100)
            version.write_text(text)
            gateway.reload()
            assert gateway.get("/metrics", scope="all").text.count(f'version="{name}"') == 2
        load.go_on(100)
    found = collections.Counter(body.decode() for body in queue.bodies())
    verdict = judge(load.told, found)
    assert verdict.true, str(verdict)
    assert set(verdict.outcomes) == {CONFIRMED}, str(verdict)


def test_nginx_speaks_tls_as_shipped(start_gateway, queue, tmp_path):
    gateway = start_gateway()
    authority = Authority(tmp_path / "authority")
    with nginx(tmp_path, f"127.0.0.1:{gateway.port}", tls=authority) as port:
        url = f"https://localhost:{port}/test/{queue.name}/k"
        answer = requests.post(url, "x", headers=HEADERS, verify=authority.ca, timeout=60)
        assert answer.status_code == 204


@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_behind_a_proxy_everything_goes_through(start_gateway, queue, tmp_path, proxy):
    gateway = start_gateway({"HTTPServer": {"xheaders": True}})
    with proxy(tmp_path, f"127.0.0.1:{gateway.port}") as port:
        connection = tcp(port)()
        # A slash in a routing key, and a name that is not ASCII.
        connection.request("POST", f"/test/{queue.name}/a%2Fb%C3%BC", "x", HEADERS)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 204
        assert re.fullmatch(r"[0-9a-f-]{32,36}", answer.headers["X-Request-ID"])
        assert queue.get()[2] == "a/bü"
        lines = b'{"routing_key": "k", "body": "x"}\n' * 3
        headers = {**HEADERS, "Content-Type": "application/x-ndjson", "Prefer": "results=stream"}
        connection.request("POST", f"/test/{queue.name}", lines, headers)
        answer = connection.getresponse()
        assert json.loads(answer.read().splitlines()[-1])["published"] == 3
        # A stream is longer than any one body may be.
        line = json.dumps({"routing_key": "k", "body": "x" * 4_000_000}).encode() + b"\n"
        headers = {**HEADERS, "Content-Type": "application/x-ndjson"}
        connection.request("POST", f"/test/{queue.name}", iter([line] * 3), headers)
        assert json.loads(connection.getresponse().read())["published"] == 3
        connection.close()


@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_behind_a_proxy_no_trailer_is_an_address(start_gateway, tmp_path, proxy):
    """HAProxy passes trailers on, as they are."""
    inside = {"networks": ["10.9.0.0/24"]}
    gateway = start_gateway({"HTTPServer": {"xheaders": True, "pages": inside}})
    head = b"GET /stats HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with proxy(tmp_path, f"127.0.0.1:{gateway.port}") as port:
        for name in (b"X-Forwarded-For", b"X-Real-IP"):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(head + b"1\r\nx\r\n0\r\n" + name + b": 10.9.0.1\r\n\r\n")
                answer = http.client.HTTPResponse(client)
                answer.begin()
                assert (answer.status, b"/docs#forbidden" in answer.read()) == (403, True)


@pytest.mark.parametrize("size", [1, 300_000])
@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_behind_a_proxy_a_client_need_not_wait(start_gateway, queue, tmp_path, proxy, size):
    """The message of a client that sends all of it and hangs up is published."""
    path = tmp_path / "8001.sock"
    gateway = start_gateway(unix=[path])
    head = b"POST /test/%b/k HTTP/1.1\r\nHost: x\r\n" % queue.name.encode()
    head += b"Authorization: %b\r\n" % LOGIN["Authorization"].encode()
    bodies = {b"%03d" % number + b"x" * size for number in range(40)}
    with proxy(tmp_path, f"127.0.0.1:{gateway.port}", f"unix:{path}") as port:
        for body in bodies:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: len(queue) == len(bodies), what="all messages")
    assert set(queue.bodies()) == bodies
