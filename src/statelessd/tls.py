"""The certificate of the TLS listeners: loaded once, and taken up anew when its files change."""

import logging
import os
import ssl
import weakref
from pathlib import Path
from typing import Any, Self

from .config import Tls

logger = logging.getLogger(__name__)

LOOK = 1.0  # seconds between looks at the files
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

Stamp = tuple[tuple[int, int, int], ...]


class TlsError(Exception):
    """``setting``: ``certificate`` or ``key``; the text says what is wrong with it."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"HTTPServer.tls.{setting}: {reason}")
        self.setting = setting
        self.reason = reason


class _Context(ssl.SSLContext):
    """Remembers the connections made with it for as long as they live."""

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
    """``context`` is what listeners are given; it stays the same when the certificate changes.

    Raises TlsError when the files do not make a certificate and its key.
    """

    def __init__(self, settings: Tls) -> None:
        self._settings = settings
        self._seen = self._loaded = self._stamp()
        self._look_at = 0.0
        self.context = _Context(settings)
        check(settings)
        _load(self.context, settings)

    @property
    def is_shaking_hands(self) -> bool:
        """Somebody has connected, and has not come to ask yet."""
        return any(made.version() is None for made in self.context.made)

    def refresh(self, now: float) -> None:
        """Take up changed files, for whoever connects from now on; called often.

        What cannot be used is told once, and the old certificate stays. Files are
        taken when they were the same at two looks, for there are two to be replaced.
        """
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        seen, self._seen = self._seen, self._stamp()
        if self._seen == self._loaded or self._seen != seen:
            return
        self._loaded = self._seen  # whatever comes of it, once
        try:
            check(self._settings)  # apart, for a load that fails half-way changes the context
            _load(self.context, self._settings)
        except TlsError as error:
            logger.error("%s; the certificate stays as it was", error)  # noqa: TRY400 - all is said
        else:
            logger.info("the certificate %s has changed: using it", self._settings.certificate)

    def _stamp(self) -> Stamp:
        return tuple(_stamp_of(path) for path in _files(self._settings).values())


def check(settings: Tls) -> None:
    """Raises TlsError, which names no more of the files than their paths."""
    if settings.certificate is None:
        raise TlsError("certificate", "is needed, for there is a key")
    for setting, path in _files(settings).items():
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise TlsError(setting, f"{path} cannot be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(settings.certificate)
    except ssl.SSLError:
        raise TlsError(
            "certificate", f"{settings.certificate} holds no certificate in PEM form"
        ) from None
    _load(context, settings)


def _load(context: ssl.SSLContext, settings: Tls) -> None:
    assert settings.certificate is not None  # noqa: S101 - checked before
    certificate, key = settings.certificate, settings.key
    in_question = "certificate" if key is None else "key"
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        what = f"{key or certificate} holds no private key that can be used"
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"the key in {key or certificate} is not that of the certificate {certificate}"
        elif error.reason is not None:
            what += f": {error.reason.replace('_', ' ').lower()}"
        raise TlsError(in_question, what) from None
    except _PassphraseError:
        raise TlsError(in_question, f"the key in {key or certificate} has a passphrase") from None
    except OSError as error:
        raise TlsError(in_question, f"cannot be read: {error.strerror}") from None


class _PassphraseError(Exception):
    """There is nobody to type one."""


def _no_passphrase() -> bytes:
    raise _PassphraseError


def _files(settings: Tls) -> dict[str, str]:
    """By setting; the certificate's may hold the key as well."""
    named = {"certificate": settings.certificate, "key": settings.key}
    return {setting: path for setting, path in named.items() if path is not None}


def _stamp_of(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - often
    except OSError as error:
        return 0, 0, error.errno or 0
    return found.st_mtime_ns, found.st_ino, found.st_size
