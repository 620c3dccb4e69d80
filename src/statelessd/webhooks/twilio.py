"""Reads Twilio's signatures: of the public URL and the decoded fields of a form.

The URL is the one that Twilio was given, so it is configured: a proxy may have changed what
arrives. The query is that of the request, because Twilio adds ``bodySHA256`` to it for a body
that is not a form. That is then the hash of the body.
"""

import hashlib
import hmac
import re
from collections.abc import Generator, Sequence

from .signatures import STEP, Claim, Part, Reader, Signed
from .source import Form, Source

_URL = re.compile(r"(https?)://([^/?#\s]+?)(?::([0-9]+))?(/[^?#\s]*)?(\?[^#\s]*)?")
_STANDARD_PORTS = {"http": "80", "https": "443"}
_SETTINGS = b"x-twilio-webhooks-signature-settings"  # names the algorithm, if it is not SHA-1
_ALGORITHMS = {b"": "sha1", b"HMAC_SHA1": "sha1", b"HMAC_SHA256": "sha256"}


def scheme(public_url: str) -> Signed:
    """Return the scheme for a URL. Raise ValueError, with a sentence, if it is not one."""
    return Signed(_reader(public_url), encoding="base64")


def _reader(public_url: str) -> Reader:
    match = _URL.fullmatch(public_url)
    if match is None:
        raise ValueError("public_url is not a URL that begins with https:// or http://.")
    protocol, host, port, path, query = match.groups()
    port = port or _STANDARD_PORTS[protocol]
    own_query = (query or "").encode()
    # Twilio's libraries try both, because what it signs is not always the same.
    bases = [f"{protocol}://{host}{each}{path or ''}".encode() for each in ("", f":{port}")]

    def read(source: Source) -> Generator[None, None, Claim | None]:
        algorithm = _algorithm(source)
        signature = source.header(b"x-twilio-signature")
        if algorithm is None or not signature:
            return None
        parts = yield from _signed_parts(source)
        if parts is None:
            return None
        _, mark, sent_query = source.delivery.target.partition(b"?")
        query = mark + sent_query or own_query
        return Claim([signature], [[base + query, *parts] for base in bases], algorithm=algorithm)

    return read


def _algorithm(source: Source) -> str | None:
    """Return the name of the hash function, or None if it is not known."""
    settings = source.header(_SETTINGS)
    items = [item.strip(b" ").partition(b"=") for item in settings.split(b",")]
    named = next((value for name, _, value in items if name == b"algorithm" and value), b"")
    return _ALGORITHMS.get(named.strip(b" ").upper())


def _signed_parts(source: Source) -> Generator[None, None, Sequence[Part] | None]:
    """Return what is signed behind the URL, or None if that does not cover the body."""
    body = source.delivery.body
    sha256 = source.query(b"bodySHA256")
    if sha256 is not None:
        digest = yield from _sha256(body)
        if not hmac.compare_digest(digest.encode(), sha256.lower()):
            return None
    if source.media_type() != b"application/x-www-form-urlencoded":
        return None if body and sha256 is None else []
    form = yield from source.form()
    # What the decoder leaves out is not signed: empty fields, and names of thousands of bytes.
    if len(form.spans) != (body.count(b"&") + 1 if body else 0):
        return None
    return _sorted_fields(form)


def _sha256(body: bytes) -> Generator[None, None, str]:
    code = hashlib.sha256()
    view = memoryview(body)
    for start in range(0, len(view), STEP):
        code.update(view[start : start + STEP])
        yield
    return code.hexdigest()


def _sorted_fields(form: Form) -> Sequence[Part]:
    """Return names and values in the order of names; each value of a name counts once."""
    values: dict[bytes, list[Part]] = {}
    view = memoryview(form.data).toreadonly()
    for name, start, end in form.spans:
        values.setdefault(name, []).append(view[start:end])
    parts: list[Part] = []
    for name in sorted(values):
        several = values[name]
        if len(several) > 1:
            several = list[Part](sorted({bytes(value) for value in several}))
        for value in several:
            parts += [name, value]
    return parts
