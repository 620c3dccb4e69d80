"""Who is at the other end: the peer, or the client that a trusted proxy names."""

import ipaddress
from collections.abc import Mapping

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Peers:
    """``xheaders``: believe ``X-Real-IP`` and ``X-Forwarded-For`` from ``trusted_proxies``."""

    def __init__(self, *, xheaders: bool, trusted_proxies: tuple[str, ...]) -> None:
        self._xheaders = xheaders
        self._trusted = tuple(ipaddress.ip_network(n, strict=False) for n in trusted_proxies)

    def client(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """The client's address: the peer's own, unless that is a proxy that may speak for it.

        ``X-Real-IP`` comes first, as in Tornado; of ``X-Forwarded-For`` the last
        address that is no trusted proxy counts, for anyone can write the ones before.
        """
        if not self._xheaders or not self._is_trusted(peer):
            return peer
        real = headers.get(b"x-real-ip", b"").decode("latin-1").strip()
        if _address(real) is not None:
            return real
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        for candidate in reversed([entry.strip() for entry in forwarded]):
            if _address(candidate) is None:
                break
            if not self._is_trusted(candidate):
                return candidate
            peer = candidate
        return peer

    def is_loopback(self, peer: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the client is on this machine, as far as can be known."""
        address = _address(self.client(peer, headers))
        return address is not None and address.is_loopback

    def _is_trusted(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(
            address in network for network in self._trusted if network.version == address.version
        )


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 peers as ::ffff:192.0.2.1.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
