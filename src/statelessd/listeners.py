"""Listening sockets for the configured ports, bound before any process serves them."""

import ctypes
import logging
import socket
import struct

from .config import HTTPServer

logger = logging.getLogger(__name__)

BACKLOG = 2048

# socket(7), <asm-generic/socket.h>; not in Python's socket module.
SO_ATTACH_FILTER = 26
# A classic BPF program (<linux/filter.h>) over the TCP header: drop what has SYN set.
_WITHOUT_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of flags (RFC 9293 section 3.1)
        (0x45, 0, 1, 0x02),  # SYN set: go on; else skip the next
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # take all of it
    )
)


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


def hold_off(listeners: list[socket.socket]) -> None:
    """Take no new connection, without refusing it; those made already can still be accepted.

    Closing a listening socket resets what is in its queue, and something may
    always come in between the last accept and the close. A client whose SYN is
    dropped sends it again after a second, perhaps to our successor.
    """
    program = ctypes.create_string_buffer(_WITHOUT_SYN)
    option = struct.pack("HL", len(_WITHOUT_SYN) // 8, ctypes.addressof(program))
    for listener in listeners:
        try:
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
        except OSError as error:  # a kernel without it
            logger.debug("new connections cannot be held off: %s", error)


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
