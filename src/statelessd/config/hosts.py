"""The broker's nodes: ``name``, ``name:port``, ``192.0.2.1:port`` or ``[::1]:port``."""

import re
from typing import NamedTuple

from .settings import RabbitMQ

# getaddrinfo(3) decides what a host is. The characters that are excluded would be mistakes.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/@\[\],]+))(?::([0-9]{1,5}))?", re.ASCII)


class Host(NamedTuple):
    """A name or an address, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def parse(text: str, port: int) -> Host:
    """Parse one node; ``port`` is the default. Raise ValueError, which says what is wrong."""
    found = _HOST.fullmatch(text)
    if found is None:
        if "//" in text:
            raise ValueError(f"{text!r} is a URL; what is wanted is name or name:port")
        if text.count(":") > 1 and "[" not in text:
            raise ValueError(f"{text!r}: an IPv6 address is written in brackets, as [::1]:5672")
        raise ValueError(f"{text!r} is not name, name:port, address:port or [IPv6 address]:port")
    given = int(found[3]) if found[3] else port
    if not 1 <= given <= 65535:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    return Host(found[1] or found[2], given)


def hosts_of(settings: RabbitMQ) -> list[Host]:
    """Return the nodes of ``hosts``, or else that of ``host``. Raise ValueError if malformed."""
    if settings.hosts:
        return [parse(text, settings.port) for text in settings.hosts]
    return [Host(settings.host, settings.port)]
