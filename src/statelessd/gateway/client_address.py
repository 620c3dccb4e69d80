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

        That a proxy names one of its own in ``X-Real-IP`` alone is not enough.
        """
        found = self._places(client, headers)
        if not _values(headers, b"x-forwarded-for"):
            found.append(self._peer(client))
        return all(_is_loopback(text) for text in found)

    def is_within(self, networks: Sequence[Network], client: Client, headers: Headers) -> bool:
        """Return whether the client is in one of these networks, and nothing says otherwise.

        The word of one header is enough, because the proxy need not be in these networks.
        """
        return all(
            any(_is_in(networks, each) for each in (LOOPBACK if text == UNIX_SOCKET else (text,)))
            for text in self._places(client, headers)
        )

    def origin(self, client: Client, headers: Headers) -> str:
        """Return where the client is, to be fair between clients; in IPv6 only its network.

        Where headers contradict each other it is the peer, because a client may have written
        one of them, with another address each time.
        """
        found = set(self._places(client, headers))
        text = found.pop() if len(found) == 1 else ""
        address = _address(text)
        if address is None:
            return self._peer(client)
        if isinstance(address, ipaddress.IPv6Address):  # one client can have all of a /64
            return str(ipaddress.ip_network((address, 64), strict=False))
        return str(address)

    def _peer(self, client: Client) -> str:
        if self._over_unix_socket:
            return UNIX_SOCKET
        return client[0] if client is not None else ""

    def _is_trusted(self, text: str) -> bool:
        return text == UNIX_SOCKET or _is_in(self._trusted, text)

    def _places(self, client: Client, headers: Headers) -> list[str]:
        """Return the client's address by each header that counts, or else the peer's.

        It is "" if a header names one that cannot be read. Both headers are asked, because a
        proxy that writes one of them may pass on what its client wrote into the other.
        """
        peer = self._peer(client)
        if not (self._xheaders and self._is_trusted(peer)):
            return [peer]
        last = _values(headers, b"x-real-ip")[-1:]
        found = [text if _address(text) else "" for text in last]
        if forwarded := _values(headers, b"x-forwarded-for"):
            found.append(self._forwarded(forwarded))
        return found or [peer]

    def _forwarded(self, candidates: list[str]) -> str:
        """Return the last that is not a trusted proxy; anyone can write the ones before."""
        for candidate in reversed(candidates):
            if _address(candidate) is None:
                return ""
            if not self._is_trusted(candidate):
                return candidate
        return candidates[0]


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
