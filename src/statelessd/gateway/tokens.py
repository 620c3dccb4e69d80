"""Bearer tokens: the broker judges them; here only what they say of themselves is read.

RabbitMQ's OAuth 2 back end takes a token as the password, whatever the user
name, and the user's name from the token. Nothing read here is trusted: the name
is for people, and the expiry can only end a connection early.
"""

import base64
import binascii
import re
from typing import Any

import msgspec

from ..message import Credentials, Outcome
from .errors import RequestError

OPAQUE = "(token)"  # the name where the token does not tell one
MAX_NAME = 255  # characters
MAX_TIME = 1e12  # seconds, before 1970 or after; integers beyond all floats are no date

_TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1


def credentials(token: bytes) -> Credentials:
    """What to log in with. Raises RequestError, which quotes nothing of the token."""
    if not _TOKEN.fullmatch(token):
        raise RequestError(Outcome.UNAUTHORIZED, "The bearer token is malformed.")
    claims = _claims(token)
    name = claims.get("sub") or claims.get("client_id")  # in RabbitMQ's own order
    expires_at = claims.get("exp")
    return Credentials.of_token(
        token.decode(),
        name[:MAX_NAME] if isinstance(name, str) else OPAQUE,
        float(expires_at)
        if isinstance(expires_at, int | float) and abs(expires_at) < MAX_TIME
        else None,
    )


def _claims(token: bytes) -> dict[str, Any]:
    """A JSON Web Token's second part (RFC 7519 section 3), unverified; {} for any other token."""
    parts = token.split(b".")
    if len(parts) != 3:
        return {}
    payload = parts[1] + b"=" * (-len(parts[1]) % 4)
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
