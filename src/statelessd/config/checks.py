"""Checks of HTTPServer that need more than the type and bounds of one setting."""

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence

from .http_server import Cors, HTTPServer, Listener

ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", re.IGNORECASE | re.ASCII
)
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
UNIX_PATH_BYTES = 107  # sun_path of unix(7), without the NUL at its end

Wrong = tuple[str, str, str]
"""A setting's key path, which of its elements (or ""), and what is wrong with it."""


def wrong_with(server: HTTPServer) -> Iterator[Wrong]:
    """Yield all that is wrong with these settings, each of which has the right type."""
    yield from _listeners(server)
    yield from _networks("HTTPServer.trusted_proxies", server.trusted_proxies)
    yield from _networks("HTTPServer.pages.networks", server.pages.networks)
    yield from _origins(server.cors)


def _listeners(server: HTTPServer) -> Iterator[Wrong]:
    ports, pages = server.ports, server.pages
    for listener in dict.fromkeys(ports):
        if ports.count(listener) > 1:
            yield "HTTPServer.ports", "", f"has {listener} more than once"
        yield from _path("HTTPServer.ports", listener)
    if pages.listener is not None:
        if pages.listener in ports:
            yield "HTTPServer.pages.listener", "", f"{pages.listener} is one of HTTPServer.ports"
        yield from _path("HTTPServer.pages.listener", pages.listener)
    if pages.address is not None and not isinstance(pages.listener, int):
        # It is set to hide the pages, and without a port it would not do so.
        what = "is of no use without a port as HTTPServer.pages.listener"
        yield "HTTPServer.pages.address", "", what


def _path(setting: str, listener: Listener) -> Iterator[Wrong]:
    path = str(listener).removeprefix("unix:")
    if len(os.fsencode(path)) > UNIX_PATH_BYTES:
        yield setting, "", f"{path} is longer than {UNIX_PATH_BYTES} bytes"


def _networks(setting: str, networks: Sequence[str]) -> Iterator[Wrong]:
    for i, network in enumerate(networks):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            yield setting, f"[{i}]", f"{error}"


def _origins(cors: Cors) -> Iterator[Wrong]:
    for i, origin in enumerate(cors.origins):
        if origin != "*" and (wrong := _wrong_with_origin(origin)):
            yield "HTTPServer.cors.origins", f"[{i}]", f"{origin!r} {wrong}"


def _wrong_with_origin(origin: str) -> str | None:
    """Return what is wrong with an origin, or None.

    Origins are compared as browsers send them, so another spelling would never match.
    """
    found = ORIGIN.fullmatch(origin)
    if found is None:
        return "is no origin: a scheme, a host in ASCII, perhaps a port, and no path"
    if found[2] and found[2] == DEFAULT_PORTS.get(found[1].lower()):
        return f"has {found[1]}'s own port, which browsers leave out"
    return None
