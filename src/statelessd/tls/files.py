"""PEM files of certificates and keys: loading, checking and watching them."""

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from ..config.http_server import Tls
from ..config.settings import BrokerTls
from ..failures import is_shortage

logger = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two checks of the files
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

Stamp = tuple[int, int, int]  # what changes with a file: its time, inode and size


class TlsError(Exception):
    """A TLS setting that cannot be used: its key path and the reason.

    ``passes``: the file could not be read for now, because the system lacks descriptors.
    """

    def __init__(self, setting: str, reason: str, *, passes: bool = False) -> None:
        super().__init__(f"{setting}: {reason}")
        self.setting = setting
        self.reason = reason
        self.passes = passes


class KeyPair(msgspec.Struct, frozen=True):
    """The files of a certificate and its key. ``section`` is the path of their settings."""

    section: str
    certificate: str
    key: str | None  # None if it is in the certificate's file

    @classmethod
    def of(cls, section: str, settings: Tls | BrokerTls) -> Self | None:
        """Return the files that the settings name, or None. Raise TlsError for a key alone."""
        if settings.certificate is not None:
            return cls(section, settings.certificate, settings.key)
        if settings.key is not None:
            raise TlsError(f"{section}.certificate", "is required beside a key")
        return None

    def check(self) -> None:
        """Raise TlsError, which quotes nothing of the files, if they are not a pair."""
        setting = f"{self.section}.certificate"
        check_readable(setting, self.certificate)
        if self.key is not None:
            check_readable(f"{self.section}.key", self.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_certificates(context, setting, self.certificate)
        self.load(context)

    def load(self, context: ssl.SSLContext) -> None:
        """Load the certificate into ``context``. Raise TlsError if that is not possible."""
        certificate, key = self.certificate, self.key
        in_question = f"{self.section}.{'certificate' if key is None else 'key'}"
        holder = key or certificate
        try:
            context.load_cert_chain(certificate, key, password=_no_passphrase)
        except ssl.SSLError as error:
            what = f"{holder} has no private key that can be used"
            if error.reason == "KEY_VALUES_MISMATCH":
                what = f"the key in {holder} does not belong to the certificate {certificate}"
            elif error.reason is not None:
                what += f": {error.reason.replace('_', ' ').lower()}"
            raise TlsError(in_question, what) from None
        except _PassphraseError:
            raise TlsError(in_question, f"the key in {holder} has a passphrase") from None
        except OSError as error:
            raise _unreadable(in_question, "cannot be read", error) from None


class Watch:
    """Reloads files when they change. ``section`` has their settings; ``what`` is for the log."""

    def __init__(self, section: str, what: str, *paths: str | None) -> None:
        self._section = section
        self._what = what
        self._seen = {path: stamp_of(path) for path in paths if path}
        self._taken = self._seen
        self._look_at = 0.0
        self._waits = False  # for a descriptor, to read changed files with

    def refresh(self, now: float, take_up: Callable[[], None]) -> None:
        """Call ``take_up`` once for each change of the files. Call this often.

        A change counts when two checks in a row saw the same files, because replacing several
        files takes a moment. If ``take_up`` raises TlsError, log it and change nothing. Try
        again if that passes.
        """
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        seen = self._seen
        self._seen = {path: stamp_of(path, known) for path, known in seen.items()}
        if self._seen == self._taken or self._seen != seen:
            return
        try:
            take_up()
        except TlsError as error:
            if not (error.passes and self._waits):
                logger.error("%s; %s stays in use", error, self._what)  # noqa: TRY400 - all is said
            self._waits = error.passes
        else:
            logger.info("%s: using the changed files", self._section)
            self._waits = False
        if not self._waits:
            self._taken = self._seen


def check_readable(setting: str, path: str) -> None:
    """Raise TlsError if the file cannot be read."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise _unreadable(setting, f"{path} cannot be read", error) from None


def load_certificates(context: ssl.SSLContext, setting: str, path: str) -> None:
    """Let ``context`` trust the certificates in the file. Raise TlsError if it has none."""
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise TlsError(setting, f"{path} has no certificate in PEM form") from None
    except OSError as error:
        raise _unreadable(setting, f"{path} cannot be read", error) from None


def _unreadable(setting: str, what: str, error: OSError) -> TlsError:
    return TlsError(setting, f"{what}: {error.strerror}", passes=is_shortage(error))


class _PassphraseError(Exception):
    """The key has a passphrase, and nobody can type it."""


def _no_passphrase() -> bytes:
    raise _PassphraseError


def stamp_of(path: str, known: Stamp = (0, 0, 0)) -> Stamp:
    """Return what differs when a file was changed, replaced or removed; ``known`` if unknown."""
    try:
        found = os.stat(path)  # noqa: PTH116 - often
    except PermissionError:  # a backend may not read root's directory: treat it as unchanged
        return known
    except OSError as error:
        return 0, 0, error.errno or 0
    return found.st_ctime_ns, found.st_ino, found.st_size  # ctime cannot be set back
