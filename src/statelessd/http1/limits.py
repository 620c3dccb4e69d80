"""The limits of a client connection, as plain values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a client connection may take: sizes in bytes, times in seconds.

    ``body_timeout`` also bounds how long a client may leave its response unread.
    ``max_unverified_bytes`` is the limit of the ``Budget`` that all connections share.
    ``max_body_bytes`` bounds what is read and discarded of a body that nobody wants.
    """

    max_connections: int = 10_000
    max_head_bytes: int = 16 * 1024
    max_head_fields: int = 100
    max_body_bytes: int = 10 * 1024 * 1024
    max_unverified_bytes: int = 32 * 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 10.0
    idle_timeout: float = 75.0
    linger_timeout: float = 2.0
    keep_alive: bool = True
