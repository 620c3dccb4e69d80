"""Answers the requests with which services find out whether an endpoint wants their events.

They publish nothing. Slack's and Event Grid's are deliveries like others, and verified before
they come here.
"""

from collections.abc import Sequence

import msgspec

from ..message import Public, bad_request
from .delivery import Delivery, Reply
from .signatures import invalid, is_same
from .source import Source

LONGEST = 64 * 1024  # bytes of a body that may be a handshake; more is not looked at
TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")
XML = (b"content-type", b"text/xml; charset=utf-8")
# The body repeats what the request said, and no browser may take it for a page.
NO_SNIFF = (b"x-content-type-options", b"nosniff")
EMPTY_TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


class _SlackEvent(msgspec.Struct):
    type: str
    challenge: str


class _Validation(msgspec.Struct):
    validationCode: str  # noqa: N815 - the name is Microsoft's


class _GridEvent(msgspec.Struct):
    data: _Validation


_slack_event = msgspec.json.Decoder(_SlackEvent).decode
_grid_events = msgspec.json.Decoder(list[_GridEvent]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


def slack(delivery: Delivery) -> Reply | None:
    """Return the response to ``url_verification``, or None if the delivery is another event."""
    if len(delivery.body) > LONGEST or b"url_verification" not in delivery.body:
        return None
    try:
        event = _slack_event(delivery.body)
    except _UNREADABLE:
        return None
    if event.type != "url_verification":
        return None
    return Reply(200, (TEXT, NO_SNIFF), event.challenge.encode())


def event_grid(delivery: Delivery) -> Reply | None:
    """Return the response to Azure Event Grid's validation, or None if it is another delivery.

    Raise RequestError if the validation cannot be read.
    """
    if delivery.headers.get(b"aeg-event-type", b"").strip().lower() != b"subscriptionvalidation":
        return None
    try:
        events = _grid_events(delivery.body) if len(delivery.body) <= LONGEST else []
    except _UNREADABLE:
        events = []
    if not events:
        raise bad_request(Public("The event of Event Grid's validation has no validationCode."))
    document = msgspec.json.encode({"validationResponse": events[0].data.validationCode})
    return Reply(200, (JSON, NO_SNIFF), document)


def meta(source: Source, verify_token: str) -> Reply:
    """Return the response to Meta's GET. Raise RequestError if its verify token is another."""
    token = source.query(b"hub.verify_token") or b""
    is_known = is_same(token, verify_token.encode())
    if not is_known or source.query(b"hub.mode") != b"subscribe":
        raise invalid()
    return Reply(200, (TEXT, NO_SNIFF), source.query(b"hub.challenge") or b"")


def cloud_events(source: Source, allowed_origins: Sequence[str], methods: Sequence[str]) -> Reply:
    """Return the response to OPTIONS (CloudEvents' HTTP 1.1 Web Hooks, section 4).

    A sender may deliver if, and only if, the response names its origin.
    """
    fields = [(b"allow", ", ".join(methods).encode())]
    origin = source.header(b"webhook-request-origin").lower()
    if origin and "*" in allowed_origins:
        fields.append((b"webhook-allowed-origin", b"*"))
    elif origin and origin in [each.lower().encode() for each in allowed_origins]:
        fields.append((b"webhook-allowed-origin", source.header(b"webhook-request-origin")))
    if len(fields) > 1:
        # What is in flight is bounded, and not the rate.
        fields.append((b"webhook-allowed-rate", b"*"))
    return Reply(200, tuple(fields))
