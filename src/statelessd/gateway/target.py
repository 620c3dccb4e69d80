"""Where a message goes: the virtual host, exchange and routing key of a request's path."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from ..amqp import encode
from ..amqp.errors import EncodeError
from ..message import Credentials, Mistake, Public, bad_request

DEFAULT_EXCHANGE = "amq.default"  # RabbitMQ's name for the exchange without one

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Target:
    """Where a message goes."""

    virtual_host: str
    exchange: str
    routing_key: str

    def about(self, credentials: Credentials) -> dict[str, Any]:
        """Return what logs and recent errors name of a publish."""
        return {
            "virtual_host": self.virtual_host,
            "exchange": self.exchange,
            "user": credentials.name,
        }


def decode_target(virtual_host: bytes, exchange: bytes, routing_key: bytes = b"") -> Target:
    """Return path segments, still percent-encoded (RFC 3986), as names, or raise RequestError."""
    target = Target(
        _segment("virtual host", virtual_host),
        _segment("exchange", exchange),
        _segment("routing key", routing_key),
    )
    if not target.virtual_host:
        raise bad_request(
            Public("The path has no virtual host. RabbitMQ's default virtual host is %2f.")
        )
    if target.exchange == DEFAULT_EXCHANGE:
        return Target(target.virtual_host, "", target.routing_key)
    return target


def _segment(what: str, raw: bytes) -> str:
    if _BROKEN_ESCAPE.search(raw):
        raise bad_request(Public(f"The {what} in the path has a % without two hexadecimal digits."))
    try:
        name = unquote_to_bytes(raw).decode()
        encode.short_string(name)
    except UnicodeDecodeError:
        raise bad_request(Public(f"The {what} in the path is not UTF-8.")) from None
    except EncodeError as error:
        raise bad_request(f"The {what} in the path {error}.", Mistake.PATH) from None
    return name
