"""Which broker answers, according to its Connection.Start, and what follows from that."""

import re
from collections.abc import Mapping
from typing import NamedTuple, Self

FRAME_MIN_SIZE = 4096  # bytes a peer must accept before tuning (section 4.2.3)
RABBITMQ, LAVINMQ, AMQPROXY = "RabbitMQ", "LavinMQ", "AMQProxy"
LARGER_FRAMES_SINCE = (4, 1)  # of RabbitMQ: its FRAME_MIN_SIZE is 8192

_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})(?:\.|$)")


class Peer(NamedTuple):
    """A broker or proxy. It may not name its ``product``, nor its major and minor ``version``."""

    product: str = ""
    version: tuple[int, int] | None = None

    @classmethod
    def of(cls, server_properties: Mapping[str, object]) -> Self:
        """Read the properties ``product`` and ``version``, such as "RabbitMQ" and "3.10.8"."""
        product, version = server_properties.get("product"), server_properties.get("version")
        found = _VERSION.match(version) if isinstance(version, str) else None
        return cls(
            product if isinstance(product, str) else "",
            None if found is None else (int(found[1]), int(found[2])),
        )

    @property
    def first_frame(self) -> int | None:
        """Return the bytes of the largest frame that it takes before tuning; None if unknown.

        An operator can change RabbitMQ's with ``initial_frame_max``, which no client can read.
        """
        if self.product == LAVINMQ:
            return FRAME_MIN_SIZE
        if self.product == RABBITMQ and self.version is not None:
            return self.least_frame_max
        return None

    @property
    def least_frame_max(self) -> int:
        """Return the smallest frame_max in bytes that it agrees to."""
        if self.product == RABBITMQ and (self.version or (0, 0)) >= LARGER_FRAMES_SINCE:
            return 2 * FRAME_MIN_SIZE
        return FRAME_MIN_SIZE

    @property
    def logs_in_later(self) -> bool:
        """Return whether it opens before the broker sees the login, as amqproxy does."""
        return self.product == AMQPROXY
