"""What all client connections of one backend share: settings, caches, the date, the publisher."""

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sized

from ..broker.publisher import Publisher
from ..config.settings import HTTPServer, Listener
from ..config.settings import Publish as PublishSettings
from ..message import Credentials, Outcome
from ..telemetry.histogram import Histogram
from ..telemetry.history import Sample
from ..telemetry.recent_errors import RecentErrors
from ..telemetry.requests import RequestStatistics
from ..telemetry.scoreboard import Board, Page
from . import response
from .access import AccessLog
from .client_address import UNIX_SOCKET, Headers, Peers, networks_of
from .cors import Origins
from .defaults import defaults_of
from .errors import RequestError
from .known_heads import REQUEST_ID, KnownHeads
from .recorder import Recorder, Settings
from .request import parse_authorization, wait_seconds
from .router import Router

CACHED_CREDENTIALS = 4096
GUEST = "guest"  # the user whom RabbitMQ lets in over loopback only

_REQUEST_ID = re.compile(REQUEST_ID)


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
        self.lag = Histogram()  # of the event loop
        self.recorder = Recorder(publisher, statistics)
        self.recent_errors = RecentErrors(str(port))
        self.config_hash = ""
        self.config_loaded_at = 0.0  # seconds of Unix time
        self.board: Board | None = None  # where all backends of the parent leave their figures
        self.tell: Callable[[], None] = lambda: None  # leaves ours there
        self.client_connections: Sized = ()  # the open ones
        self.retry_after: dict[Outcome, int] = {}  # seconds, where a setting says so
        self.defaults = defaults_of(publish)
        self.origins = Origins(http_server.cors, strict=strict_origins)
        self.peers = Peers(
            xheaders=http_server.xheaders, trusted_proxies=http_server.trusted_proxies
        )
        self._page_networks = networks_of(http_server.pages.networks)
        self.heads = KnownHeads()
        self._credentials: dict[bytes, Credentials] = {}
        self._cache_key = os.urandom(32)
        self._id_prefix = os.urandom(6).hex().encode() + b"-"
        self._ids = 0
        self.date = b""
        self.confirmed = self.confirmed_last = b""  # see response.confirmed

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

    def check_guest(
        self, credentials: Credentials, client: tuple[str, int] | None, headers: Headers
    ) -> None:
        """RabbitMQ lets ``guest`` in over loopback only, and we are loopback to it.

        ``client``: the peer's address and port; None over a Unix socket, or where
        it was gone before it was looked at. Raises RequestError.
        """
        if credentials.username != GUEST or self.publish.allow_remote_guest:
            return
        if not self.peers.is_loopback(self._peer(client), headers):
            raise RequestError(
                Outcome.FORBIDDEN, "The user guest may publish from this machine only."
            )

    def may_see_pages(self, client: tuple[str, int] | None, headers: Headers) -> bool:
        """Whether HTTPServer.pages.networks has the client, who is as in ``check_guest``."""
        networks = self._page_networks
        return not networks or self.peers.is_within(networks, self._peer(client), headers)

    def _peer(self, client: tuple[str, int] | None) -> str:
        if isinstance(self.port, str):
            return UNIX_SOCKET
        return client[0] if client is not None else ""

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

    def set_date(self, date: bytes) -> None:
        """Take the time of this second, and make of it the usual answers."""
        self.date = date
        self.confirmed = response.confirmed(date, keep_alive=True)
        self.confirmed_last = response.confirmed(date, keep_alive=False)

    def connections(self) -> int:
        """Open client connections."""
        return len(self.client_connections)

    def pages(self) -> list[Page]:
        """What all backends of this parent have counted; without a parent there are none."""
        self.tell()
        return [] if self.board is None else self.board.pages()

    def figures(self) -> Sample:
        """Those of this moment."""
        return self.recorder.now(self._settings())

    def record(self, second: int) -> None:
        """Leave in the history what was counted since the last second that was left there."""
        if self.board is not None:
            self.board.record(self.port, second, self.recorder.finish(self._settings()))

    def look_at_the_second(self) -> None:
        """A few times a second: leave it in the history when it is over."""
        second = self.recorder.second_over()
        if second is not None:
            self.record(second)
        if self.board is not None and self.board.is_watched:
            self.publisher.look_at_broker()

    def watch(self) -> None:
        """Somebody looks at the figures: all backends keep looking at the broker for a while."""
        if self.board is not None:
            self.board.watch()
        self.publisher.look_at_broker()

    def _settings(self) -> Settings:
        return Settings(self.config_loaded_at, self.draining, self.connections())
