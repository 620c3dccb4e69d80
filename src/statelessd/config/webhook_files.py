"""Files with the secrets and passwords of webhook endpoints: read at the start, and watched."""

import logging
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from ..tls.files import stamp_of
from .webhooks import Webhook

logger = logging.getLogger(__name__)

SECTION = "Webhooks"
LOOK = 1.0  # seconds between two looks at a file
MOST_BYTES = 64 * 1024
MOST_PASSWORD = 512  # characters


class FileError(Exception):
    """A file that cannot be used: the setting that names it, and why. It quotes no content."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting}: {reason}")
        self.setting = setting
        self.reason = reason


class Found(NamedTuple):
    """What an endpoint verifies and logs in with."""

    secrets: tuple[str, ...]
    password: str

    def __repr__(self) -> str:
        return f"<Found {len(self.secrets)} secrets>"


class WebhookFiles:
    """The secrets and the password of one endpoint, from its settings and its files.

    ``path`` is the key path of its settings. Making it raises FileError.
    """

    def __init__(self, webhook: Webhook, path: str) -> None:
        self._webhook = webhook
        self._path = path
        files = (webhook.password_file, webhook.verify.secrets_file)
        self._taken = {file: stamp_of(file) for file in files if file is not None}
        self.found = Found(self._secrets(), self._password())
        self._look_at = 0.0
        self._is_warned = False

    def __repr__(self) -> str:
        return f"<WebhookFiles of {self._webhook.name!r}>"

    def refresh(self, now: float) -> bool:
        """Read the files if they have changed. Return whether what they hold has changed.

        ``now`` is the time in seconds of a steady clock. The files are looked at once a second
        at most. If they cannot be used any more, what was found last stays, and one warning is
        logged until they can.
        """
        if now < self._look_at or not self._taken:
            return False
        self._look_at = now + LOOK
        seen = {file: stamp_of(file, known) for file, known in self._taken.items()}
        if seen == self._taken:
            self._is_warned = False
            return False
        before = self.found
        if self._read_what_can_be_read():
            self._taken, self._is_warned = seen, False
        if self.found != before:
            logger.info("%s: using the changed files", self._path)
        return self.found != before

    def _read_what_can_be_read(self) -> bool:
        """Read each file, and log a warning if that fails. Return whether all could be read.

        A broken file must not keep the other one from being used.
        """
        secrets, password = self.found
        errors = []
        try:
            secrets = self._secrets()
        except FileError as error:  # it is tried again, because it may be half written
            errors.append(error)
        try:
            password = self._password()
        except FileError as error:
            errors.append(error)
        self.found = Found(secrets, password)
        if errors and not self._is_warned:
            for each in errors:
                logger.warning("%s; its old content stays in use", each)
            self._is_warned = True
        return not errors

    def _secrets(self) -> tuple[str, ...]:
        verify = self._webhook.verify
        if verify.secrets_file is None:
            return verify.secrets
        setting = f"{self._path}.verify.secrets_file"
        lines = [line.strip() for line in _text_of(setting, verify.secrets_file).splitlines()]
        more = tuple(line for line in lines if line)
        if not more:
            raise FileError(setting, f"{verify.secrets_file} has no secret")
        return (*verify.secrets, *more)

    def _password(self) -> str:
        file = self._webhook.password_file
        if file is None:
            return self._webhook.password
        return _password_of(f"{self._path}.password_file", file)


def path_of(i: int) -> str:
    """Return the key path of an endpoint's settings."""
    return f"{SECTION}[{i}]"


def read_files(webhooks: Sequence[Webhook]) -> tuple[WebhookFiles, ...]:
    """Read the files of all endpoints. Raise FileError if one cannot be used."""
    return tuple(WebhookFiles(each, path_of(i)) for i, each in enumerate(webhooks))


def _password_of(setting: str, file: str) -> str:
    password = _text_of(setting, file).removesuffix("\n").removesuffix("\r")
    wrong = ""
    if not password:
        wrong = "has no password"
    elif "\n" in password:
        wrong = "has more than one line"
    elif len(password) > MOST_PASSWORD:
        wrong = f"has a password of more than {MOST_PASSWORD} characters"
    if wrong:
        raise FileError(setting, f"{file} {wrong}")
    return password


def _text_of(setting: str, file: str) -> str:
    try:
        with open(file, "rb", opener=_open) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise FileError(setting, f"{file} is not a regular file")
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise FileError(setting, f"{file} cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise FileError(setting, f"{file} is larger than {MOST_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise FileError(setting, f"{file} is not text in UTF-8")
    return text


def _open(file: str, flags: int) -> int:
    """Open a file without waiting for a pipe's writer, which would stop the event loop."""
    return os.open(file, flags | os.O_NONBLOCK)
