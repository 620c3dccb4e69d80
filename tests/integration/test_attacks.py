"""Clients that take every file descriptor, and what still works meanwhile and afterwards."""

import contextlib
import http.client
import json
import resource
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest
from certificates import Authority
from clients import KEPT, PATH, Clients, all_are_204, kept_alive, tcp
from waiting import open_files, wait_until

CROWD = 600
FILES = 400
WHOLE = 5.0  # seconds after an attack until all figures are there


@pytest.fixture
def many_files():
    with open_files(4 * CROWD):
        yield


@contextlib.contextmanager
def silent(port, count=CROWD):
    """Yield so many connections on which nothing is said."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            for _ in range(count)
        ]


def pages_are_whole(gateway):
    """Return whether each backend is in all figures, as the last one of them shows it."""
    backends = {str(port) for port in gateway.ports}
    port = gateway.ports[-1]
    metrics = gateway.get("/metrics", port, scope="all").text
    up = {name for name in backends if f'statelessd_backend_up{{backend="{name}"}} 1.0' in metrics}
    gauges = {
        name for name in backends if f'statelessd_http_connections{{backend="{name}"}}' in metrics
    }
    stats = gateway.stats(port, scope="all")
    shown = gateway.get("/dashboard.json", port).json()
    series = shown["series"]["time"]
    return (
        up == gauges == backends
        and backends <= {str(each["port"]) for each in stats["backends"]}
        and {each["backend"] for each in shown["backends"] if each["up"]} == backends
        and bool(series)
        and series[-1] >= time.time() - WHOLE
    )


def is_told_so(port):
    """Assert that a newcomer gets a problem document that says the truth."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", PATH, b"body=x")
        with connection.getresponse() as answer:
            problem = json.loads(answer.read())
            assert answer.status == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
            assert (problem["type"], problem["outcome"]) == ("/docs#overloaded", "not-published")


def test_with_few_descriptors_newcomers_are_told_so_and_the_others_go_on(start_gateway, many_files):
    gateway = start_gateway(ports=2, files=FILES)
    assert "the limit of open files is 400" in gateway.text
    kept = gateway.client()
    assert kept.get(gateway.url + "/healthz").ok
    with Clients(2, kept_alive(tcp(gateway.port))) as asking:
        asking.go_on(20)
        with silent(gateway.port):
            for _ in range(20):
                is_told_so(gateway.port)
            asking.go_on(50)
            for path in ("/metrics?scope=all", "/stats?scope=all", "/", "/static/overview.js"):
                assert kept.get(gateway.url + path).ok, path
            wait_until(lambda: pages_are_whole(gateway), WHOLE)
        deadline = time.monotonic() + WHOLE
        wait_until(lambda: gateway.publish().status_code == 204, WHOLE)
        wait_until(lambda: pages_are_whole(gateway), deadline - time.monotonic())
    all_are_204([asking])
    figures = gateway.get("/metrics").text
    limit = float(figures.split("\nstatelessd_http_connections_limit ")[1].split()[0])
    assert 100 < limit < FILES
    kept.close()


def test_a_limit_of_files_that_changes_while_it_runs_is_kept(start_gateway, many_files):
    gateway = start_gateway(files=2000)
    [backend] = gateway.backends()
    with silent(gateway.port, 300):
        wait_until(lambda: gateway.connections() >= 300)
        resource.prlimit(backend, resource.RLIMIT_NOFILE, (150, 2000))
        gateway.says("the limit of open files is now 150")
        wait_until(lambda: len(list(Path(f"/proc/{backend}/fd").iterdir())) < 150, 10)
        assert gateway.publish().status_code in (204, 503)
        resource.prlimit(backend, resource.RLIMIT_NOFILE, (2000, 2000))
        gateway.says("the limit of open files is now 2000")
        assert gateway.publish().status_code == 204


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.mark.parametrize("files", [FILES, None])
def test_silent_tls_clients_do_not_keep_others_out(start_gateway, many_files, authority, files):
    settings = {"HTTPServer": {"tls": authority.settings}}
    gateway = start_gateway(settings, ports=2, ca=authority.ca, files=files)
    with silent(gateway.port) as clients:
        for client in clients[::2]:
            with contextlib.suppress(OSError):  # it may have had to give way
                client.sendall(b"\x16\x03\x01")
        for _ in range(10):
            assert gateway.publish().status_code == 204
        wait_until(lambda: pages_are_whole(gateway), WHOLE)
        figures = gateway.get("/metrics").text
        count = float(figures.split("\nstatelessd_http_connections ")[1].split()[0])
        assert count > 20
        if files is not None:
            assert count < files / 2
            assert 'statelessd_refusals_total{limit="handshakes"} 5' in figures
    wait_until(lambda: pages_are_whole(gateway), WHOLE)


def test_silent_tls_clients_have_the_time_of_a_head(start_gateway, authority):
    settings = {"HTTPServer": {"tls": authority.settings, "header_timeout": 0.5}}
    gateway = start_gateway(settings, ca=authority.ca)
    with silent(gateway.port, 5) as clients:
        for client in clients:
            assert client.recv(100) == b""


def test_resets_of_tls_clients_end_nobody_elses_time_outs(start_gateway, authority):
    settings = {"HTTPServer": {"tls": authority.settings, "header_timeout": 1}}
    gateway = start_gateway(settings, ports=2, ca=authority.ca)
    context = ssl.create_default_context(cafile=str(authority.ca))

    def connect():
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
        return context.wrap_socket(raw, server_hostname="localhost")

    for pipelined in [1, 3, 50, 2000] * 8:
        client = connect()
        client.sendall(KEPT * pipelined)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    with connect() as slow:
        slow.sendall(KEPT[:20])
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    wait_until(lambda: gateway.connections() == 0, what="the connections to end")
    wait_until(lambda: pages_are_whole(gateway), WHOLE)
