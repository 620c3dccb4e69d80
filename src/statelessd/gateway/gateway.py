"""What all client connections of one backend share: settings, caches, date and publisher."""

import asyncio
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..config.settings import HTTPServer, Listener
from ..config.settings import Publish as PublishSettings
from ..http1.budget import Account, Budget
from ..http1.places import Places
from ..message import Credentials, Outcome
from ..telemetry.recent_errors import RecentErrors
from ..telemetry.requests import RequestStatistics
from . import response
from .access import AccessLog
from .admission import Admission
from .broker import Broker
from .client_address import Client, ClientAddress, Headers, networks_of
from .cors import CorsPolicy
from .defaults import defaults_of
from .failure_log import FailureLog
from .hosts import Hosts
from .known_heads import REQUEST_ID, KnownHeads
from .request import wait_seconds
from .router import Router
from .slices import Slices

if TYPE_CHECKING:
    from .tracing import Tracer

_REQUEST_ID = re.compile(REQUEST_ID)


class Gateway:
    """What all client connections of one backend share."""

    def __init__(
        self,
        http_server: HTTPServer,
        publish: PublishSettings,
        *,
        port: Listener,
        publisher: Broker,
        router: Router,
        loop: asyncio.AbstractEventLoop,
        strict_origins: bool = False,
        on_loopback: bool = False,
        access_log: int = 0,
        tracer: "Tracer | None" = None,
    ) -> None:
        self.http_server = http_server
        self.max_body_bytes = http_server.max_body_bytes
        self.publish = publish
        self.port = port
        self.publisher = publisher
        self.router = router
        self.statistics = RequestStatistics()
        self.loop = loop
        self.access = AccessLog(access_log) if access_log else None
        self.tracer = tracer
        self.is_watched = self.access is not None or tracer is not None
        self.draining = False
        self.recent_errors = RecentErrors(str(port))
        self.failures = FailureLog()
        # Those of the server, once there is one.
        self.places = Places(http_server.max_connections)
        self.budget = Budget(http_server.max_unverified_bytes)
        self.retry_after: dict[Outcome, int] = {}  # seconds, where a setting says so
        self.defaults = defaults_of(publish)
        self.cors = CorsPolicy(http_server.cors, strict=strict_origins)
        self._client_address = ClientAddress(
            xheaders=http_server.xheaders,
            trusted_proxies=http_server.trusted_proxies,
            over_unix_socket=isinstance(port, str),
        )
        self.admission = Admission(
            self.cors,
            Hosts(http_server.hosts, http_server.cors.origins),
            self._client_address,
            allow_remote_guest=publish.allow_remote_guest,
            on_loopback=on_loopback,
        )
        self._page_networks = networks_of(http_server.pages.networks)
        self.heads = KnownHeads()
        self.slices = Slices()
        self._id_prefix = os.urandom(6).hex().encode() + b"-"
        self._ids = 0
        self.date = b""
        self.confirmed = self.confirmed_last = b""  # see response.confirmed

    def may_see_pages(self, client: Client, headers: Headers) -> bool:
        """Return whether HTTPServer.pages.networks has the client."""
        networks = self._page_networks
        return not networks or self._client_address.is_within(networks, client, headers)

    def origin(self, client: Client, headers: Headers) -> str:
        """Return where a client is, to be fair between clients."""
        return self._client_address.origin(client, headers)

    def wait(self, headers: Mapping[bytes, bytes]) -> float:
        """Return the seconds for each message of a request, which may ask for less or more."""
        wait = wait_seconds(headers[b"prefer"]) if b"prefer" in headers else None
        limits = self.publish
        return limits.timeout if wait is None else min(wait, limits.max_timeout)

    def account(self, virtual_host: str, credentials: Credentials) -> Account:
        """Return where the bytes of a sender's body count while it arrives.

        Senders whom the broker knows have an account that no other sender can fill.
        """
        known = self.publisher.is_connected(virtual_host, credentials)
        return self.publisher if known else self.budget

    def request_id(self, headers: dict[bytes, bytes]) -> bytes:
        """Return the client's X-Request-ID, or one of our own."""
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        self._ids += 1
        return self._id_prefix + b"%x" % self._ids

    def failed(
        self,
        outcome: Outcome,
        detail: str,
        *,
        handed_over: bool = False,
        request_id: bytes = b"",
        is_item: bool = False,
        reason: str = "",
        **about: str,
    ) -> None:
        """Keep among the recent errors, and in the log, what a client is told.

        ``about`` has the virtual host, the exchange, the user and the webhook endpoint, as far
        as they are known. The log has ``reason`` instead of the detail, if there is one.
        """
        self.recent_errors.add(
            outcome, detail, handed_over=handed_over, request_id=request_id, **about
        )
        self.failures.add(
            outcome,
            reason or detail,
            handed_over=handed_over,
            request_id=request_id,
            is_item=is_item,
            **about,
        )

    def set_date(self, date: bytes) -> None:
        """Take the date of this second, and prepare the usual responses with it."""
        self.date = date
        self.confirmed = response.confirmed(date, keep_alive=True)
        self.confirmed_last = response.confirmed(date, keep_alive=False)
