"""The certificate of the TLS listeners, which is reloaded when its files change."""

import logging
import ssl
import weakref
from typing import Any, Self

from ..config.settings import Tls
from .files import VERSIONS, KeyPair, TlsError, Watch

logger = logging.getLogger(__name__)

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
        self._watch = Watch(pair.paths())
        self.context = _Context(settings)
        pair.check()
        pair.load(self.context)

    @property
    def is_shaking_hands(self) -> bool:
        """Return whether a client has connected and its TLS handshake is not complete."""
        return any(made.version() is None for made in self.context.made)

    def refresh(self, now: float) -> None:
        """Use changed files for new connections. ``now`` is in seconds; call it often.

        If they cannot be used, log that once and keep the old certificate.
        """
        if not self._watch.has_news(now):
            return
        try:
            self._pair.check()  # separately, because a load that fails half-way changes the context
            self._pair.load(self.context)
        except TlsError as error:
            logger.error("%s; the certificate stays as it was", error)  # noqa: TRY400 - all is said
        else:
            logger.info("the certificate %s has changed: using it", self._pair.certificate)


def check(settings: Tls) -> None:
    """Raise TlsError if the settings name files that are not a certificate and its key."""
    if pair := KeyPair.of(SECTION, settings):
        pair.check()
