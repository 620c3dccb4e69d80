"""Browsers: which pages may call us (CORS), and which requests are forged (CSRF).

A browser adds the Basic credentials that it keeps to the form of any page. So a request
that names another site as its origin is refused, unless the settings allow that origin.
Requests of other programs name no origin and pass.

If the settings allow all origins, a request that a browser sends without a preflight is
still refused, because its credentials may be those that the browser keeps. Such requests
are forms, or look like forms. Before a body of another type the browser sends a preflight.
``*`` does not allow kept credentials, so the credentials of that request are the page's own.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..config.http_server import Cors
from ..message import Outcome, RequestError

ANY = "*"
SAME_SITE = (b"same-origin", b"none")  # none: the user did it, such as by a bookmark
UNASKED = {  # media types that need no preflight; a request without one does not either
    b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain", b"",
}  # fmt: skip
ASKING = {b"origin", b"access-control-request-method"}
EXPOSED = b"Retry-After, X-Request-ID, AMQP-Message-Id"

_TYPE_END = re.compile(rb"[;,\s]")

Headers = list[tuple[bytes, bytes]]


class CorsPolicy:
    """What the settings allow other sites. ``strict`` refuses requests without an origin too."""

    def __init__(self, cors: Cors, *, strict: bool) -> None:
        self._any = ANY in cors.origins
        self._allowed = frozenset(origin.lower().encode() for origin in cors.origins)
        self.is_strict = strict
        self._credentials = cors.credentials and not self._any
        self._methods = ", ".join(cors.methods).encode()
        self._all_headers = ANY in cors.headers
        self._headers = ", ".join(cors.headers).encode()
        self._max_age = b"%d" % cors.max_age

    def allows(self, origin: bytes) -> bool:
        """Return whether pages of this origin may call."""
        return self._any or origin.lower() in self._allowed

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise RequestError if another site's page publishes; old browsers send only Origin."""
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        is_allowed = origin is not None and self.allows(origin)
        if is_allowed and not (self._any and _comes_unasked(headers)):
            return
        whose = "a page of another origin"
        if site is not None:
            is_ours = site in SAME_SITE
        elif origin is not None:
            is_ours = _is_of_host(origin, headers.get(b"host", b""))
        else:
            is_ours = not self.is_strict
            whose = "a client that sends neither Origin nor Sec-Fetch-Site"
        if not is_ours:
            advice = (
                "With HTTPServer.cors.origins: *, send a Content-Type that HTML forms cannot have."
                if self._any
                else "HTTPServer.cors.origins lists the origins that may."
            )
            raise RequestError(
                Outcome.CROSS_SITE,
                f"The request comes from {whose}, which may not publish here. {advice}",
            )

    def answer_headers(self, headers: Mapping[bytes, bytes], *, to_any: bool = True) -> Headers:
        """Return what lets a page of an allowed origin read; ``*`` allows only with ``to_any``."""
        origin = headers.get(b"origin")
        if origin is None or not self.allows(origin) or (self._any and not to_any):
            # A cache must not give this response to another origin.
            return [(b"vary", b"Origin")] if self._allowed and not self._any else []
        return [*self._granted(origin), (b"access-control-expose-headers", EXPOSED)]

    def is_preflight(self, method: bytes, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a browser asks if a page may call (Fetch standard, section 3.2.2)."""
        return method == b"OPTIONS" and headers.keys() >= ASKING

    def preflight_headers(self, headers: Mapping[bytes, bytes]) -> Headers:
        """Return the header fields that answer a preflight, and so let the page call or not."""
        origin = headers[b"origin"]
        if not self.allows(origin):
            return [(b"vary", b"Origin")]
        # With credentials "*" is not a wildcard, and it never covers Authorization.
        asked = headers.get(b"access-control-request-headers", b"")
        return [
            *self._granted(origin),
            (b"access-control-allow-methods", self._methods),
            (b"access-control-allow-headers", asked if self._all_headers else self._headers),
            (b"access-control-max-age", self._max_age),
        ]

    def _granted(self, origin: bytes) -> Headers:
        granted = [(b"access-control-allow-origin", ANY.encode() if self._any else origin)]
        if not self._any:
            granted.append((b"vary", b"Origin"))
        if self._credentials:
            granted.append((b"access-control-allow-credentials", b"true"))
        return granted


def _is_of_host(origin: bytes, host: bytes) -> bool:
    """Return whether an origin is our host, whatever its scheme: a proxy may speak TLS for us."""
    try:
        netloc = urlsplit(origin.decode("latin-1")).netloc.lower().encode("latin-1")
    except ValueError:
        return False
    return netloc != b"" and netloc == host.lower()


def _comes_unasked(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a page can make a browser send the request without a preflight."""
    return _TYPE_END.split(headers.get(b"content-type", b"").lower(), 1)[0] in UNASKED
