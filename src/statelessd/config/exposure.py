"""Finds listeners that other machines reach without TLS, with pages that everybody may read."""

import ipaddress
import socket
from collections.abc import Iterable, Mapping

from .http_server import HTTPServer, Listener

ADVICE = (
    "Passwords travel in clear text, and everybody can read the dashboard, /stats and /metrics. "
    "If only this machine or a proxy on it connects, set {address}: 127.0.0.1, and ListenStream "
    "if systemd has a socket unit. Otherwise set HTTPServer.tls. If a proxy elsewhere ends TLS, "
    "set HTTPServer.pages.networks and HTTPServer.xheaders."
)


def exposure(
    settings: HTTPServer, addresses: Mapping[Listener, Iterable[str]] | None = None
) -> str | None:
    """Return a warning if other machines reach open pages without TLS, or else None.

    ``addresses`` are those that each port listens on. Without them the settings count.
    """
    pages = settings.pages
    if settings.tls.certificate is not None or not _lets_everybody_in(pages.networks):
        return None
    listeners = settings.ports if pages.listener is None else (pages.listener,)
    ports: dict[str, list[int]] = {}  # by address
    for port in listeners:
        if isinstance(port, int):
            given = (
                _resolved(settings.address_of(port))
                if addresses is None
                else addresses.get(port, ())
            )
            for name in dict.fromkeys(map(_name, given)):
                if name:
                    ports.setdefault(name, []).append(port)
    if not ports:
        return None
    where = "; ".join(f"{name}, port {', '.join(map(str, on))}" for name, on in ports.items())
    own = pages.listener is not None and pages.address is not None
    address = "HTTPServer.pages.address" if own else "HTTPServer.address"
    advice = ADVICE.format(address=address)
    return f"{address}: other machines can connect without TLS ({where}). {advice}"


def _lets_everybody_in(networks: Iterable[str]) -> bool:
    """Return whether the list is empty, which means everybody, or has all addresses."""
    parsed = [ipaddress.ip_network(each, strict=False) for each in networks]
    ipv4 = [each for each in parsed if isinstance(each, ipaddress.IPv4Network)]
    ipv6 = [each for each in parsed if isinstance(each, ipaddress.IPv6Network)]
    joined: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
        *ipaddress.collapse_addresses(ipv4),
        *ipaddress.collapse_addresses(ipv6),
    ]
    return not parsed or any(each.prefixlen == 0 for each in joined)


def _name(address: str) -> str:
    """Return the address for people, or "" if only this machine reaches it."""
    parsed = ipaddress.ip_address(address)
    # A socket of IPv6 takes IPv4 as well, and shows 127.0.0.1 as ::ffff:127.0.0.1.
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.is_loopback:
        return ""
    return "all interfaces" if parsed.is_unspecified else str(parsed)


def _resolved(address: str) -> list[str]:
    """Return the addresses of a name or an address; none if nobody knows the name."""
    if not address:
        return ["::"]
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return []
    return [str(each[4][0]) for each in found]
