"""What a message gets that its client did not give: defaults, stamps and request headers.

Defaults come from the settings. Stamps, trace context (W3C), forwarded headers and the
Idempotency-Key belong to the request, and each of its messages gets them unless it has its own.
"""

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config.header_names import OF_TRACE
from ..config.settings import Publish
from ..message import Public, bad_request
from .properties import text
from .trace_context import MessageSpan, as_headers, context_of

PARENT, BAGGAGE = "traceparent", "baggage"
IDEMPOTENCY_KEY = b"idempotency-key"
OF_BODY = (b"content-type", b"content-encoding")  # they say what a form or batch is
OF_REQUEST = (b"traceparent", b"tracestate", b"baggage", IDEMPOTENCY_KEY)
LONGEST_ID = 255  # bytes of a message_id

# A string of RFC 8941 section 3.3.3, perhaps with parameters. Only quotes and backslashes
# are escaped in it; another backslash stays, because clients do not escape all of them.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"(?:\s*;.*)?', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\])')


@dataclass(frozen=True, eq=False)
class Defaults:
    """What the settings add to messages: values, three stamps, and headers of the request.

    ``forwarded`` has names of request headers in lower case, and their spelling in messages.
    ``taken`` are the names of all request headers that may add something.
    """

    mandatory: bool = False
    delivery_mode: int = 2
    message_id: bool = False
    timestamp: bool = False
    app_id: str | None = None
    forwarded: tuple[tuple[bytes, str], ...] = ()
    taken: frozenset[bytes] = frozenset(OF_REQUEST)
    cloudevents_prefix: str = "ce-"


def defaults_of(settings: Publish) -> Defaults:
    """Return the defaults that the settings ask for."""
    forwarded = tuple(
        (name.lower().encode(), name)
        for name in settings.forward_headers
        if name.lower() not in OF_TRACE
    )
    return Defaults(
        settings.mandatory,
        2 if settings.persistent else 1,
        settings.stamp_message_id,
        settings.stamp_timestamp,
        settings.stamp_app_id,
        forwarded,
        frozenset({*OF_REQUEST, *(name for name, _ in forwarded)}),
        settings.cloudevents_prefix,
    )


@dataclass(frozen=True)
class Stamps:
    """What one request adds to its messages. ``key`` is its Idempotency-Key, or None.

    ``span`` is told what the message is called. It is None without tracing.
    """

    defaults: Defaults
    trace: dict[str, str]
    key: str | None = None
    forwarded: dict[str, str] = field(default_factory=dict)
    span: MessageSpan | None = None

    def add_to(self, fields: dict[str, Any], index: int | None = None) -> str | None:
        """Add to a message's fields; ``index`` is its number in a batch. Return a new id.

        Raise RequestError if the Idempotency-Key is too long for an id.
        """
        stamped = self._stamp(fields, index)
        if self.span is not None:
            self.span.describe(fields)
        own, added = fields.get("headers", {}), self.trace
        if PARENT in own:  # the tracestate of another parent is not this one's
            added = {name: added[name] for name in added if name == BAGGAGE}
        if self.forwarded:
            names = {name.lower() for name in own}  # of HTTP they are the same in any case
            added = {n: v for n, v in self.forwarded.items() if n.lower() not in names} | added
        if added:
            fields["headers"] = {**added, **own}
        return stamped

    def _stamp(self, fields: dict[str, Any], index: int | None) -> str | None:
        defaults = self.defaults
        if defaults.timestamp and "timestamp" not in fields:
            fields["timestamp"] = str(int(time.time()))
        if defaults.app_id is not None and "app_id" not in fields:
            fields["app_id"] = defaults.app_id
        if "message_id" in fields or not (defaults.message_id or self.key is not None):
            return None
        stamped = str(uuid.uuid4())
        if self.key is not None:
            # A retry of the same request gives the same messages the same ids.
            stamped = self.key if index is None else f"{self.key}-{index}"
            if len(stamped.encode()) > LONGEST_ID:
                raise bad_request(
                    Public(
                        "The message_id from the Idempotency-Key is longer than "
                        f"{LONGEST_ID} bytes."
                    )
                )
        fields["message_id"] = stamped
        return stamped


def inherits(headers: Mapping[bytes, bytes], defaults: Defaults) -> bool:
    """Return whether the request adds anything to its messages. Most do not."""
    return (
        defaults.message_id
        or defaults.timestamp
        or defaults.app_id is not None
        or not defaults.taken.isdisjoint(headers)
    )


def stamps_of(
    headers: Mapping[bytes, bytes],
    defaults: Defaults,
    span: MessageSpan | None = None,
    *,
    is_raw: bool = True,
) -> Stamps | None:
    """Return what the request adds to its messages, or None. Raise RequestError if not UTF-8.

    With a ``span``, messages carry its trace context, and otherwise that of the request.
    ``is_raw`` tells whether the request's body is the message's.
    """
    if span is None and not inherits(headers, defaults):
        return None
    if span is not None:
        trace = dict(span.headers)
    else:
        parent, state = context_of(headers)
        trace = as_headers("" if parent is None else parent.text, state)
    if baggage := headers.get(b"baggage"):
        trace[BAGGAGE] = text(BAGGAGE, baggage)
    forwarded = {
        spelled: text(spelled, headers[name])
        for name, spelled in defaults.forwarded
        if headers.get(name) and (is_raw or name not in OF_BODY)
    }
    return Stamps(defaults, trace, idempotency_key(headers), forwarded, span)


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key, in quotes as its draft has it or without, as many clients send it."""
    key = text("Idempotency-Key", headers.get(IDEMPOTENCY_KEY, b"")).strip()
    if quoted := _QUOTED.fullmatch(key):
        key = _ESCAPE.sub(r"\1", quoted[1])
    return key or None
