"""Who is at the other end: the peer, or the client that a trusted proxy names."""

import functools
import ipaddress
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]
"""All of a request's, names in lower case; one name may come several times."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


UNIX_SOCKET = "unix:"
"""In place of a peer's address: it is on this machine, and whoever may open the file is trusted.

No header can say so: what they say counts only where it is an IP address.
"""


LOOPBACK = ("127.0.0.1", "::1")


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """As settings have them; a single address is a network as well."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


class Peers:
    """``xheaders``: believe ``X-Real-IP`` and ``X-Forwarded-For`` from ``trusted_proxies``.

    And from Unix sockets, where a ``peer`` is UNIX_SOCKET.
    """

    def __init__(self, *, xheaders: bool, trusted_proxies: tuple[str, ...]) -> None:
        self._xheaders = xheaders
        self._trusted = networks_of(trusted_proxies)

    def client(self, peer: str, headers: Headers) -> str:
        """The client's address; "" where a proxy speaks of one that cannot be read.

        The peer's own, unless that is a proxy that may speak for it.
        ``X-Real-IP`` comes first, as in Tornado; of ``X-Forwarded-For`` the last
        address that is no trusted proxy counts, for anyone can write the ones before.
        """
        if not self._xheaders or not self._is_trusted(peer):
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

    def is_loopback(self, peer: str, headers: Headers) -> bool:
        """Whether the client is on this machine: only if nothing says otherwise.

        Both headers are asked, for a proxy that writes one of them may pass on
        what its client wrote into the other.
        """
        found = [self.client(peer, headers)]
        if self._xheaders and self._is_trusted(peer):
            found.append(self._forwarded(peer, headers))
        addresses = [_address(text) for text in found if text != UNIX_SOCKET]
        return all(address is not None and address.is_loopback for address in addresses)

    def is_within(self, networks: Sequence[Network], peer: str, headers: Headers) -> bool:
        """Whether the client is in one of these networks: only if nothing says otherwise.

        Both headers are asked, as in ``is_loopback``; but where there is one alone, its
        word does, for the proxy need not be in these networks itself.
        """
        found = [self.client(peer, headers)]
        forwarded = _values(headers, b"x-forwarded-for")
        if forwarded and self._xheaders and self._is_trusted(peer):
            found.append(self._forwarded(peer, headers))
        return all(
            any(_is_in(networks, each) for each in (LOOPBACK if text == UNIX_SOCKET else (text,)))
            for text in found
        )

    def _is_trusted(self, text: str) -> bool:
        return text == UNIX_SOCKET or _is_in(self._trusted, text)


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
    """The entries of all headers of that name, in order."""
    texts = [value.decode("latin-1") for each, value in headers if each == name]
    return [entry.strip() for text in texts for entry in text.split(",")]
