"""What a message gets that its client did not give: defaults, stamps and trace context.

Defaults come from the settings. Stamps and trace context (W3C) belong to the request, and
each of its messages gets them unless it has its own.
"""

import time
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from ..config.settings import Publish
from .properties import text

TRACE_HEADERS = (b"traceparent", b"tracestate", b"baggage")
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
    """What one request adds to its messages. ``key`` is its Idempotency-Key, or None."""

    defaults: Defaults
    trace: dict[str, str]
    key: str | None = None

    def add_to(self, fields: dict[str, Any], index: int | None = None) -> str | None:
        """Add to a message's fields; ``index`` is its number in a batch. Return a new id."""
        if self.trace:
            fields["headers"] = {**self.trace, **fields.get("headers", {})}
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


def stamps_of(headers: Mapping[bytes, bytes], defaults: Defaults) -> Stamps | None:
    """Return what the request adds to its messages, or None. Raise RequestError if not UTF-8."""
    if not inherits(headers, defaults):
        return None
    trace = {
        name.decode(): text(name.decode(), headers[name])
        for name in TRACE_HEADERS
        if headers.get(name)
    }
    return Stamps(defaults, trace, _idempotency_key(headers) if defaults.message_id else None)


def _idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key, in quotes (RFC 8941) or without, as many clients send it."""
    key = text("Idempotency-Key", headers.get(IDEMPOTENCY_KEY, b"")).strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    return key or None
