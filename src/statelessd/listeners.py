"""Listening sockets for the configured ports, bound before any process serves them."""

import socket

from .config import HTTPServer

BACKLOG = 2048


class ListenError(Exception):
    """A port cannot be listened on; the text says which and why."""


def bind(settings: HTTPServer) -> dict[int, list[socket.socket]]:
    """The sockets of each port. Raises ListenError, with nothing left open.

    An empty address means all interfaces, by IPv4 and, where there is one, IPv6.
    """
    bound: dict[int, list[socket.socket]] = {}
    try:
        for port in settings.ports:
            sockets = bound.setdefault(port, [])
            for family, address in _addresses(settings.address, port):
                sockets.append(_listen(family, address))
    except OSError as error:
        for opened in bound.values():
            for listener in opened:
                listener.close()
        where = settings.address or "all interfaces"
        raise ListenError(f"cannot listen on port {port} of {where}: {error.strerror}") from error
    return bound


def _addresses(address: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    if not address:
        everywhere: list[tuple[int, tuple[str, int]]] = [(socket.AF_INET, ("0.0.0.0", port))]
        if socket.has_ipv6 and _ipv6_works():
            everywhere.append((socket.AF_INET6, ("::", port)))
        return everywhere
    found = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    unique = {(family, (str(where[0]), int(where[1]))) for family, _, _, _, where in found}
    return sorted(unique)


def _ipv6_works() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _listen(family: int, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
