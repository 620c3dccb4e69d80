"""W3C Trace Context: which ``traceparent`` and ``tracestate`` of a request count.

Levels 1 and 2 of https://www.w3.org/TR/trace-context/ agree on what is valid. What is not
valid is ignored, as if the request did not have it. A ``tracestate`` has no meaning without
a valid ``traceparent``.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

MOST_MEMBERS = 32  # of a tracestate (section 3.3.1.1)

# Version, trace-id, parent-id and flags (section 3.2.2). Later versions may add fields.
_PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?"
)
_MEMBER = re.compile(
    rb"([a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)


class Parent(NamedTuple):
    """The span that a request belongs to. ``text`` is its traceparent as it was sent."""

    text: str
    trace_id: int
    span_id: int
    flags: int


class MessageSpan(Protocol):
    """The span that the context of a message is taken from."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers for its messages."""

    def describe(self, fields: Mapping[str, Any]) -> None:
        """Take what a message is called."""


def parse_parent(value: bytes) -> Parent | None:
    """Return the parent that a traceparent names, or None if it is not valid."""
    found = _PARENT.fullmatch(value)
    if found is None or (found[5] is not None and found[1] == b"00"):
        return None
    return Parent(value.decode(), int(found[2], 16), int(found[3], 16), int(found[4], 16))


def valid_state(value: bytes) -> str:
    """Return a tracestate as it was sent, or "" if it is not valid as a whole."""
    members = [member for each in value.split(b",") if (member := each.strip(b" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = {each[1] for each in found if each is not None}
    # A key that comes twice, or a member that is not valid, makes fewer keys.
    if not members or len(keys) != len(members) or len(members) > MOST_MEMBERS:
        return ""
    return value.decode()


def context_of(headers: Mapping[bytes, bytes]) -> tuple[Parent | None, str]:
    """Return the parent of a request and its tracestate, as far as they are valid."""
    parent = parse_parent(headers.get(b"traceparent", b""))
    state = headers.get(b"tracestate", b"")
    return parent, valid_state(state) if state and parent is not None else ""


def as_headers(parent: str, state: str) -> dict[str, str]:
    """Return the message headers that carry a trace context. Without a parent there are none."""
    if not parent:
        return {}
    return {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}
