"""Listening sockets, TCP and Unix, which are bound before any process serves them."""

import ctypes
import grp
import ipaddress
import logging
import os
import socket
import stat
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from ..config.settings import HTTPServer, Listener

logger = logging.getLogger(__name__)

BACKLOG = 2048
FIRST_ACTIVATED = 3  # SD_LISTEN_FDS_START

# socket(7), <asm-generic/socket.h>; not in Python's socket module.
SO_ATTACH_FILTER = 26
# A classic BPF program (<linux/filter.h>) over the TCP header: drop packets with SYN set.
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


class UnixListener(socket.socket):
    """A Unix socket and its file; with ``descriptor`` one that another program has bound."""

    def __init__(self, descriptor: int | None = None) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM, fileno=descriptor)
        self._file = _identity(self.getsockname())

    def listen_at(self, path: str, mode: int, group: int) -> None:
        """Bind and listen, or raise OSError. ``mode`` and ``group`` hold before it listens."""
        self.bind(path)
        self._file = _identity(path)
        self.open_to(mode, group)
        self.listen(BACKLOG)

    def open_to(self, mode: int, group: int) -> None:
        """Set who may connect, unless another process has replaced the file."""
        path = self._own_path()
        if not path:
            return
        # Held open, it stays the same file, even if somebody puts a symbolic link into its place.
        held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if _identity_of(os.fstat(held)) == self._file:
                os.chown(f"/proc/self/fd/{held}", -1, group)
                os.chmod(f"/proc/self/fd/{held}", mode)  # noqa: PTH101 - as the others
        except OSError as error:
            raise ListenError(
                f"cannot listen on unix:{path}: HTTPServer.unix_group: {error.strerror} "
                "(the process's user must be in that group)"
            ) from error
        finally:
            os.close(held)

    def remove(self) -> None:
        """Remove the file, unless another process has replaced it."""
        if path := self._own_path():
            os.unlink(path)  # noqa: PTH108 - as the others

    def _own_path(self) -> str:
        """Return the path of the file, or "" if it is not there or another's."""
        path: str = self.getsockname()
        return path if self._file is not None and self._file == _identity(path) else ""


def name_of(listener: Listener) -> str:
    """Return its name for people: ``port 8000`` or ``unix:/run/statelessd.sock``."""
    return f"port {listener}" if isinstance(listener, int) else listener


def bind(
    settings: HTTPServer, there: Mapping[Listener, list[socket.socket]] = {}
) -> dict[Listener, list[socket.socket]]:
    """Return the sockets of each listener.

    An empty address means all interfaces, with IPv4 and, if the host has it, IPv6.
    ``there`` holds sockets that are bound already. Raise ListenError if one cannot be
    bound; nothing stays open then.
    """
    bound: dict[Listener, list[socket.socket]] = {}
    try:
        for listener in settings.listeners:
            sockets = bound.setdefault(listener, [])
            if isinstance(listener, str):
                _bind_unix(listener.removeprefix("unix:"), settings, there.get(listener), sockets)
            elif listener in there:
                sockets += there[listener]
            else:
                for family, address in _addresses(settings.address_of(listener), listener):
                    sockets.append(socket.create_server(address, family=family, backlog=BACKLOG))
    except OSError as error:
        close(bound)
        where = name_of(listener)
        if isinstance(listener, int):
            where += f" of {settings.address_of(listener) or 'all interfaces'}"
        reason = str(error.strerror).partition(" (while")[0]  # create_server names the address
        raise ListenError(f"cannot listen on {where}: {reason}") from error
    except ListenError:
        close(bound)
        raise
    return bound


def activated() -> dict[Listener, list[socket.socket]]:
    """Take the sockets that a service manager listens on for us (sd_listen_fds(3))."""
    for_us = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = int(os.environ.pop("LISTEN_FDS", "0")) if for_us else 0
    os.environ.pop("LISTEN_FDNAMES", None)
    found: dict[Listener, list[socket.socket]] = {}
    for descriptor in range(FIRST_ACTIVATED, FIRST_ACTIVATED + count):
        os.set_inheritable(descriptor, False)
        each = socket.socket(fileno=descriptor)
        name = each.getsockname()
        # The file of a Unix socket belongs to the service manager, so it stays.
        listener = f"unix:{name}" if each.family == socket.AF_UNIX else int(name[1])
        found.setdefault(listener, []).append(each)
    return found


