"""What all client connections of one backend share: settings, caches, the date, the publisher."""

import asyncio
import enum
import os
import re
from collections.abc import Mapping
from typing import Any

from ..broker.publisher import Publisher
from ..config.settings import HTTPServer, Listener
from ..config.settings import Publish as PublishSettings
from ..message import Outcome
from ..telemetry.recent_errors import RecentErrors
from ..telemetry.requests import RequestStatistics
from . import response
from .access import AccessLog
from .admission import Admission
from .client_address import Client, ClientAddress, Headers, networks_of
from .cors import CorsPolicy
from .defaults import defaults_of
from .known_heads import REQUEST_ID, KnownHeads
from .request import wait_seconds
from .router import Router

GOODBYE_SECONDS = 2.0  # how long to read on after an answer that ends a connection

_REQUEST_ID = re.compile(REQUEST_ID)


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
        port: Listener,
        publisher: Publisher,
        router: Router,
        statistics: RequestStatistics,
        loop: asyncio.AbstractEventLoop,
        strict_origins: bool = False,
        access_log: int = 0,
    ) -> None:
        self.http_server = http_server
        self.publish = publish
        self.port = port
        self.publisher = publisher
        self.router = router
        self.statistics = statistics
        self.loop = loop
        self.access = AccessLog(access_log) if access_log else None
        self.draining = False
        self.recent_errors = RecentErrors(str(port))
        self.connection_alike: dict[str, Any] | None = None  # the attributes that all begin with
        self._connections: set[Any] = set()
        self.retry_after: dict[Outcome, int] = {}  # seconds, where a setting says so
        self.defaults = defaults_of(publish)
        self.cors = CorsPolicy(http_server.cors, strict=strict_origins)
        self._client_address = ClientAddress(
            xheaders=http_server.xheaders,
            trusted_proxies=http_server.trusted_proxies,
            over_unix_socket=isinstance(port, str),
        )
        self.admission = Admission(
            self.cors, self._client_address, allow_remote_guest=publish.allow_remote_guest
        )
        self._page_networks = networks_of(http_server.pages.networks)
        self.timeouts: dict[Waiting, float] = {
            Waiting.REQUEST: http_server.idle_timeout,
            Waiting.HEAD: http_server.header_timeout,
            Waiting.BODY: http_server.body_timeout,
            Waiting.READER: http_server.body_timeout,
            Waiting.GOODBYE: GOODBYE_SECONDS,
        }
        self.heads = KnownHeads()
        self._id_prefix = os.urandom(6).hex().encode() + b"-"
        self._ids = 0
        self.date_seen: object = None
        self.date = b""
        self.confirmed = self.confirmed_last = b""  # see response.confirmed

    def may_see_pages(self, client: Client, headers: Headers) -> bool:
        """Return whether HTTPServer.pages.networks has the client."""
        networks = self._page_networks
        return not networks or self._client_address.is_within(networks, client, headers)

    def wait(self, headers: Mapping[bytes, bytes]) -> float:
        """Seconds for each message of a request, which may ask for less or more."""
        wait = wait_seconds(headers[b"prefer"]) if b"prefer" in headers else None
        limits = self.publish
        return limits.timeout if wait is None else min(wait, limits.max_timeout)

    def request_id(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The client's X-Request-ID, or one of our own."""
        given = headers.get(b"x-request-id")
        # The parser leaves white space behind a value (RFC 9112 section 5.1).
        if given is not None and _REQUEST_ID.fullmatch(given := given.rstrip(b" \t")):
            return given
        self._ids += 1
        return self._id_prefix + b"%x" % self._ids

    def refresh(self, default_headers: list[tuple[bytes, bytes]]) -> None:
        """uvicorn makes a new list of default headers each second: the date has changed."""
        self.date_seen = default_headers
        self.date = dict(default_headers).get(b"date", b"")
        self.confirmed = response.confirmed(self.date, keep_alive=True)
        self.confirmed_last = response.confirmed(self.date, keep_alive=False)

    def connections(self) -> int:
        """Open client connections, at the last look."""
        return len(self._connections)

    def sweep(self, connections: set[Any]) -> None:
        """A few times a second: let each connection look at the time."""
        self._connections = connections
        now = self.loop.time()
        for connection in list(connections):
            connection.look_at_the_time(now)
