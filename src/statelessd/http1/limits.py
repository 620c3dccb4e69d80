"""The limits of a client connection, as plain values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a client connection may take: sizes in bytes, times in seconds.

    ``body_timeout`` also bounds how long a client may leave its response unread.
    ``max_unverified_bytes`` is the limit of the ``Budget`` that all connections share.
    What a client sends after its last answer is discarded while ``linger_rate`` bytes come
    each second, for ``linger_timeout`` at most, on ``max_lingering`` connections at once.
    """

    max_connections: int = 10_000
    max_head_bytes: int = 16 * 1024
    max_head_fields: int = 100
    max_body_bytes: int = 10 * 1024 * 1024
    max_unverified_bytes: int = 32 * 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 10.0
    idle_timeout: float = 75.0
    linger_rate: int = 64 * 1024
    linger_timeout: float = 30.0
    max_lingering: int = 1000
    keep_alive: bool = True