def close(bound: Mapping[Listener, Sequence[socket.socket]]) -> None:
    """Close the sockets that ``bind`` opened, and remove the files of Unix sockets.

    The files are removed first. A client that connects in between gets an error and can
    retry elsewhere. Clients in the queue are still accepted by a backend, which closes its
    own copy of the socket later.
    """
    for sockets in bound.values():
        for each in sockets:
            if isinstance(each, UnixListener):
                each.remove()
            each.close()


def addresses(bound: Mapping[Listener, Sequence[socket.socket]]) -> dict[Listener, list[str]]:
    """Return the addresses that each port listens on."""
    return {
        listener: [str(each.getsockname()[0]) for each in sockets]
        for listener, sockets in bound.items()
        if isinstance(listener, int)
    }


def is_on_loopback(listener: socket.socket) -> bool:
    """Return whether only programs of this machine reach the listener, over the network."""
    if listener.family == socket.AF_UNIX:
        return False
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def hold_off(listeners: list[socket.socket]) -> None:
    """Ignore new connections without refusing them. Those in the queue can be accepted.

    Closing a listening socket resets the connections in its queue, and one may always
    arrive between the last accept and the close. A client whose SYN is dropped sends it
    again after a second, perhaps to our successor. Nobody can connect to a Unix socket by
    now, because the parent has removed its file.
    """
    program = ctypes.create_string_buffer(_WITHOUT_SYN)
    option = struct.pack("HL", len(_WITHOUT_SYN) // 8, ctypes.addressof(program))
    for listener in listeners:
        if listener.family == socket.AF_UNIX:
            continue
        try:
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
        except OSError as error:  # the kernel does not have it
            logger.debug("new connections cannot be held off: %s", error)


def _addresses(address: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Return what to bind. A link-local address of IPv6 has its interface as a fourth item."""
    if not address:
        everywhere: list[tuple[int, tuple[Any, ...]]] = [(socket.AF_INET, ("0.0.0.0", port))]
        if socket.has_ipv6 and _ipv6_works():
            everywhere.append((socket.AF_INET6, ("::", port)))
        return everywhere
    found = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    return sorted({(int(family), where) for family, _, _, _, where in found})


def _ipv6_works() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _bind_unix(
    path: str,
    settings: HTTPServer,
    there: list[socket.socket] | None,
    sockets: list[socket.socket],
) -> None:
    """Listen at a path, or apply the settings to the sockets that do so already."""
    mode, group = int(settings.unix_mode, 8), _group_id(settings.unix_group, path)
    if there is None:
        _remove_stale(path)
        listener = UnixListener()
        sockets.append(listener)  # before anything can fail, so that nothing is left
        listener.listen_at(path, mode, group)
        return
    for each in there:
        if isinstance(each, UnixListener):
            each.open_to(mode, group)
    sockets += there


def _group_id(name: str | None, path: str) -> int:
    """Return the group's id; -1, which changes nothing, without a name. Raise ListenError."""
    if name is None:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ListenError(f"cannot listen on unix:{path}: there is no group {name!r}") from None


def _remove_stale(path: str) -> None:
    """Remove the socket of a process that ended without doing so."""
    try:
        # Held open, its inode is not used again for a socket that another start puts there.
        held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        found = os.fstat(held)
        if not stat.S_ISSOCK(found.st_mode):
            raise ListenError(f"cannot listen on unix:{path}: the file is not a socket")
        if _somebody_listens(f"/proc/self/fd/{held}"):
            raise ListenError(f"cannot listen on unix:{path}: another process listens there")
        if _identity(path) == _identity_of(found):
            logger.info("%s is a stale socket: replacing it", path)
            os.unlink(path)  # noqa: PTH108 - as the others
    finally:
        os.close(held)


def _somebody_listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            pass  # its queue is full, so a process listens
    return True


def _identity(path: str) -> tuple[int, int] | None:
    try:
        return _identity_of(os.lstat(path))
    except OSError:
        return None


def _identity_of(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
