"""Where clients are: the peer's word, a trusted proxy's, and nobody else's."""

import pytest

from statelessd.gateway.client_address import ClientAddress, networks_of

LOOPBACK = ("127.0.0.0/8", "::1/128")
OFFICE = networks_of(["10.0.0.0/8", "2001:db8::/32"])
UNIX = None  # there is no address at the other end of a Unix socket
NAMES = (b"x-real-ip", b"x-forwarded-for")


def clients(proxies=LOOPBACK, *, xheaders=True, unix=False):
    return ClientAddress(xheaders=xheaders, trusted_proxies=proxies, over_unix_socket=unix)


def is_loopback(peer, headers=(), **settings):
    client = peer if peer is UNIX else (peer, 4711)
    return clients(**settings, unix=peer is UNIX).is_loopback(client, headers)


def is_within(peer, headers=(), networks=OFFICE, **settings):
    client = peer if peer is UNIX else (peer, 4711)
    return clients(**settings, unix=peer is UNIX).is_within(networks, client, headers)


@pytest.mark.parametrize(
    ("peer", "near", "in_office"),
    [
        ("127.0.0.1", True, False),
        ("127.8.8.8", True, False),
        ("::1", True, False),
        ("::ffff:127.0.0.1", True, False),
        ("10.1.2.3", False, True),
        ("::ffff:10.1.2.3", False, True),
        ("2001:db8::7", False, True),
        ("192.0.2.1", False, False),
        ("::ffff:11.0.0.1", False, False),
        ("2001:db9::7", False, False),
        ("", False, False),
        ("nonsense", False, False),
        (UNIX, True, False),
    ],
)
def test_a_peer_is_where_its_address_says(peer, near, in_office):
    assert is_loopback(peer, xheaders=False) is near
    assert is_within(peer, xheaders=False) is in_office


def test_a_peer_that_has_left_is_nowhere():
    assert not clients().is_loopback(None, [])
    assert not clients().is_within(OFFICE, None, [])


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-forwarded-for", b"203.0.113.9:4711")],
        [(b"x-forwarded-for", b"[2001:db8::1]")],
        [(b"x-forwarded-for", b'"203.0.113.9"')],
        [(b"x-forwarded-for", b"unknown")],
        [(b"x-real-ip", b"203.0.113.9:55")],
        [(b"x-real-ip", b"203.0.113.9")],
        [(b"x-real-ip", b"unix:")],
        [(b"x-forwarded-for", b"unix:")],
        [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-for", b"127.0.0.1")],
        [(b"x-real-ip", b"127.0.0.1"), (b"x-forwarded-for", b"203.0.113.9")],
    ],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", UNIX])
def test_a_client_is_not_taken_to_be_near_for_want_of_knowledge(peer, headers):
    assert not is_loopback(peer, headers)
    assert is_loopback(peer, headers, xheaders=False)


@pytest.mark.parametrize("peer", ["127.0.0.1", UNIX])
def test_a_near_client_behind_a_near_proxy(peer):
    assert is_loopback(peer, [(name, b"127.0.0.1") for name in NAMES])
    for name in NAMES:
        assert is_loopback(peer, [(name, b"127.0.0.1")])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-real-ip", b" 10.1.2.3 ")], True),
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
    for peer in ("127.0.0.1", "::ffff:127.0.0.1", UNIX):
        assert is_within(peer, headers) is expected
    for peer in ("192.0.2.9", "", "nonsense"):  # whose word does not count
        assert not is_within(peer, headers)


def test_without_xheaders_no_header_takes_a_client_out_of_its_network_or_into_one():
    for name in NAMES:
        assert is_within("10.1.2.3", [(name, b"192.0.2.1")], xheaders=False)
        assert not is_within("127.0.0.1", [(name, b"10.1.2.3")], xheaders=False)


@pytest.mark.parametrize("network", ["127.0.0.0/8", "127.0.0.1", "::1", "0.0.0.0/0", "::/0"])
def test_a_unix_socket_is_within_loopback(network):
    networks = networks_of([network])
    for xheaders in (False, True):
        assert is_within(UNIX, [], networks, xheaders=xheaders)
    for header in (b"unix:", b"192.0.2.1" if ":" in network else b"2001:db8::1"):
        assert not is_within(UNIX, [(b"x-real-ip", header)], networks)


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("2001:db8::1:2", [], "2001:db8::/64"),  # one client can have all of a /64
        ("2001:db8::3:4", [], "2001:db8::/64"),
        (UNIX, [], "unix:"),
        ("192.0.2.1", [(b"x-forwarded-for", b"203.0.113.9")], "192.0.2.1"),  # not trusted
        ("127.0.0.1", [(b"x-forwarded-for", b"1.1.1.1, 203.0.113.9")], "203.0.113.9"),
        (UNIX, [(b"x-real-ip", b"203.0.113.9")], "203.0.113.9"),
        ("127.0.0.1", [(name, b"203.0.113.9") for name in NAMES], "203.0.113.9"),
        # What a client may have made up, with another address each time.
        ("127.0.0.1", [(NAMES[0], b"1.1.1.1"), (NAMES[1], b"203.0.113.9")], "127.0.0.1"),
        ("127.0.0.1", [(b"x-forwarded-for", b"nonsense")], "127.0.0.1"),
    ],
)
def test_a_client_is_told_from_others_by_what_it_cannot_make_up(peer, headers, expected):
    client = None if peer is UNIX else (peer, 4711)
    assert clients(unix=peer is UNIX).origin(client, headers) == expected
