"""The address of the client: the peer's, or the one that a trusted proxy names."""

import functools
import ipaddress
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]
"""All of a request's, names in lower case; one name may come several times."""

Client = tuple[str, int] | None
"""The peer's address and port; None over a Unix socket, or if the peer has left."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# This stands for the address of a client that opened the socket's file. It is on this
# machine, and trusted. No header can claim this, because only IP addresses count there.
UNIX_SOCKET = "unix:"
LOOPBACK = ("127.0.0.1", "::1")


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks that settings name; a single address is a network as well."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


class ClientAddress:
    """Where clients are, as far as headers can be believed.

    ``xheaders``: believe ``X-Real-IP`` and ``X-Forwarded-For`` from ``trusted_proxies``, and
    from Unix sockets. ``over_unix_socket``: all clients of this backend come over one.
    """

    def __init__(
        self, *, xheaders: bool, trusted_proxies: Sequence[str], over_unix_socket: bool
    ) -> None:
        self._xheaders = xheaders
        self._trusted = networks_of(trusted_proxies)
        self._over_unix_socket = over_unix_socket

    def is_loopback(self, client: Client, headers: Headers) -> bool:
        """Return whether the client is on this machine, and nothing says otherwise.

        Both headers are asked, because a proxy that writes one of them may pass on what
        its client wrote into the other.
        """
        peer = self._peer(client)
        if not self._believes(peer):
            return _is_loopback(peer)
        found = (self._named(peer, headers), self._forwarded(peer, headers))
        return all(_is_loopback(text) for text in found)

    def is_within(self, networks: Sequence[Network], client: Client, headers: Headers) -> bool:
        """Return whether the client is in one of these networks, and nothing says otherwise.

        Both headers are asked, as in ``is_loopback``. If there is one alone, its word is
        enough, because the proxy need not be in these networks itself.
        """
        peer = self._peer(client)
        found = [self._named(peer, headers)]
        if self._believes(peer) and _values(headers, b"x-forwarded-for"):
            found.append(self._forwarded(peer, headers))
        return all(
            any(_is_in(networks, each) for each in (LOOPBACK if text == UNIX_SOCKET else (text,)))
            for text in found
        )

    def _peer(self, client: Client) -> str:
        if self._over_unix_socket:
            return UNIX_SOCKET
        return client[0] if client is not None else ""

    def _believes(self, peer: str) -> bool:
        return self._xheaders and self._is_trusted(peer)

    def _is_trusted(self, text: str) -> bool:
        return text == UNIX_SOCKET or _is_in(self._trusted, text)

    def _named(self, peer: str, headers: Headers) -> str:
        """Return the client's address, or "" if a proxy names one that cannot be read.

        ``X-Real-IP`` comes first, as in Tornado. Of ``X-Forwarded-For`` the last address
        counts that is not a trusted proxy, because anyone can write the ones before.
        """
        if not self._believes(peer):
            return peer
        real = _values(headers, b"x-real-ip")
        if real:
            return real[-1] if _address(real[-1]) else ""
        return self._forwarded(peer, headers)

    def _forwarded(self, peer: str, headers: Headers) -> str:
        for candidate in reversed(_values(headers, b"x-forwarded-for")):
            if _address(candidate) is None:
                return ""
            if not self._is_trusted(candidate):
                return candidate
            peer = candidate
        return peer


def _is_loopback(text: str) -> bool:
    address = _address(text)
    return text == UNIX_SOCKET or (address is not None and address.is_loopback)


def _is_in(networks: Sequence[Network], text: str) -> bool:
    address = _address(text)
    return address is not None and any(
        address in network for network in networks if network.version == address.version
    )


@functools.lru_cache(maxsize=1024)  # a client without keep-alive is asked about each time
def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 peers as ::ffff:192.0.2.1.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _values(headers: Headers, name: bytes) -> list[str]:
    """Return the entries of all headers of that name, in order."""
    texts = [value.decode("latin-1") for each, value in headers if each == name]
    return [entry.strip() for text in texts for entry in text.split(",")]
