"""A stop and a start under traffic: no request is lost, whoever asks and however."""

import contextlib
import signal
import socket

import pytest
from clients import (
    FORM,
    HEADERS,
    PATH,
    REQUEST,
    Clients,
    all_are_204,
    kept_alive,
    one_request_each,
    tcp,
)
from proxies import nginx


@pytest.mark.parametrize(
    "client",
    [
        lambda port: kept_alive(tcp(port)),
        lambda port: one_request_each(lambda: socket.create_connection(("127.0.0.1", port), 30)),
    ],
    ids=["kept_alive", "one_request_each"],
)
def test_a_stop_and_a_start_lose_no_request(start_gateway, client):
    gateway = start_gateway()
    with Clients(12, client(gateway.port)) as asking:
        for _ in range(4):
            asking.go_on()
            assert gateway.stop() == 0
            gateway.start()
        asking.go_on()
    all_are_204([asking])
    assert gateway.text.count("stopped: every request was answered") == 4


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
