"""A stop and a start under traffic: no request is lost, whoever asks and however."""

import contextlib
import http.client
import signal
import socket
import ssl

import pytest
from certificates import Authority
from clients import (
    FORM,
    HEADERS,
    PATH,
    REQUEST,
    Clients,
    UnixConnection,
    all_are_204,
    kept_alive,
    one_request_each,
    tcp,
    unix_socket,
)
from proxies import nginx

# The gateway waits one second for the last request of a connection. A busy machine can hold up
# a client for longer; then the connection is closed beneath its request.
LATE = 0.5


def a_port(start_gateway, _directory):
    gateway = start_gateway()
    return gateway, tcp(gateway.port), lambda: socket.create_connection(("127.0.0.1", gateway.port))


def tls(start_gateway, directory):
    authority = Authority(directory)
    gateway = start_gateway({"HTTPServer": {"tls": authority.settings}}, ca=authority.ca)
    context = ssl.create_default_context(cafile=str(authority.ca))

    def kept():
        return http.client.HTTPSConnection("localhost", gateway.port, timeout=30, context=context)

    def connect():
        raw = socket.create_connection(("127.0.0.1", gateway.port), 30)
        return context.wrap_socket(raw, server_hostname="localhost")

    return gateway, kept, connect


def a_unix_socket(start_gateway, directory):
    path = directory / "unix.sock"
    gateway = start_gateway(unix=[path], ports=0)
    return gateway, lambda: UnixConnection(path), lambda: unix_socket(path)


@pytest.mark.parametrize("client", ["kept_alive", "one_request_each"])
@pytest.mark.parametrize("listener", [a_port, tls, a_unix_socket])
def test_a_stop_and_a_start_lose_no_request(start_gateway, tmp_path, listener, client):
    gateway, kept, connect = listener(start_gateway, tmp_path)
    ask = kept_alive(kept, late=LATE) if client == "kept_alive" else one_request_each(connect)
    with Clients(8, ask) as asking:
        for _ in range(4):
            asking.go_on(100)
            assert gateway.stop() == 0
            gateway.start()
        asking.go_on(100)
    all_are_204([asking])
    assert gateway.text.count("stopped: all requests were answered") == 4


def test_an_open_connection_may_ask_once_more(start_gateway):
    gateway = start_gateway({"HTTPServer": {"drain_timeout": 60}})
    asked = tcp(gateway.port)()
    asked.request("POST", PATH, FORM, HEADERS)
    asked.getresponse().read()
    fresh = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    with contextlib.closing(asked), fresh:
        gateway.stats()  # so that the connection before was accepted
        gateway.process.send_signal(signal.SIGTERM)
        gateway.says("stopping: answering")
        asked.request("POST", PATH, FORM, HEADERS)
        with asked.getresponse() as answer:
            assert (answer.status, answer.headers["connection"]) == (204, "close")
        fresh.sendall(REQUEST)
        assert fresh.recv(1000).startswith(b"HTTP/1.1 204")
    assert gateway.process.wait(30) == 0


def test_behind_nginx_two_gateways_are_replaced_and_no_request_fails(start_gateway, tmp_path):
    gateways = [start_gateway(), start_gateway()]
    with (
        nginx(tmp_path, *(f"127.0.0.1:{each.port}" for each in gateways)) as port,
        Clients(12, kept_alive(tcp(port))) as asking,
    ):
        for gateway in gateways * 2:
            asking.go_on()
            assert gateway.stop() == 0
            asking.go_on()
            gateway.start()
        asking.go_on()
    all_are_204([asking])
