"""The certificate of the TLS listeners, which is reloaded when its files change."""

import ssl

from ..config.http_server import Tls
from .files import VERSIONS, KeyPair, Watch

SECTION = "HTTPServer.tls"


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
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = VERSIONS[settings.minimum_version]
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        self.context.set_alpn_protocols(["http/1.1"])
        self._take_up()

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
