"""Bare on the network: slow clients by the thousand."""

import contextlib
import select
import socket
import time

import pytest
from clients import LOGIN, PATH
from waiting import open_files, wait_until

CROWD = 1000
LATE = 10  # seconds that a slow client is given
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()
AUTHORIZATION = f"Authorization: {LOGIN['Authorization']}\r\n".encode()
BODY = b"Content-Length: 4096\r\n\r\nbegun"


@pytest.fixture
def crowd(gateway_of_patience):
    """A thousand connections, all of which the kernel has."""
    with open_files(CROWD + 500), contextlib.ExitStack() as stack:
        made = []
        for _ in range(CROWD):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(60)
            client.connect(("127.0.0.1", gateway_of_patience.port))
            made.append(client)
        yield made


@pytest.fixture
def gateway_of_patience(start_gateway):
    timeouts = dict.fromkeys(("header_timeout", "body_timeout", "idle_timeout"), LATE)
    return start_gateway({"HTTPServer": timeouts})


def unanswered(crowd):
    poll = select.poll()
    for client in crowd:
        poll.register(client, select.POLLIN)
    return CROWD - len(poll.poll(0))


@pytest.mark.parametrize(
    ("begin", "more", "told"),
    [
        pytest.param(HEAD, b"X-Slow: yes\r\n", b"408", id="slow-headers"),
        pytest.param(HEAD + AUTHORIZATION + BODY, b"", b"408", id="stalled-bodies"),
        pytest.param(HEAD + BODY, b"", b"401", id="bodies-of-strangers"),
        pytest.param(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"200",
                     id="slow-readers"),
    ],
)  # fmt: skip
def test_a_good_client_beside_a_thousand_slow_ones(gateway_of_patience, crowd, begin, more, told):
    gateway = gateway_of_patience
    for client in crowd:
        client.sendall(begin)
    if told == b"408":
        assert unanswered(crowd) == CROWD
    longest = 0.0
    with gateway.client() as session:
        for _ in range(20):
            begun = time.monotonic()
            assert gateway.publish(session=session).status_code == 204
            longest = max(longest, time.monotonic() - begun)
    assert longest < LATE
    if told == b"200":
        assert gateway.connections() >= CROWD  # they have read nothing yet
    while more and unanswered(crowd) > CROWD * 0.1:
        for client in crowd:
            with contextlib.suppress(OSError):  # it was told already
                client.send(more)
        select.select([], [], [], 1)  # as slow as that
    assert {client.recv(12) for client in crowd} == {b"HTTP/1.1 " + told}
    for client in crowd:
        client.close()
    wait_until(lambda: gateway.connections() == 0, what="the slow ones to be gone")


def test_a_message_that_can_be_handed_over_at_once_does_not_need_its_client(gateway, queue):
    """A client that hangs up without waiting, once the login and the exchange are connected."""
    head = b"POST /test/%b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" % queue.name.encode()
    head += b"Authorization: %b\r\n\r\n" % LOGIN["Authorization"].encode()
    bodies = {b"%02d" % number for number in range(20)}
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
        client.sendall(head + b"00")
        assert client.recv(1000).startswith(b"HTTP/1.1 204 ")
    for body in bodies - {b"00"}:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
            client.sendall(head + body)
    wait_until(lambda: len(queue) == len(bodies), what="all messages")
    assert set(queue.bodies()) == bodies
