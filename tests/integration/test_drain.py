"""A stop and a start under traffic: no request is lost, whoever asks and however."""

import contextlib
import http.client
import signal
import socket

import clients
import pytest
from clients import FORM, HEADERS, REQUEST, Clients
from proxies import nginx
from waiting import wait_until


def kept_alive(port):
    return clients.kept_alive(lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=20))


def one_request_each(port):
    return clients.one_request_each(lambda: socket.create_connection(("127.0.0.1", port), 20))


@pytest.mark.parametrize("client", [kept_alive, one_request_each])
def test_a_stop_and_a_start_lose_no_request(start_gateway, client):
    gateway = start_gateway()
    with Clients(12, client(gateway.port)) as asking:
        for _ in range(4):
            asking.go_on()
            assert gateway.stop() == 0
            gateway.start()
        asking.go_on()
    assert set(asking.told) == {204}
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


def test_behind_nginx_two_gateways_are_replaced_and_no_request_fails(start_gateway, tmp_path):
    gateways = [start_gateway(), start_gateway()]
    with (
        nginx(tmp_path, *(f"127.0.0.1:{each.port}" for each in gateways)) as port,
        Clients(12, kept_alive(port)) as asking,
    ):
        for gateway in gateways * 2:
            asking.go_on()
            assert gateway.stop() == 0
            asking.go_on()
            gateway.start()
        asking.go_on()
    assert set(asking.told) == {204}
