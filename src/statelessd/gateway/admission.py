"""Admission: decide by the head of a request whether its sender may publish here.

Single publishes and batches both pass through ``Admission.admit``. It checks, in this
order:

1. the site that sends the request, and the host name that a page used for this gateway;
2. the credentials, and where ``guest`` comes from;
3. the length of the body;
4. the path.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from hmac import compare_digest

from ..http1.fields import announces_body
from ..message import Credentials, Outcome, Public, RequestError
from .client_address import Client, ClientAddress, Headers
from .cors import CorsPolicy
from .credentials import parse_authorization
from .hosts import Hosts
from .known_heads import NOBODY

GUEST = "guest"  # the user whom RabbitMQ lets in over loopback only
CACHED_CREDENTIALS = 4096
ANNOUNCED = Public(
    "The request has Expect, Content-Type or another header of a body, but neither "
    "Content-Length nor Transfer-Encoding."
)


class Admission:
    """The rules of one backend, and the credentials that it has parsed."""

    def __init__(
        self,
        cors: CorsPolicy,
        hosts: Hosts,
        client_address: ClientAddress,
        *,
        allow_remote_guest: bool,
        on_loopback: bool,
    ) -> None:
        self._cors = cors
        self._hosts = hosts
        self._on_loopback = on_loopback
        self._client_address = client_address
        self._allow_remote_guest = allow_remote_guest
        self._cache_key = os.urandom(32)
        self._credentials: dict[bytes, Credentials] = {}
        # Most requests repeat the header of the last one; before the first, nobody can guess it.
        self._last_header, self._last_credentials = os.urandom(32), NOBODY

    def admit(
        self,
        headers: Mapping[bytes, bytes],
        max_length: int | None,
        refusal: RequestError | None,
        client: Callable[[], Client],
        fields: Headers,
    ) -> Credentials:
        """Return the sender's credentials, or raise RequestError if the request is refused.

        ``max_length`` is the most bytes that the body may have, None for any length.
        ``refusal`` says why the path could not be decoded. ``client`` and ``fields``, which
        are all header lines of the request, say where the sender is; few requests need that.
        """
        if self.may_be_a_page(headers):
            self._cors.check(headers)
            self.check_host(headers)
        authorization = headers.get(b"authorization", b"")
        if compare_digest(authorization, self._last_header):
            credentials = self._last_credentials
        else:
            credentials = self.credentials_of(headers)
        if credentials.username == GUEST:
            self._check_guest(headers, client, fields)
        _check_length(headers, max_length)
        if refusal is not None:
            # Not the error itself, which is remembered: each raise would add to its traceback.
            raise RequestError(refusal.outcome, refusal.detail)
        return credentials

    def admit_webhook(
        self, headers: Mapping[bytes, bytes], max_length: int, *, is_signed: bool
    ) -> None:
        """Raise RequestError if a request to a webhook endpoint is refused by its head.

        A page of another site cannot sign, so only what is not signed could be forged by one.
        The endpoint has an account of its own, and ``Authorization`` means nothing.
        """
        if not is_signed and (b"origin" in headers or b"sec-fetch-site" in headers):
            self._cors.check(headers)
            self.check_host(headers)
        _check_length(headers, max_length)

    def check_host(self, headers: Mapping[bytes, bytes], *, is_guest: bool = False) -> None:
        """Raise RequestError if DNS rebinding may have led a page to this machine or to guest.

        Browsers send ``Origin`` with each POST. A request without it is not a page's.
        """
        if b"origin" in headers and (is_guest or self._on_loopback):
            self._hosts.check(headers)

    def _check_guest(
        self, headers: Mapping[bytes, bytes], client: Callable[[], Client], fields: Headers
    ) -> None:
        """Raise RequestError if guest comes from elsewhere, or its password is a page's guess."""
        self.check_host(headers, is_guest=True)
        if not self._allow_remote_guest and not self._client_address.is_loopback(client(), fields):
            raise RequestError(
                Outcome.FORBIDDEN, Public("The user guest may publish from this machine only.")
            )

    def may_be_a_page(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a page in a browser may have sent the request, so that CORS applies."""
        return b"origin" in headers or b"sec-fetch-site" in headers or self._cors.is_strict

    def credentials_of(self, headers: Mapping[bytes, bytes]) -> Credentials:
        """Return the credentials of a request, or raise RequestError.

        Each header value is parsed once, and found by its keyed digest.
        """
        authorization = headers.get(b"authorization")
        if authorization is None:
            return parse_authorization(None)
        digest = hashlib.blake2b(authorization, key=self._cache_key, digest_size=16).digest()
        found = self._credentials.get(digest)
        if found is None:
            found = parse_authorization(authorization)
            if len(self._credentials) >= CACHED_CREDENTIALS:
                # The oldest: to forget all would cost users, whenever a storm of others comes.
                del self._credentials[next(iter(self._credentials))]
            self._credentials[digest] = found
        self._last_header, self._last_credentials = authorization, found
        return found


def _check_length(headers: Mapping[bytes, bytes], max_length: int | None) -> None:
    """Raise RequestError for a body that is too long, or of which the length is missing."""
    length = headers.get(b"content-length")
    if length is None:
        if b"transfer-encoding" not in headers and announces_body(headers):
            raise RequestError(Outcome.LENGTH_REQUIRED, ANNOUNCED)
    elif max_length is not None and int(length) > max_length:
        raise too_large(max_length)


def too_large(limit: int) -> RequestError:
    """Return the refusal of a body or message that has more than ``limit`` bytes."""
    return RequestError(Outcome.TOO_LARGE, Public(f"The body is larger than {limit} bytes."))
