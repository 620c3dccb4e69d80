"""What all client connections of one backend share: settings, caches, the date, the publisher."""

import asyncio
import enum
import hashlib
import os
from typing import Any

from ..broker.publisher import Publisher
from ..config import HTTPServer
from ..config import Publish as PublishSettings
from ..message import Credentials, Outcome
from . import response
from .peers import Peers
from .request import Defaults, parse_authorization
from .router import Router
from .statistics import RequestStatistics

GOODBYE_SECONDS = 2.0  # how long to read on after an answer that ends a connection
CACHED_CREDENTIALS = 4096


class Waiting(enum.Enum):
    """What a client connection waits for; each has a time-out of its own."""

    REQUEST = "request"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    READER = "reader"  # the client does not read its answers
    GOODBYE = "goodbye"  # answered for the last time, and reading what still arrives


class Gateway:
    """What all client connections of one backend share."""

    def __init__(
        self,
        http_server: HTTPServer,
        publish: PublishSettings,
        *,
        port: int,
        publisher: Publisher,
        router: Router,
        statistics: RequestStatistics,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.http_server = http_server
        self.publish = publish
        self.port = port
        self.publisher = publisher
        self.router = router
        self.statistics = statistics
        self.loop = loop
        self.draining = False
        self.retry_after: dict[Outcome, int] = {}  # seconds, where a setting says so
        self.defaults = Defaults(publish.mandatory, 2 if publish.persistent else 1)
        self.peers = Peers(
            xheaders=http_server.xheaders, trusted_proxies=http_server.trusted_proxies
        )
        self.timeouts: dict[Waiting, float] = {
            Waiting.REQUEST: http_server.idle_timeout,
            Waiting.HEAD: http_server.header_timeout,
            Waiting.BODY: http_server.body_timeout,
            Waiting.READER: http_server.body_timeout,
            Waiting.GOODBYE: GOODBYE_SECONDS,
        }
        self._credentials: dict[bytes, Credentials] = {}
        self._cache_key = os.urandom(32)
        self._date_seen: object = None
        self.date = b""
        self.confirmed = b""

    def credentials(self, authorization: bytes | None) -> Credentials:
        """Parsed once for each header value, found by its keyed digest. Raises RequestError."""
        if authorization is None:
            return parse_authorization(None)
        digest = hashlib.blake2b(authorization, key=self._cache_key, digest_size=16).digest()
        found = self._credentials.get(digest)
        if found is None:
            found = parse_authorization(authorization)
            if len(self._credentials) >= CACHED_CREDENTIALS:
                self._credentials.clear()
            self._credentials[digest] = found
        return found

    def refresh(self, default_headers: list[tuple[bytes, bytes]]) -> None:
        """uvicorn makes a new list of default headers each second: the date has changed."""
        if default_headers is not self._date_seen:
            self._date_seen = default_headers
            self.date = dict(default_headers).get(b"date", b"")
            self.confirmed = response.render(Outcome.CONFIRMED, "", keep_alive=True, date=self.date)

    def sweep(self, connections: set[Any]) -> None:
        """A few times a second: let each connection look at the time."""
        now = self.loop.time()
        for connection in list(connections):
            connection.look_at_the_time(now)
