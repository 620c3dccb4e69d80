import socket

import msgspec
import pytest
from gateway import free_ports

from statelessd.config import HTTPServer
from statelessd.listeners import ListenError, bind


@pytest.fixture
def bound():
    """Binds, and closes at the end."""
    opened = []

    def run(settings):
        listeners = bind(settings)
        opened.extend(listener for group in listeners.values() for listener in group)
        return listeners

    yield run
    for listener in opened:
        listener.close()


def settings(address, *ports):
    return msgspec.structs.replace(HTTPServer(), address=address, ports=tuple(ports))


def test_one_address(bound):
    ports = free_ports(2)
    listeners = bound(settings("127.0.0.1", *ports))
    assert list(listeners) == ports
    for port in ports:
        assert [each.getsockname() for each in listeners[port]] == [("127.0.0.1", port)]
        socket.create_connection(("127.0.0.1", port), timeout=2).close()


def test_an_empty_address_is_every_interface(bound):
    [port] = free_ports(1)
    addresses = {each.getsockname()[0] for each in bound(settings("", port))[port]}
    assert "0.0.0.0" in addresses
    assert addresses <= {"0.0.0.0", "::"}


def test_a_port_in_use_is_named_and_leaves_nothing_open(bound):
    free, taken = free_ports(2)
    with socket.create_server(("127.0.0.1", taken)):
        with pytest.raises(ListenError, match=f"port {taken} of 127.0.0.1: Address already in use"):
            bind(settings("127.0.0.1", free, taken))
        bound(settings("127.0.0.1", free))  # it was given back


def test_an_address_of_another_machine_is_told():
    with pytest.raises(ListenError, match="Cannot assign requested address"):
        bind(settings("192.0.2.1", 8000))
