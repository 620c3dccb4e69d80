"""What a service sent to a webhook endpoint, and what becomes of it."""

from collections.abc import Mapping

import msgspec


class Delivery(msgspec.Struct):
    """One request. Header names are in lower case; the last header of a name counts.

    ``target`` is the path and the query as they were sent. ``now`` is Unix time in seconds.
    """

    method: str
    target: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    now: float

    def __repr__(self) -> str:
        return f"<Delivery by {self.method}, {len(self.body)} bytes>"  # the path may be secret


class Draft(msgspec.Struct):
    """A message to publish. Its body is the delivery's, bit for bit.

    ``routing_key`` and ``message_id`` have at most 255 bytes in UTF-8, and so have
    ``content_type`` and ``content_encoding``; None means that the message has no such
    property. ``headers`` are message headers, spelled as configured. ``timestamp`` is the
    time of the delivery in whole seconds of Unix time.
    """

    routing_key: str
    message_id: str | None
    headers: dict[str, str]
    content_type: str | None
    content_encoding: str | None
    timestamp: int


class Reply(msgspec.Struct):
    """A response that the endpoint itself decides on: the status, header fields and body.

    ``fields`` have lower-case names and lack those that every response has, such as Date,
    and Content-Length, which is the length of ``body``.
    """

    status: int
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
