"""The Authorization header: Basic credentials, or a bearer token.

RabbitMQ's OAuth 2 back end takes a token as the password. It ignores the user name and
takes the user's name from the token. Only the broker verifies a token. Nothing that is read
of it here is trusted: the name is for people, and the expiry can only end a connection early.
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


def parse_authorization(value: bytes | None) -> Credentials:
    """Return credentials (RFC 7617, RFC 6750), or raise RequestError, which quotes nothing."""
    if value is None:
        raise _unauthorized("The request has no Authorization header.")
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() == b"bearer":
        return _of_token(encoded.strip())
    if scheme.lower() != b"basic":
        raise _unauthorized("The Authorization header is not of type Basic or Bearer.")
    credentials, wrong = None, "is malformed"
    try:
        username, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        if username and colon:
            credentials = Credentials(username.decode(), password.decode())
    except UnicodeDecodeError:
        wrong = "has a user name or password that is not UTF-8"
    except binascii.Error:
        pass
    # NUL ends the name and the password in AMQP's login (RFC 4616); neither can hold one.
    if credentials is None or "\0" in credentials.username + credentials.password:
        # Raised here and not above, because the exception there holds the secret.
        raise _unauthorized(f"The Authorization header {wrong}.")
    return credentials


def _unauthorized(detail: str) -> RequestError:
    """Return a 401. Its detail is public, because it is one of the sentences above and below."""
    return RequestError(Outcome.UNAUTHORIZED, Public(detail))


def _of_token(token: bytes) -> Credentials:
    if not _TOKEN.fullmatch(token):
        raise _unauthorized("The bearer token is malformed.")
    claims = _claims(token)
    name = claims.get("sub") or claims.get("client_id")  # in RabbitMQ's own order
    return Credentials.of_token(
        token.decode(),
        name[:MAX_NAME] if isinstance(name, str) else OPAQUE,
        _time(claims.get("exp")),
    )


def _time(value: Any) -> float | None:
    """Return the seconds of Unix time; None for what is not a time."""
    if type(value) not in (int, float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if abs(seconds) < MAX_TIME else None


def _claims(token: bytes) -> dict[str, Any]:
    """Return the unverified claims of a JSON Web Token (RFC 7519 section 3); else {}."""
    parts = token.split(b".")
    if len(parts) != 3:
        return {}
    payload = parts[1] + b"=" * (-len(parts[1]) % 4)
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
