"""A stop and a start under traffic: no request is lost, whoever asks and however."""

import contextlib
import http.client
import signal
import socket
import subprocess
import threading

import pytest
from gateway import free_ports
from waiting import wait_until

FORM = "body=x"
HEADERS = {
    "Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q=",
    "Content-Type": "application/x-www-form-urlencoded",
}
REQUEST = (
    b"POST /test/test/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: 1\r\n\r\nx"
)


class Clients:
    """Threads that run ``ask`` in a loop; what it returns is counted."""

    def __init__(self, count, ask):
        self.told = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(ask,)) for _ in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, ask):
        for told in ask(self._stopping):
            self.told.append(told)

    def go_on(self, answers=200):
        """Wait for so many more answers."""
        seen = len(self.told)
        wait_until(lambda: len(self.told) >= seen + answers, 30, what="more answers")


def kept_alive(port):
    """A client that keeps its connection until it is told to close it."""

    def ask(stopping):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            while not stopping.is_set():
                try:
                    if connection.sock is None:
                        connection.connect()
                except ConnectionRefusedError:
                    stopping.wait(0.01)  # nothing was sent: between a stop and a start
                    continue
                try:
                    connection.request("POST", "/test/test/k", FORM, HEADERS)
                    with connection.getresponse() as answer:
                        answer.read()
                        yield answer.status
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    yield repr(error)

    return ask


def one_request_each(port):
    """A client with a new connection for each request."""

    def ask(stopping):
        while not stopping.is_set():
            with contextlib.ExitStack() as stack:
                try:
                    client = socket.create_connection(("127.0.0.1", port), timeout=20)
                except ConnectionRefusedError:
                    stopping.wait(0.01)
                    continue
                stack.enter_context(client)
                try:
                    client.sendall(REQUEST)
                    answer = b""
                    while data := client.recv(65536):
                        answer += data
                    yield int(answer.split()[1]) if answer else "nothing"
                except OSError as error:
                    yield repr(error)

    return ask


@pytest.mark.parametrize("client", [kept_alive, one_request_each])
def test_a_stop_and_a_start_lose_no_request(start_gateway, client):
    gateway = start_gateway()
    with Clients(12, client(gateway.port)) as clients:
        for _ in range(4):
            clients.go_on()
            assert gateway.stop() == 0
            gateway.start()
        clients.go_on()
    assert set(clients.told) == {204}
    assert gateway.text.count("stopped: every request was answered") == 4


def test_an_open_connection_may_ask_once_more(start_gateway):
    gateway = start_gateway()
    asked = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    asked.request("POST", "/test/test/k", FORM, HEADERS)
    asked.getresponse().read()
    fresh = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
    with contextlib.closing(asked), fresh:
        wait_until(lambda: gateway.stats()["requests"]["method.POST"] == 1)
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: answering" in gateway.text)
        asked.request("POST", "/test/test/k", FORM, HEADERS)
        with asked.getresponse() as answer:
            assert (answer.status, answer.headers["connection"]) == (204, "close")
        fresh.sendall(REQUEST)
        assert fresh.recv(1000).startswith(b"HTTP/1.1 204")
    assert gateway.process.wait(5) == 0


NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream statelessd {{
        # Else a gateway that was away for a moment is left out for ten seconds, and
        # nginx has none when the other one is replaced meanwhile.
        server 127.0.0.1:{one} max_fails=0;
        server 127.0.0.1:{other} max_fails=0;
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://statelessd;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def _takes_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def nginx(directory, one, other):
    """Debian's nginx before two gateways, with its defaults for what to try again; its port."""
    [port] = free_ports(1)
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, one=one, other=other, port=port))
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", str(config), "-e", "stderr"])
    try:
        wait_until(lambda: _takes_connections(port), what="nginx")
        yield port
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


def test_behind_nginx_two_gateways_are_replaced_and_no_request_fails(start_gateway, tmp_path):
    gateways = [start_gateway(), start_gateway()]
    with (
        nginx(tmp_path, *(gateway.port for gateway in gateways)) as port,
        Clients(12, kept_alive(port)) as clients,
    ):
        for gateway in gateways * 2:
            clients.go_on()
            assert gateway.stop() == 0
            clients.go_on()
            gateway.start()
        clients.go_on()
    assert set(clients.told) == {204}
