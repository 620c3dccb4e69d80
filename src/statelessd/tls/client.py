"""TLS to the broker: whom to trust, and our own certificate. Changed files are reloaded."""

import ssl

from ..config.settings import BrokerTls
from .files import VERSIONS, KeyPair, TlsError, Watch, check_readable, load_certificates

SECTION = "Application.rabbitmq.tls"


class Trust:
    """The TLS for the next connection to the broker. Making it raises TlsError."""

    def __init__(self, settings: BrokerTls) -> None:
        self._settings = settings
        files = settings.ca, settings.certificate, settings.key
        self._watch = Watch(SECTION, "TLS to the broker", *files)
        self.context = make_context(settings)

    def name_of(self, host: str) -> str:
        """Return the name that the broker's certificate must have; it is sent as SNI too."""
        return self._settings.server_name or host

    def refresh(self, now: float) -> None:
        """Use changed files for new connections. ``now`` is in seconds; call it often."""
        self._watch.refresh(now, self._take_up)

    def _take_up(self) -> None:
        self.context = make_context(self._settings)


def make_context(settings: BrokerTls) -> ssl.SSLContext:
    """Return a context that verifies the broker. Raise TlsError if the files cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = VERSIONS[settings.minimum_version]
    # So ``ca`` may be an intermediate authority, or the broker's own certificate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.ca is None:
        context.load_default_certs()
    else:
        check_readable(f"{SECTION}.ca", settings.ca)
        load_certificates(context, f"{SECTION}.ca", settings.ca)
    if pair := KeyPair.of(SECTION, settings):
        pair.check()
        pair.load(context)
    if settings.server_name is not None:
        name = settings.server_name
        try:
            context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
        except (ValueError, TypeError):  # UnicodeError is a ValueError
            raise TlsError(f"{SECTION}.server_name", f"{name!r} is not a host name") from None
    return context
