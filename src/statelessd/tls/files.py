"""PEM files of certificates and keys: what is wrong with them, and whether they have changed."""

import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec

from ..config.settings import BrokerTls, Tls

LOOK = 1.0  # seconds between looks at the files
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

Stamp = tuple[int, int, int]


class TlsError(Exception):
    """``setting``: its key path; ``reason``: what is wrong with it."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting}: {reason}")
        self.setting = setting
        self.reason = reason


class KeyPair(msgspec.Struct, frozen=True):
    """The files of a certificate and of its key; ``section``: where their settings are."""

    section: str
    certificate: str
    key: str | None  # None: in the certificate's file

    @classmethod
    def of(cls, section: str, settings: Tls | BrokerTls) -> Self | None:
        """What the settings name, if anything. Raises TlsError for a key alone."""
        if settings.certificate is not None:
            return cls(section, settings.certificate, settings.key)
        if settings.key is not None:
            raise TlsError(f"{section}.certificate", "is needed, for there is a key")
        return None

    def paths(self) -> list[str]:
        """One file or two."""
        return [self.certificate] if self.key is None else [self.certificate, self.key]

    def check(self) -> None:
        """Raises TlsError, which names no more of the files than their paths."""
        setting = f"{self.section}.certificate"
        check_readable(setting, self.certificate)
        if self.key is not None:
            check_readable(f"{self.section}.key", self.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_certificates(context, setting, self.certificate)
        self.load(context)

    def load(self, context: ssl.SSLContext) -> None:
        """Let ``context`` show it. Raises TlsError."""
        certificate, key = self.certificate, self.key
        in_question = f"{self.section}.{'certificate' if key is None else 'key'}"
        try:
            context.load_cert_chain(certificate, key, password=_no_passphrase)
        except ssl.SSLError as error:
            what = f"{key or certificate} holds no private key that can be used"
            if error.reason == "KEY_VALUES_MISMATCH":
                what = (
                    f"the key in {key or certificate} is not that of the certificate {certificate}"
                )
            elif error.reason is not None:
                what += f": {error.reason.replace('_', ' ').lower()}"
            raise TlsError(in_question, what) from None
        except _PassphraseError:
            raise TlsError(
                in_question, f"the key in {key or certificate} has a passphrase"
            ) from None
        except OSError as error:
            raise TlsError(in_question, f"cannot be read: {error.strerror}") from None


class Watch:
    """Looks whether any of the files has changed."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._seen = {path: _stamp_of(path) for path in paths}
        self._taken = self._seen
        self._look_at = 0.0

    def has_news(self, now: float) -> bool:
        """Whether to take them up now; says so once for each change, and is called often.

        Files are taken when they were the same at two looks, for there are
        several to be replaced.
        """
        if now < self._look_at:
            return False
        self._look_at = now + LOOK
        seen = self._seen
        self._seen = {path: _stamp_of(path, known) for path, known in seen.items()}
        if self._seen == self._taken or self._seen != seen:
            return False
        self._taken = self._seen
        return True


def check_readable(setting: str, path: str) -> None:
    """Raises TlsError."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise TlsError(setting, f"{path} cannot be read: {error.strerror}") from None


def load_certificates(context: ssl.SSLContext, setting: str, path: str) -> None:
    """Let ``context`` trust those of the file. Raises TlsError."""
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise TlsError(setting, f"{path} holds no certificate in PEM form") from None


class _PassphraseError(Exception):
    """There is nobody to type one."""


def _no_passphrase() -> bytes:
    raise _PassphraseError


def _stamp_of(path: str, known: Stamp = (0, 0, 0)) -> Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116 - often
    except PermissionError:  # in root's directory, to a backend of another user: nothing is new
        return known
    except OSError as error:
        return 0, 0, error.errno or 0
    return found.st_mtime_ns, found.st_ino, found.st_size
