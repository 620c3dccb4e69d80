"""The names by which pages may reach this gateway, against DNS rebinding.

A site can let its own name lead to the address of a visitor's machine. A page of it is then
of our origin to the browser, and no rule about other origins holds. Only ``Host`` still has
the site's name. An address, ``localhost`` and the name of this machine cannot be such a name.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence

from ..message import Outcome, Public, RequestError

# An address in brackets, or a name or IPv4 address; then a port.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:/?#@\s]+))(?::[0-9]*)?", re.ASCII)


class Hosts:
    """Our names: those of the settings, and those that no other site can have.

    Pages of ``origins``, which the settings let in, may use any name: a page of another site
    has the origin of that site.
    """

    def __init__(self, names: Sequence[str], origins: Sequence[str]) -> None:
        own = socket.gethostname()
        self._names = {_plain(name) for name in (*names, own, own.partition(".")[0], "localhost")}
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise RequestError if a page reached us by a name that may be another site's."""
        is_let_in = headers[b"origin"].lower() in self._origins
        if not is_let_in and not self.has(headers.get(b"host", b"")):
            raise RequestError(
                Outcome.CROSS_SITE,
                Public(
                    "A page used an unknown host name for this gateway. HTTPServer.hosts lists the "
                    "names that pages may use."
                ),
            )

    def has(self, host: bytes) -> bool:
        """Return whether the value of ``Host`` is an address or one of our names."""
        found = _HOST.fullmatch(host.decode("latin-1").lower())
        if found is None:
            return False
        name = _plain(found[1] or found[2])
        if found[1] is None and (name in self._names or name.endswith(".localhost")):
            return True
        try:
            return ipaddress.ip_address(name).version == (4 if found[1] is None else 6)
        except ValueError:
            return False


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
