"""The raw path of a request -> what answers it.

Matched before percent-decoding, so that a virtual host or a routing key may
contain ``%2F``; the whole path has to match, as Tornado has it.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from .errors import RequestError
from .request import Target, decode_target

ASGIApp = Callable[..., Any]

BUILT_IN_PUBLISH = "/([^/]+)/([^/]*)/([^/]*)"
BATCH = "/([^/]+)/([^/]+)"

CACHED_PATH = 512  # bytes; longer paths are matched each time
CACHED_PATHS = 4096


class Match(msgspec.Struct, frozen=True):
    """Where to publish, or why not; and which page answers (what is not a POST, if both).

    ``is_batch``: the page publishes, and takes the target from here.
    """

    target: Target | None = None
    refusal: RequestError | None = None
    page: ASGIApp | None = None
    is_batch: bool = False

    @property
    def publishes(self) -> bool:
        return not self.is_batch and (self.target is not None or self.refusal is not None)


class Rule(msgspec.Struct, frozen=True):
    """A pattern, and the page it leads to; without a page it publishes."""

    pattern: re.Pattern[bytes]
    page: ASGIApp | None


class Router:
    """Tries the rules in order; ``match`` remembers the short paths."""

    def __init__(self, rules: Sequence[tuple[str, ASGIApp | None]]) -> None:
        self._rules = [Rule(re.compile(pattern.encode()), page) for pattern, page in rules]
        self._cache: dict[bytes, Match] = {}

    def match(self, path: bytes) -> Match:
        """``path``: as it was sent, without the query. No rule: a match without anything."""
        found = self._cache.get(path)
        if found is None:
            found = self._match(path)
            if len(path) <= CACHED_PATH:
                if len(self._cache) >= CACHED_PATHS:
                    self._cache.clear()
                self._cache[path] = found
        return found

    def _match(self, path: bytes) -> Match:
        publish: Match | None = None
        for rule in self._rules:
            match = rule.pattern.fullmatch(path)
            if match is None:
                continue
            if getattr(rule.page, "takes_messages", False):
                batch = self._publish(match)
                return msgspec.structs.replace(batch, page=rule.page, is_batch=True)
            if rule.page is not None:
                return msgspec.structs.replace(publish or Match(), page=rule.page)
            if publish is None:
                publish = self._publish(match)
        return publish or Match()

    @staticmethod
    def _publish(match: re.Match[bytes]) -> Match:
        try:
            virtual_host, exchange, *keys = (group or b"" for group in match.groups())
            return Match(target=decode_target(virtual_host, exchange, *keys))
        except RequestError as error:
            return Match(refusal=error)
