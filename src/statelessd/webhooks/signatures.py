"""Checks that the sender of a delivery knows one of the endpoint's secrets.

A scheme reads from the headers what the sender claims: signatures, and what they are of. Then
``Signed`` computes the HMAC with each secret, and compares in constant time. Whether a signature
is missing or wrong is not told, because that would help nobody but an attacker.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import msgspec

from ..message import Outcome, Public, RequestError
from .source import Source

STEP = 512 * 1024  # bytes; hashing them takes some milliseconds at most
WHSEC = b"whsec_"
SHORTEST_BARE_SECRET = 24  # bytes; Standard Webhooks wants 24 to 64

INVALID = Public("The signature is missing, or none of the endpoint's secrets makes it.")

_TIMESTAMP = re.compile(rb"[0-9]{1,15}")  # seconds, of the next 30 million years

Part = bytes | memoryview
Steps = Generator[None, None, None]


class Claim(msgspec.Struct):
    """What a sender claims.

    One of ``signatures``, each a header's bytes, is to be that of one of ``messages``. A message
    is in parts. ``timestamp`` is part of what was signed.
    """

    signatures: Sequence[bytes]
    messages: Sequence[Sequence[Part]]
    timestamp: bytes | None = None
    algorithm: str = "sha256"


Reader = Callable[[Source], Generator[None, None, Claim | None]]
"""Returns what the sender claims, or None if there is no signature that can be read."""


class Scheme(Protocol):
    """A way to find out whether the sender knows a secret."""

    def verify(self, source: Source, secrets: Sequence[bytes]) -> Steps:
        """Raise RequestError unless the sender knows one of the secrets."""

    def check(self, secrets: Sequence[bytes]) -> None:
        """Raise ValueError, with the end of a sentence, if one of the secrets cannot be used."""


def invalid() -> RequestError:
    """Return the error of a missing or wrong signature."""
    return RequestError(Outcome.SIGNATURE_INVALID, INVALID)


def is_same(one: bytes, other: bytes) -> bool:
    """Compare in constant time; not even the lengths show."""
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())


class Signed:
    """A scheme with HMAC."""

    def __init__(
        self,
        read: Reader,
        *,
        encoding: str = "hex",
        keys: Callable[[Sequence[bytes]], list[bytes]] | None = None,
        tolerance: float = 0.0,
    ) -> None:
        self._read = read
        self._is_hex = encoding == "hex"
        self._keys = keys or plain_keys
        self._tolerance = tolerance

    def verify(self, source: Source, secrets: Sequence[bytes]) -> Steps:
        """Raise RequestError unless one of the secrets made a signature, a short while ago."""
        claim = yield from self._read(source)
        if claim is None or not claim.signatures:
            raise invalid()
        if claim.timestamp is not None and not _TIMESTAMP.fullmatch(claim.timestamp):
            raise invalid()
        keys = self._keys(secrets)
        found = False
        for message in claim.messages:
            for digest in (yield from _digests(keys, claim.algorithm, message)):
                for signature in claim.signatures:
                    found |= self._matches(digest, signature)
        if not found:
            raise invalid()
        if claim.timestamp is not None:
            self._check_age(int(claim.timestamp), source.delivery.now)

    def check(self, secrets: Sequence[bytes]) -> None:
        """Raise ValueError if one of the secrets is none."""
        for secret in secrets:
            if not self._keys([secret]):
                raise ValueError("has a secret that is empty or blank.")

    def _matches(self, digest: bytes, signature: bytes) -> bool:
        if self._is_hex:
            return hmac.compare_digest(digest.hex().encode(), signature.lower())
        expected = base64.b64encode(digest)
        return hmac.compare_digest(expected.rstrip(b"="), signature.rstrip(b"="))

    def _check_age(self, timestamp: int, now: float) -> None:
        if abs(now - timestamp) > self._tolerance:
            raise RequestError(
                Outcome.SIGNATURE_INVALID,
                Public(
                    "The signed timestamp is stale: it differs from this machine's clock by more "
                    f"than {self._tolerance:g} seconds."
                ),
            )


def _digests(
    keys: Sequence[bytes], algorithm: str, message: Sequence[Part]
) -> Generator[None, None, list[bytes]]:
    """Return the HMAC of the message with each key, in steps."""
    codes = [hmac.new(key, digestmod=algorithm) for key in keys]
    hashed = 0
    for part in message:
        view = memoryview(part)
        for start in range(0, len(view), STEP):
            piece = view[start : start + STEP]
            for code in codes:
                code.update(piece)
                hashed += len(piece)
                if hashed >= STEP:
                    hashed = 0
                    yield
    return [code.digest() for code in codes]


def plain_keys(secrets: Sequence[bytes]) -> list[bytes]:
    """Return the secrets as keys, without empty and blank ones, which everybody knows."""
    return [secret for secret in secrets if secret.strip()]


def base64_keys(secrets: Sequence[bytes]) -> list[bytes]:
    """Return the keys of Standard Webhooks' secrets, without those that cannot be read."""
    return [key for key in map(_base64_key, secrets) if key]


