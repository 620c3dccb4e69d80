"""What a message gets that its client did not give: defaults, stamps and trace context.

Defaults come from the settings. Stamps and trace context (W3C) belong to the request, and
each of its messages gets them unless it has its own.
"""

import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..config.settings import Publish
from .properties import text
from .trace_context import as_headers, context_of

if TYPE_CHECKING:
    from .tracing import PublishSpan

PARENT, BAGGAGE = "traceparent", "baggage"
IDEMPOTENCY_KEY = b"idempotency-key"


class Defaults(msgspec.Struct, frozen=True):
    """The settings that apply if the client gives no value. The last three are stamps."""

    mandatory: bool = False
    delivery_mode: int = 2
    message_id: bool = False
    timestamp: bool = False
    app_id: str | None = None

    @property
    def stamps(self) -> bool:
        """Return whether messages are stamped at all."""
        return self.message_id or self.timestamp or self.app_id is not None


def defaults_of(settings: Publish) -> Defaults:
    """Return the defaults that the settings ask for."""
    return Defaults(
        settings.mandatory,
        2 if settings.persistent else 1,
        settings.stamp_message_id,
        settings.stamp_timestamp,
        settings.stamp_app_id,
    )


class Stamps(msgspec.Struct, frozen=True):
    """What one request adds to its messages. ``key`` is its Idempotency-Key, or None.

    ``span`` is told what the message is called. It is None without tracing.
    """

    defaults: Defaults
    trace: dict[str, str]
    key: str | None = None
    span: "PublishSpan | None" = None

    def add_to(self, fields: dict[str, Any], index: int | None = None) -> str | None:
        """Add to a message's fields; ``index`` is its number in a batch. Return a new id."""
        stamped = self._stamp(fields, index)
        own = fields.get("headers", {})
        if self.span is not None:
            self.span.describe(fields)
        if PARENT not in own:
            added = self.trace
        else:  # the tracestate of another parent is not this one's
            added = {name: self.trace[name] for name in self.trace if name == BAGGAGE}
        if added:
            fields["headers"] = {**added, **own}
        return stamped

    def _stamp(self, fields: dict[str, Any], index: int | None) -> str | None:
        defaults = self.defaults
        if defaults.timestamp and "timestamp" not in fields:
            fields["timestamp"] = str(int(time.time()))
        if defaults.app_id is not None and "app_id" not in fields:
            fields["app_id"] = defaults.app_id
        if not defaults.message_id or "message_id" in fields:
            return None
        stamped = str(uuid.uuid4())
        if self.key is not None:
            # A retry of the same request gives the same messages the same ids.
            stamped = self.key if index is None else f"{self.key}-{index}"
        fields["message_id"] = stamped
        return stamped


def inherits(headers: Mapping[bytes, bytes], defaults: Defaults) -> bool:
    """Return whether the request adds anything to its messages. Most do not."""
    return (
        defaults.stamps
        or b"traceparent" in headers
        or b"tracestate" in headers
        or b"baggage" in headers
    )


def stamps_of(
    headers: Mapping[bytes, bytes], defaults: Defaults, span: "PublishSpan | None" = None
) -> Stamps | None:
    """Return what the request adds to its messages, or None. Raise RequestError if not UTF-8.

    With a ``span``, messages carry its trace context, and otherwise that of the request.
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
    key = _idempotency_key(headers) if defaults.message_id else None
    return Stamps(defaults, trace, key, span)


def _idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key, in quotes (RFC 8941) or without, as many clients send it."""
    key = text("Idempotency-Key", headers.get(IDEMPOTENCY_KEY, b"")).strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    return key or None
