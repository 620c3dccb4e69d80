"""What a service sent to a webhook endpoint, as it came."""

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
