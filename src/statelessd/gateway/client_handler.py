"""Decides what answers the requests of one client connection: a publish, or a page."""

import contextlib
import functools
from typing import Any, Final

from ..http1.asgi import Bridge
from ..http1.budget import Account
from ..http1.connection import Connection
from ..http1.fields import announces_body
from ..http1.handler import Handler, RequestHandler
from ..http1.limits import Limits
from ..http1.reader import Request
from ..http1.response import Response
from ..http1.shared import Shared
from ..message import Outcome, Public, RequestError
from .admission import GUEST
from .client_address import Client as Peer
from .gateway import Gateway
from .known_heads import NOWHERE, Head, Repeat
from .publishing import Asker, PublishRequest
from .request import message_reader
from .router import Match
from .webhook import WebhookEndpoint
from .webhook_request import WebhookRequest

REQUEST_ID = b"x-request-id"
MISSES: Final = 20  # publishes with new heads, after which heads of a connection are not compared
SELDOM: Final = 16  # after that, one publish of so many is looked up
ONLY_POST = Public("Use POST to publish a message.")


class ClientHandler(Handler, Asker):
    """The ``Handler`` of one connection. ``pages`` answers everything but publishes."""

    __slots__ = ("_connection", "_known", "_misses", "_pages", "_repeat", "gateway", "url")

    def __init__(self, gateway: Gateway, pages: Bridge, connection: Connection) -> None:
        self.gateway = gateway
        self._pages = pages
        self._connection = connection
        self._repeat: Repeat | None = None  # the head that is expected again
        self._known: Repeat | None = None  # the last one that was found among the gateway's
        self._misses = 0  # publishes in a row that did not repeat the last one's head
        self.url = b""  # of a request that could not be read

    # The hot path. The same bytes have the same meaning, and were parsed and checked before.

    def shortcut(self, data: bytes) -> bool:
        """Publish ``data`` if it is one whole request with a head that is known."""
        repeat = self._repeat
        if repeat is not None:
            body = repeat.body_of(data)
            if body is not None and self._publish(repeat.head, body, b""):
                return True
            self._repeat = None
        # With many users in turn, heads repeat, but after more than MISSES publishes.
        if self._misses >= MISSES and self._misses % SELDOM:
            return False
        known = self.gateway.heads.find(data)
        if known is None:
            return False
        repeat, body, request_id = known
        if not self._publish(repeat.head, body, request_id):
            return False
        # If heads take turns on this connection, comparing with the last one is in vain.
        self._repeat = repeat if repeat is self._known and not request_id else None
        self._known = repeat
        return True

    def _publish(self, head: Head, body: bytes, request_id: bytes) -> bool:
        gateway = self.gateway
        if len(body) > gateway.max_body_bytes:
            return False
        gateway.statistics.began("POST")
        self._misses = 0
        request = PublishRequest(self, head, request_id)
        request.response = self._connection.begin(request, head.keep_alive)
        request.submit(body)
        return True

    def remember(self, publish: PublishRequest, request: Request, size: int) -> None:
        """Remember this head, which came with a body of ``size`` bytes, if heads repeat here."""
        self._misses += 1
        if self._misses < MISSES and request.raw and b"expect" not in request.headers:
            self._repeat = Repeat.of(publish.head, request.raw, size)
            head, gateway = publish.head, self.gateway
            user, virtual_host = head.credentials, head.target.virtual_host
            # The gateway's heads are compared without their ids.
            has_id = REQUEST_ID in request.headers and REQUEST_ID in gateway.defaults.taken
            # Whether guest may publish depends on the client's address. Heads of senders whom
            # the broker does not know would displace those of users.
            if (
                user.username != GUEST
                and request.version == "1.1"
                and not has_id
                and gateway.publisher.is_connected(virtual_host, user)
            ):
                gateway.heads.add(head, request.raw, size)

    def on_idle(self) -> None:
        """Forget the last heads. The gateway knows those that are small."""
        self._repeat = self._known = None

    # What was parsed

    def on_head(self, request: Request, response: Response) -> RequestHandler:
        """Begin a publish, or leave the request to the pages."""
        match = self.gateway.router.match(request.path)
        if match.webhook is not None:
            return self._begin_webhook(request, response, match.webhook)
        is_post = request.method == "POST"
        if match.page is None:
            publishes = match.target is not None or match.publishes
        else:
            publishes = is_post and match.publishes
        if is_post and not request.has_length and announces_body(request.headers):
            # In HTTP it has no body, so bytes that follow would be taken for the next request.
            publishes = publishes or match.is_batch
            if publishes:
                response.close_after()
        if publishes:
            return self._begin_publish(request, response, match)
        if self.gateway.draining:
            response.keep_alive = False
        state: dict[str, Any] = {"match": match}
        if is_post and match.is_batch:
            state["account"] = self._account(request, match)
        return self._pages.begin(request, response, self, state)

    def _account(self, request: Request, match: Match) -> Account:
        """Return where the body of a batch counts. The batch is admitted, or refused, later."""
        gateway = self.gateway
        if match.target is None:
            return gateway.budget
        try:
            credentials = gateway.admission.credentials_of(request.headers)
        except RequestError:
            return gateway.budget
        return gateway.account(match.target.virtual_host, credentials)

    def _begin_publish(self, request: Request, response: Response, match: Match) -> PublishRequest:
        gateway, headers = self.gateway, request.headers
        gateway.statistics.began(request.method)
        head = Head(headers, response.keep_alive, match.target or NOWHERE)
        publish = PublishRequest(self, head)
        publish.response = response
        publish.request = request
        if request.method != "POST":
            self._refuse_method(publish, request)
            return publish
        if gateway.admission.may_be_a_page(headers):
            publish.extra = head.extra = gateway.cors.answer_headers(headers)
        try:
            largest = gateway.max_body_bytes
            head.credentials = gateway.admission.admit(
                headers,
                largest,
                match.refusal,
                self.peer,
                request.fields,
            )
            head.reader = message_reader(
                head.target,
                headers,
                request.query,
                gateway.defaults,
                largest,
                traced=gateway.tracer is not None,
            )
            head.wait = gateway.wait(headers) if b"prefer" in headers else gateway.publish.timeout
        except RequestError as error:
            publish.answer(error.outcome, error.detail)
        else:
            if request.expects_continue:
                response.send_continue()
        return publish

    def _begin_webhook(
        self, request: Request, response: Response, endpoint: WebhookEndpoint
    ) -> WebhookRequest:
        is_post = request.method == "POST"
        if is_post and not request.has_length and announces_body(request.headers):
            response.close_after()  # as for a publish
        made = WebhookRequest(self, endpoint, response, request, request.headers)
        made.begin(request)
        return made

    def peer(self) -> Peer:
        """Return the address and port of the other end, if it has any."""
        _, client = self._connection.addresses()
        # An address of IPv6 has two more members.
        return (client[0], client[1]) if isinstance(client, tuple) else None

    def _refuse_method(self, publish: PublishRequest, request: Request) -> None:
        cors, headers = self.gateway.cors, request.headers
        if cors.is_preflight(request.method.encode(), headers):
            publish.extra = cors.preflight_headers(headers)
        elif b"origin" in headers:
            publish.extra = cors.answer_headers(headers)
        publish.answer(Outcome.METHOD_NOT_ALLOWED, ONLY_POST)

    def on_refused(
        self,
        response: Response,
        error: RequestError,
        url: bytes,
        headers: dict[bytes, bytes] | None = None,
    ) -> RequestHandler:
        """Answer a request that cannot be read, in the form of an answer to a publish."""
        endpoint = self.gateway.router.webhooks.hides(url)
        if endpoint is not None:  # its path must not be logged
            made = WebhookRequest(self, endpoint, response, None, headers or {})
            made.on_refused(error)
            return made
        self.url = url
        head = Head({}, keep_alive=False)
        if headers is not None:
            head.headers = headers
            self._identify(head, url)
        publish = PublishRequest(self, head)
        publish.response = response
        publish.answer(error.outcome, error.detail)
        return publish

    def _identify(self, head: Head, url: bytes) -> None:
        """Take into ``head`` what the log names of a request."""
        head.target = self.gateway.router.match(url.partition(b"?")[0]).target or NOWHERE
        with contextlib.suppress(RequestError):
            head.credentials = self.gateway.admission.credentials_of(head.headers)


def share(gateway: Gateway, pages: Bridge) -> Shared:
    """Return what all client connections of a backend share."""
    settings = gateway.http_server
    limits = Limits(
        max_connections=settings.max_connections,
        max_head_bytes=settings.max_header_bytes,
        max_head_fields=settings.max_header_fields,
        max_body_bytes=settings.max_body_bytes,
        max_unverified_bytes=settings.max_unverified_bytes,
        head_timeout=settings.header_timeout,
        body_timeout=settings.body_timeout,
        idle_timeout=settings.idle_timeout,
        linger_rate=settings.linger_rate,
        linger_timeout=settings.linger_timeout,
        max_lingering=settings.max_lingering,
        keep_alive=not settings.no_keep_alive,
    )
    make_handler = functools.partial(ClientHandler, gateway, pages)
    shared = Shared(limits, make_handler, gateway.loop, gateway.set_date)
    gateway.places = shared.places
    gateway.budget = shared.budget
    return shared
