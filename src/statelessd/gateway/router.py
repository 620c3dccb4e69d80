"""Finds what answers a request by its raw path.

Paths are matched before percent-decoding, so that a virtual host or a routing key may
contain ``%2F``. A pattern has to match the whole path, as in Tornado.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..message import RequestError
from .target import Target, decode_target
from .webhook import WebhookEndpoint, WebhookEndpoints

ASGIApp = Callable[..., Any]

BUILT_IN_PUBLISH = "/([^/]+)/([^/]*)/([^/]*)"
BATCH = "/([^/]+)/([^/]+)"

NO_WEBHOOKS = WebhookEndpoints({})
CACHED_PATH = 512  # bytes; longer paths are matched each time
CACHED_PATHS = 4096


@dataclass(frozen=True)
class Match:
    """Where to publish or why not, and which page answers.

    If there are both, the page answers what is not a POST. With ``is_batch`` the page
    publishes, and takes the target from here. ``webhook`` answers all methods, and stands alone.
    """

    target: Target | None = None
    refusal: RequestError | None = None
    page: ASGIApp | None = None
    is_batch: bool = False
    webhook: WebhookEndpoint | None = None

    @property
    def publishes(self) -> bool:
        """Return whether a POST to this path publishes one message."""
        return not self.is_batch and (self.target is not None or self.refusal is not None)


class Router:
    """Tries rules in order: a pattern and its page, or None to publish. Short paths are kept.

    ``webhooks`` come first, by their whole path.
    """

    def __init__(
        self,
        rules: Sequence[tuple[str, ASGIApp | None]],
        webhooks: WebhookEndpoints = NO_WEBHOOKS,
    ) -> None:
        self.webhooks = webhooks
        self._rules = [(re.compile(pattern.encode()), page) for pattern, page in rules]
        self._cache: dict[bytes, Match] = {}

    def __repr__(self) -> str:
        return f"<Router of {len(self._rules)} rules, {len(self._cache)} paths are remembered>"

    def match(self, path: bytes) -> Match:
        """Return what ``path`` leads to: as it was sent, without the query."""
        found = self._cache.get(path)
        if found is None:
            found = self._match(path)
            if len(path) <= CACHED_PATH:
                if len(self._cache) >= CACHED_PATHS:
                    self._cache.clear()
                self._cache[path] = found
        return found

    def _match(self, path: bytes) -> Match:
        if (webhook := self.webhooks.find(path)) is not None:
            return Match(webhook=webhook)
        publish = Match()
        for pattern, page in self._rules:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if getattr(page, "takes_messages", False):
                return replace(_target(match), page=page, is_batch=True)
            if page is not None:
                return replace(publish, page=page)
            if not publish.publishes:
                publish = _target(match)
        return publish


def _target(match: re.Match[bytes]) -> Match:
    virtual_host, exchange, *keys = (group or b"" for group in match.groups())
    try:
        return Match(target=decode_target(virtual_host, exchange, *keys))
    except RequestError as error:
        return Match(refusal=error)
