"""Checks of settings against this machine: its users, groups, directories and addresses.

They are for ``--check-config``. A start finds the same, but one after the other.
"""

import contextlib
import grp
import ipaddress
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from .settings import Config
from .wording import Wrong


def wrong_here(config: Config, *, daemon: bool) -> Iterator[Wrong]:
    """Yield what would make a start on this machine fail."""
    server = config.http_server
    yield from _listeners(config)
    if server.unix_group is not None:
        try:
            grp.getgrnam(server.unix_group)
        except KeyError:
            yield "HTTPServer.unix_group", "", f"there is no group {server.unix_group!r}"
    for setting, address in _addresses(config):
        try:
            socket.getaddrinfo(address, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError:
            yield (
                setting,
                "",
                f"{address!r} is not an address or a name that this machine can resolve",
            )
    if daemon:
        yield from _daemon(config)


def doubtful_here(config: Config, *, daemon: bool) -> Iterator[Wrong]:
    """Yield what may not be as intended on this machine. A start does not fail over it."""
    if not daemon:
        for setting, element, what in _daemon(config):
            yield setting, element, f"{what} (it applies to --daemon only)"
    if config.daemon.pidfile is not None:
        directory = Path(config.daemon.pidfile).parent
        if not os.path.lexists(directory):
            what = f"the directory {directory} does not exist; a daemon creates it"
            yield "Daemon.pidfile", "", what
    paths = config.application.paths
    for name in ("base", "static", "templates"):
        directory = getattr(paths, name)
        if directory is not None and not Path(directory).is_dir():
            what = f"{directory} is not a directory; the packaged pages are used"
            yield f"Application.paths.{name}", "", what
    for setting, address in _addresses(config):
        if not _is_ours(address):
            yield setting, "", f"{address} is not an address of this machine"


def _daemon(config: Config) -> Iterator[Wrong]:
    user, pidfile = config.daemon.user, config.daemon.pidfile
    if user is not None:
        try:
            pwd.getpwnam(user)
        except KeyError:
            yield "Daemon.user", "", f"there is no user {user!r}"
    if pidfile is not None:
        path = Path(pidfile)
        existing = next(each for each in path.parents if os.path.lexists(each))
        if not existing.is_dir():
            yield "Daemon.pidfile", "", f"{existing} is not a directory"
            return
        with contextlib.suppress(OSError):  # it is not there, or cannot be looked at
            if not stat.S_ISREG(path.lstat().st_mode):
                yield "Daemon.pidfile", "", f"{path} is not a regular file"


def _listeners(config: Config) -> Iterator[Wrong]:
    """Yield Unix sockets that cannot be made where the settings want them."""
    server = config.http_server
    for i, listener in enumerate(server.ports):
        if isinstance(listener, str):
            for what in _wrong_with_place(listener):
                yield "HTTPServer.ports", f"[{i}]", what
    if isinstance(server.pages.listener, str):
        for what in _wrong_with_place(server.pages.listener):
            yield "HTTPServer.pages.listener", "", what


def _wrong_with_place(listener: str) -> Iterator[str]:
    path = Path(listener.removeprefix("unix:"))
    if not path.parent.is_dir():
        yield f"{listener}: the directory {path.parent} does not exist"
        return
    with contextlib.suppress(OSError):  # it is not there, or cannot be looked at
        if not stat.S_ISSOCK(path.lstat().st_mode):
            yield f"{listener}: the file exists and is not a socket"


def _addresses(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the addresses to listen on, with their settings, but not "all interfaces"."""
    server = config.http_server
    own = server.pages.listener
    if server.address and any(isinstance(port, int) for port in (*server.ports, own)):
        yield "HTTPServer.address", server.address
    if server.pages.address and isinstance(own, int):
        yield "HTTPServer.pages.address", server.pages.address


def _is_ours(address: str) -> bool:
    """Return whether this machine has the address. A name is left to its look-up."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return True
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
