"""The certificate of the TLS listeners, which is reloaded when its files change."""

import ssl
import weakref
from typing import Any, Self

from ..config.http_server import Tls
from .files import VERSIONS, KeyPair, Watch

SECTION = "HTTPServer.tls"


class _Context(ssl.SSLContext):
    """A context that knows the connections made with it, as long as they live."""

    def __new__(cls, settings: Tls) -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, settings: Tls) -> None:
        self.minimum_version = VERSIONS[settings.minimum_version]
        self.options |= ssl.OP_NO_RENEGOTIATION
        self.set_alpn_protocols(["http/1.1"])
        self.made: weakref.WeakSet[ssl.SSLObject] = weakref.WeakSet()

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        made = super().wrap_bio(*args, **kwargs)
        self.made.add(made)
        return made


class Certificate:
    """The certificate of all TLS listeners.

    ``context`` stays the same object when the certificate changes. ``settings`` must name
    a certificate. Making it raises TlsError if the files are not a certificate and its key.
    """

    def __init__(self, settings: Tls) -> None:
        pair = KeyPair.of(SECTION, settings)
        assert pair is not None  # noqa: S101 - the settings name one
        self._pair = pair
        self._watch = Watch(SECTION, "the certificate", pair.certificate, pair.key)
        self.context = _Context(settings)
        self._take_up()

    @property
    def is_shaking_hands(self) -> bool:
        """Return whether a client has connected and its TLS handshake is not complete."""
        return any(made.version() is None for made in self.context.made)

    def refresh(self, now: float) -> None:
        """Use changed files for new connections. ``now`` is in seconds; call it often."""
        self._watch.refresh(now, self._take_up)

    def _take_up(self) -> None:
        self._pair.check()  # separately, because a load that fails half-way changes the context
        self._pair.load(self.context)


def check(settings: Tls) -> None:
    """Raise TlsError if the settings name files that are not a certificate and its key."""
    if pair := KeyPair.of(SECTION, settings):
        pair.check()
