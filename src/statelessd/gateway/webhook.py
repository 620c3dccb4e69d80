"""The webhook endpoints of one backend: their accounts, secrets, places and counts."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..config.webhook_files import FileError, Found, WebhookFiles, path_of
from ..config.webhooks import Webhook
from ..config.wording import Wrong
from ..message import Credentials, Outcome
from ..webhooks.endpoint import Endpoint
from .target import DEFAULT_EXCHANGE

logger = logging.getLogger(__name__)

HANDSHAKE = "handshake"  # what is counted for a request that the endpoint answers by itself


class WebhookEndpoint:
    """One endpoint. ``in_flight`` counts the requests that have a place, see ``max_in_flight``."""

    def __init__(self, settings: Webhook, files: WebhookFiles) -> None:
        self.settings = settings
        self.name = settings.name
        self.protocol = Endpoint(settings)
        self.is_signed = settings.verify.scheme != "none"
        self.in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self.virtual_host = settings.virtual_host
        self.exchange = "" if settings.exchange == DEFAULT_EXCHANGE else settings.exchange
        self._files = files
        self.secrets = _encoded(files.found)  # those of now, any of which may have signed
        self.credentials = self._credentials()

    def __repr__(self) -> str:
        return f"<WebhookEndpoint {self.name!r}, {self.in_flight} in flight>"

    def refresh(self, now: float) -> None:
        """Use the files of secrets and passwords as they are; ``now`` is in loop time.

        Secrets that the scheme cannot use are not taken, and those of before stay.
        """
        if not self._files.refresh(now):
            return
        self.credentials = self._credentials()
        secrets = _encoded(self._files.found)
        try:
            self.protocol.check_secrets(secrets)
        except ValueError as error:
            logger.warning("endpoint %s: %s The old secrets stay in use", self.name, error)
        else:
            self.secrets = secrets

    def about(self) -> dict[str, Any]:
        """Return what logs and recent errors name of a request."""
        return {
            "virtual_host": self.virtual_host,
            "exchange": self.exchange,
            "user": self.credentials.name,
            "endpoint": self.name,
        }

    def _credentials(self) -> Credentials:
        return Credentials(self.settings.username, self._files.found.password)


class WebhookEndpoints:
    """All endpoints, by their raw path and in the order of the settings."""

    def __init__(self, by_path: Mapping[bytes, WebhookEndpoint]) -> None:
        self._by_path = by_path

    @classmethod
    def of(cls, settings: Sequence[Webhook], files: Sequence[WebhookFiles]) -> "WebhookEndpoints":
        """Return the endpoints of the settings, whose files were read before."""
        return cls(
            {
                each.path.encode(): WebhookEndpoint(each, its)
                for each, its in zip(settings, files, strict=True)
            }
        )

    def __iter__(self) -> Iterator[WebhookEndpoint]:
        """Iterate over the endpoints."""
        return iter(self._by_path.values())

    def find(self, path: bytes) -> WebhookEndpoint | None:
        """Return the endpoint with exactly this path."""
        return self._by_path.get(path)

    def refresh(self, now: float) -> None:
        """Use the files of all endpoints as they are. Call this often; ``now`` is in loop time."""
        for each in self:
            each.refresh(now)

    def hides(self, url: bytes) -> WebhookEndpoint | None:
        """Return the endpoint whose path a URL has, or the beginning of it.

        The URL is that of a request which could not be read. It may have a scheme and a host,
        and may be cut off.
        """
        if not url.startswith(b"/"):
            _, _, rest = url.partition(b"://")
            url = rest[rest.find(b"/") :] if b"/" in rest else b""
        path = url.partition(b"?")[0].partition(b"#")[0]
        if (found := self.find(path)) is not None or len(path) < 2:
            return found
        starting = (each for known, each in self._by_path.items() if known.startswith(path))
        return next(starting, None)


OUTCOMES = (
    Outcome.CONFIRMED.value,
    HANDSHAKE,
    *(outcome.value for outcome in Outcome if outcome not in (
        Outcome.CONFIRMED, Outcome.UNAUTHORIZED, Outcome.FORBIDDEN, Outcome.NOT_FOUND,
        Outcome.VIRTUAL_HOST_NOT_FOUND, Outcome.EXCHANGE_NOT_FOUND, Outcome.TOO_MANY_FAILURES,
    )),
)  # fmt: skip
"""What a request to an endpoint can come to."""


def wrong_with(webhooks: Sequence[Webhook]) -> Iterator[Wrong]:
    """Yield what makes settings of the right types no endpoint, such as a wrong template."""
    for i, each in enumerate(webhooks):
        try:
            Endpoint(each).check_secrets(_encoded(WebhookFiles(each, path_of(i)).found))
        except ValueError as error:
            # The sentence begins with the name of a setting.
            setting, _, what = str(error).partition(" ")
            yield f"{path_of(i)}.{setting}", "", what.removesuffix(".")
        except FileError as error:  # it was readable a moment ago
            yield error.setting, "", error.reason


def _encoded(found: Found) -> tuple[bytes, ...]:
    return tuple(secret.encode() for secret in found.secrets)