def _base64_key(secret: bytes) -> bytes:
    """Return the key that the secret encodes, or nothing.

    The prefix may be missing, as in the libraries of Standard Webhooks; but then a short text
    is more likely one that nobody encoded.
    """
    encoded = secret.removeprefix(WHSEC)
    try:
        key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return key if encoded != secret or len(key) >= SHORTEST_BARE_SECRET else b""


class StandardWebhooks:
    """Standard Webhooks, and Svix, from which it comes."""

    def __init__(self, tolerance: float) -> None:
        self._signed = Signed(
            _read_standard, encoding="base64", keys=base64_keys, tolerance=tolerance
        )
        self.verify = self._signed.verify

    def check(self, secrets: Sequence[bytes]) -> None:
        """Raise ValueError if a secret is not a key in base64 behind whsec_."""
        if len(base64_keys(secrets)) < len(secrets):
            raise ValueError("has a secret that is not whsec_ and a key in base64.")


class Token:
    """A secret that the sender repeats in a header."""

    def __init__(self, header: str) -> None:
        self._header = header.lower().encode()

    def verify(self, source: Source, secrets: Sequence[bytes]) -> Steps:
        """Raise RequestError unless the header has one of the secrets."""
        yield
        given = source.header(self._header)
        found = False
        for secret in plain_keys(secrets):
            found |= is_same(secret, given)
        if not found:
            raise invalid()

    def check(self, secrets: Sequence[bytes]) -> None:
        """Raise ValueError if a secret is empty, or has white space around it."""
        if not all(secret and secret == secret.strip(b" \t") for secret in secrets):
            raise ValueError("has a secret that no header can have.")


class GitLab:
    """GitLab's secret token, and its newer signing token, which begins with whsec_.

    Whether a request has a signature decides which of them counts, if the endpoint has signing
    tokens: then a wrong signature is not made good by a right secret token.
    """

    def __init__(self, tolerance: float) -> None:
        self._token = Token("x-gitlab-token")
        self._standard = StandardWebhooks(tolerance)

    def verify(self, source: Source, secrets: Sequence[bytes]) -> Steps:
        """Raise RequestError unless the sender knows one of the secrets."""
        signing = [secret for secret in secrets if secret.startswith(WHSEC)]
        if signing and source.header(b"webhook-signature"):
            yield from self._standard.verify(source, signing)
        else:
            tokens = [secret for secret in secrets if not secret.startswith(WHSEC)]
            yield from self._token.verify(source, tokens)

    def check(self, secrets: Sequence[bytes]) -> None:
        """Raise ValueError if a secret can be neither kind of token."""
        self._standard.check([secret for secret in secrets if secret.startswith(WHSEC)])
        self._token.check(secrets)


class NoScheme:
    """The endpoint lets everybody in, or those who know its path."""

    def verify(self, source: Source, secrets: Sequence[bytes]) -> Steps:
        """Let the delivery pass."""
        yield

    def check(self, secrets: Sequence[bytes]) -> None:
        """Raise ValueError if there are secrets, because nothing would compare them."""
        if secrets:
            raise ValueError("has secrets, which the scheme none does not use.")


def prefixed(header: bytes, prefix: bytes) -> Reader:
    """Return the reader of one signature, behind a prefix, of the body alone."""

    def read(source: Source) -> Generator[None, None, Claim | None]:
        yield
        value = source.header(header)
        if not value.startswith(prefix):
            return None
        return Claim([value.removeprefix(prefix)], [[source.delivery.body]])

    return read


def read_stripe(source: Source) -> Generator[None, None, Claim | None]:
    """Return what ``Stripe-Signature`` claims: t=…,v1=…,v1=…; v0 is of test mode, and not valid."""
    yield
    items = [item.strip(b" ").partition(b"=") for item in _list(source, b"stripe-signature", b",")]
    timestamp = next((value for name, _, value in items if name == b"t"), b"")
    signatures = [value for name, _, value in items if name == b"v1"]
    return Claim(signatures, [[timestamp, b".", source.delivery.body]], timestamp)


def read_slack(source: Source) -> Generator[None, None, Claim | None]:
    """Return what ``X-Slack-Signature`` claims, of ``v0:timestamp:body``."""
    yield
    timestamp = source.header(b"x-slack-request-timestamp")
    value = source.header(b"x-slack-signature")
    if not value.startswith(b"v0="):
        return None
    parts = [b"v0:", timestamp, b":", source.delivery.body]
    return Claim([value.removeprefix(b"v0=")], [parts], timestamp)


def _read_standard(source: Source) -> Generator[None, None, Claim | None]:
    """Return what the headers webhook-…, or else svix-…, claim, of ``id.timestamp.body``."""
    yield
    for prefix in (b"webhook-", b"svix-"):
        message_id, timestamp = source.header(prefix + b"id"), source.header(prefix + b"timestamp")
        listed = _list(source, prefix + b"signature", b" ")
        if message_id and timestamp and listed:
            signatures = [each[3:] for each in listed if each.startswith(b"v1,")]
            parts = [message_id, b".", timestamp, b".", source.delivery.body]
            return Claim(signatures, [parts], timestamp)
    return None


def _list(source: Source, header: bytes, separator: bytes) -> list[bytes]:
    """Return the items of a header, without empty ones."""
    return [item for item in source.header(header).split(separator) if item]
