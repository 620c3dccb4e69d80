"""Variables that Kubernetes sets for each Service ("service links"), which are not settings.

A Service ``statelessd`` or ``statelessd-http`` of the namespace gives each container
``STATELESSD_SERVICE_HOST``, ``STATELESSD_HTTP_PORT_8000_TCP_ADDR`` and so on
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
"""

import ipaddress
import re

_SERVICE = r"STATELESSD(?:_[A-Z0-9_]*[A-Z0-9])?"
_HOST = re.compile(rf"{_SERVICE}_SERVICE_HOST")
_PORT = re.compile(rf"{_SERVICE}_SERVICE_PORT(?:_[A-Z0-9_]*[A-Z0-9])?")
_URL = re.compile(rf"{_SERVICE}_PORT")
_OF_PORT = re.compile(
    rf"{_SERVICE}_PORT_([0-9]{{1,5}})_(TCP|UDP|SCTP)(?:_(PROTO|PORT|ADDR))?", re.ASCII
)
_URL_VALUE = re.compile(r"(tcp|udp|sctp)://(?:\[([^\]]+)\]|([^:/]+)):([0-9]{1,5})", re.ASCII)


def is_service_link(name: str, value: str) -> bool:
    """Return whether both the name and the value have the form that Kubernetes gives them."""
    if _HOST.fullmatch(name):
        return _is_address(value)
    if _URL.fullmatch(name) and _url(value) is not None:
        return True
    if found := _OF_PORT.fullmatch(name):
        port, protocol, part = found[1], found[2].lower(), found[3]
        if not _is_port(port):
            return False
        if part == "ADDR":
            return _is_address(value)
        wanted = {"PROTO": protocol, "PORT": port}
        return value == wanted[part] if part else _url(value) == (protocol, port)
    return bool(_PORT.fullmatch(name)) and _is_port(value)


def _url(value: str) -> tuple[str, str] | None:
    """Return protocol and port of a value such as ``tcp://10.0.0.1:8000``; None if malformed."""
    found = _URL_VALUE.fullmatch(value)
    if found and _is_address(found[2] or found[3]) and _is_port(found[4]):
        return found[1], found[4]
    return None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
