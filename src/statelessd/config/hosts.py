"""The broker's nodes: ``name``, ``name:port``, ``192.0.2.1:port`` or ``[::1]:port``."""

import ipaddress
import re
import socket
from typing import NamedTuple

from .settings import RabbitMQ

_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/@\[\],]+))(?::([0-9]{1,5}))?", re.ASCII)
_NAME = re.compile(r"[\w.-]+")  # "_" is in the names of containers
_NAME_BYTES = 253  # RFC 1035 section 2.3.4, as text


class Host(NamedTuple):
    """A name or an address, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def parse(text: str, port: int) -> Host:
    """Parse one node; ``port`` is the default. Raise ValueError, which says what is wrong."""
    if is_url(text):
        raise ValueError("is a URL")  # which is not quoted, because it may have a password
    found = _NODE.fullmatch(text)
    if found is None:
        if text.count(":") > 1 and "[" not in text:
            raise ValueError(f"{text!r}: write an IPv6 address in brackets, as [::1]:5672")
        raise ValueError(f"{text!r} is not name, name:port, address:port or [IPv6 address]:port")
    given = int(found[3]) if found[3] else port
    if not 1 <= given <= 65535:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    name = found[1] or found[2]
    if not is_host(name):
        raise ValueError(f"{text!r} is neither a host name nor an address")
    return Host(name, given)


def hosts_of(settings: RabbitMQ) -> list[Host]:
    """Return the nodes of ``hosts``, or else that of ``host``. Raise ValueError if malformed."""
    if settings.hosts:
        return [parse(text, settings.port) for text in settings.hosts]
    return [Host(settings.host, settings.port)]


def wrong_with_host(text: str, url: str, port: str) -> str:
    """Return what is wrong with a host name or address, "" if nothing.

    ``url`` and ``port`` are hints for a text that is a URL or has a port. A URL is not quoted,
    because it may have a password.
    """
    if is_url(text):
        return f"is a URL, not a name or an address; {url}"
    if is_host(text):
        return ""
    if text.startswith("[") and text.endswith("]") and is_host(text[1:-1]):
        return f"{text!r}: write the address without brackets"
    if re.fullmatch(r".*:[0-9]*", text) and (text.count(":") == 1 or "]" in text):
        return f"{text!r} has a port; {port}"
    return f"{text!r} is neither a host name nor an address"


def is_url(text: str) -> bool:
    """Return whether the text is a URL, or the part of one with user and password."""
    return "//" in text or "@" in text


def is_host(text: str) -> bool:
    """Return whether the text is an address or may be a host name. Do not look it up."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return bool(_NAME.fullmatch(text)) and _is_name(text)
    return True


def _is_name(text: str) -> bool:
    if text.rstrip(".").rpartition(".")[2].isdecimal():
        try:  # whose last label is a number is an address, such as 127.1 (getaddrinfo(3))
            socket.inet_aton(text)
        except OSError:
            return False
        return True
    try:
        return len(text.encode("idna")) <= _NAME_BYTES
    except UnicodeError:
        return False
