import pytest

from statelessd.http.peers import UNIX_SOCKET, Peers

LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("192.0.2.9", {b"x-real-ip": b"10.0.0.1"}, "192.0.2.9"),
        ("127.0.0.1", {}, "127.0.0.1"),
        ("127.0.0.1", {b"x-real-ip": b"192.0.2.1"}, "192.0.2.1"),
        ("::1", {b"x-real-ip": b" 2001:db8::1 "}, "2001:db8::1"),
        ("::ffff:127.0.0.1", {b"x-real-ip": b"192.0.2.1"}, "192.0.2.1"),
        ("127.0.0.1", {b"x-forwarded-for": b"10.9.9.9, 192.0.2.1"}, "192.0.2.1"),
        ("127.0.0.1", {b"x-forwarded-for": b"192.0.2.1, 127.0.0.2"}, "192.0.2.1"),
        ("127.0.0.1", {b"x-forwarded-for": b"garbage"}, ""),
        ("127.0.0.1", {b"x-real-ip": b"garbage"}, ""),
    ],
)
def test_whose_request_it_is(peer, headers, client):
    assert (
        Peers(xheaders=True, trusted_proxies=LOOPBACK).client(peer, list(headers.items())) == client
    )


def test_without_xheaders_it_is_the_peers():
    peers = Peers(xheaders=False, trusted_proxies=LOOPBACK)
    assert peers.client("127.0.0.1", [(b"x-real-ip", b"192.0.2.1")]) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("192.0.2.1", False), ("2001:db8::1", False), ("nonsense", False)],
)  # fmt: skip
def test_loopback(peer, expected):
    assert Peers(xheaders=False, trusted_proxies=()).is_loopback(peer, []) is expected


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-forwarded-for", b"203.0.113.9:4711")],
        [(b"x-forwarded-for", b"[2001:db8::1]")],
        [(b"x-forwarded-for", b'"203.0.113.9"')],
        [(b"x-forwarded-for", b"unknown")],
        [(b"x-real-ip", b"203.0.113.9:55")],
        [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-for", b"127.0.0.1")],
        [(b"x-real-ip", b"127.0.0.1"), (b"x-forwarded-for", b"203.0.113.9")],
    ],
)
def test_a_client_is_not_taken_to_be_near_for_want_of_knowledge(headers):
    peers = Peers(xheaders=True, trusted_proxies=LOOPBACK)
    assert not peers.is_loopback("127.0.0.1", headers)


def test_a_unix_socket_is_near_and_trusted():
    peers = Peers(xheaders=True, trusted_proxies=())
    assert peers.is_loopback(UNIX_SOCKET, [])
    assert peers.client(UNIX_SOCKET, [(b"x-real-ip", b"192.0.2.1")]) == "192.0.2.1"
    for name in (b"x-real-ip", b"x-forwarded-for"):
        assert not peers.is_loopback(UNIX_SOCKET, [(name, b"192.0.2.1")])
        assert peers.is_loopback(UNIX_SOCKET, [(name, b"127.0.0.1")])


def test_no_header_says_that_it_is_a_unix_socket():
    peers = Peers(xheaders=True, trusted_proxies=LOOPBACK)
    for name in (b"x-real-ip", b"x-forwarded-for"):
        for peer in ("127.0.0.1", UNIX_SOCKET):
            assert not peers.is_loopback(peer, [(name, UNIX_SOCKET.encode())])


def test_without_xheaders_a_unix_socket_is_near_whatever_the_headers_say():
    peers = Peers(xheaders=False, trusted_proxies=())
    assert peers.is_loopback(UNIX_SOCKET, [(b"x-real-ip", b"192.0.2.1")])


def test_a_near_client_behind_a_near_proxy():
    peers = Peers(xheaders=True, trusted_proxies=LOOPBACK)
    headers = [(b"x-real-ip", b"127.0.0.1"), (b"x-forwarded-for", b"127.0.0.1")]
    assert peers.is_loopback("127.0.0.1", headers)
