"""Bearer tokens. The broker verifies them; only their claims are read here.

RabbitMQ's OAuth 2 back end takes a token as the password. It ignores the user name and
takes the user's name from the token. Nothing that is read here is trusted: the name is
for people, and the expiry can only end a connection early.
"""

import base64
import binascii
import re
from typing import Any

import msgspec

from ..message import Credentials, Outcome, Public, RequestError

OPAQUE = "(token)"  # the name if the token has none
MAX_NAME = 255  # characters
MAX_TIME = 1e12  # seconds from 1970, in both directions; larger integers may exceed all floats

_TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1


def credentials(token: bytes) -> Credentials:
    """Return what to log in with.

    Raise RequestError, which quotes nothing of the token, if it is malformed.
    """
    if not _TOKEN.fullmatch(token):
        raise RequestError(Outcome.UNAUTHORIZED, Public("The bearer token is malformed."))
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
    """Return the claims of a JSON Web Token, unverified; {} for any other token.

    They are its second part (RFC 7519 section 3).
    """
    parts = token.split(b".")
    if len(parts) != 3:
        return {}
    payload = parts[1] + b"=" * (-len(parts[1]) % 4)
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
