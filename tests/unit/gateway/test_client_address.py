import pytest

from statelessd.gateway.client_address import UNIX_SOCKET, Peers, networks_of

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


OFFICE = networks_of(["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "expected"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("2001:db8::7", True), ("11.0.0.1", False),
     ("::ffff:11.0.0.1", False), ("2001:db9::7", False), ("127.0.0.1", False), ("", False),
     ("nonsense", False), (UNIX_SOCKET, False)],
)  # fmt: skip
def test_a_peer_is_within_networks_or_not(peer, expected):
    assert Peers(xheaders=False, trusted_proxies=()).is_within(OFFICE, peer, []) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-real-ip", b"10.1.2.3")], True),
        ([(b"x-real-ip", b"::ffff:10.1.2.3")], True),
        ([(b"x-forwarded-for", b"10.1.2.3")], True),
        ([(b"x-forwarded-for", b"192.0.2.1, 10.1.2.3")], True),
        ([(b"x-forwarded-for", b"10.1.2.3, 127.0.0.1")], True),
        ([(b"x-real-ip", b"10.1.2.3"), (b"x-forwarded-for", b"10.1.2.3")], True),
        ([], False),  # the proxy itself
        ([(b"x-real-ip", b"192.0.2.1")], False),
        ([(b"x-forwarded-for", b"10.1.2.3, 192.0.2.1")], False),
        ([(b"x-forwarded-for", b"10.1.2.3"), (b"x-forwarded-for", b"192.0.2.1")], False),
        # A proxy writes the one, and passes on what its client wrote into the other.
        ([(b"x-real-ip", b"192.0.2.1"), (b"x-forwarded-for", b"10.1.2.3")], False),
        ([(b"x-real-ip", b"10.1.2.3"), (b"x-forwarded-for", b"192.0.2.1")], False),
        ([(b"x-real-ip", b"10.1.2.3"), (b"x-forwarded-for", b"")], False),
        ([(b"x-real-ip", b"")], False),
        ([(b"x-real-ip", b"10.1.2.3:80")], False),
        ([(b"x-forwarded-for", b"unknown")], False),
    ],
)
def test_nobody_gets_into_a_network_by_writing_a_header(headers, expected):
    peers = Peers(xheaders=True, trusted_proxies=LOOPBACK)
    for peer in ("127.0.0.1", UNIX_SOCKET):
        assert peers.is_within(OFFICE, peer, headers) is expected
    for peer in ("192.0.2.9", "", "nonsense"):  # whose word does not count
        assert not peers.is_within(OFFICE, peer, headers)


def test_without_xheaders_no_header_takes_a_client_out_of_its_network_or_into_one():
    peers = Peers(xheaders=False, trusted_proxies=LOOPBACK)
    for name in (b"x-real-ip", b"x-forwarded-for"):
        assert peers.is_within(OFFICE, "10.1.2.3", [(name, b"192.0.2.1")])
        assert not peers.is_within(OFFICE, "127.0.0.1", [(name, b"10.1.2.3")])


@pytest.mark.parametrize("network", ["127.0.0.0/8", "127.0.0.1", "::1", "0.0.0.0/0", "::/0"])
def test_a_unix_socket_is_within_loopback(network):
    for xheaders in (False, True):
        peers = Peers(xheaders=xheaders, trusted_proxies=())
        assert peers.is_within(networks_of([network]), UNIX_SOCKET, [])
    for header in (b"unix:", b"192.0.2.1" if ":" in network else b"2001:db8::1"):
        assert not peers.is_within(networks_of([network]), UNIX_SOCKET, [(b"x-real-ip", header)])
