"""Which broker answers, according to its Connection.Start, and what follows from that."""

from typing import NamedTuple, Self

FRAME_MIN_SIZE = 4096  # bytes a peer must accept before tuning (section 4.2.3)
RABBITMQ, LAVINMQ, AMQPROXY = "RabbitMQ", "LavinMQ", "AMQProxy"
LARGER_FRAMES_SINCE = (4, 1)  # of RabbitMQ: its FRAME_MIN_SIZE is 8192


class Peer(NamedTuple):
    """A broker or proxy. It may not name its ``product``, nor its major and minor ``version``."""

    product: str = ""
    version: tuple[int, int] | None = None

    @classmethod
    def of(cls, server_properties: dict[str, object]) -> Self:
        """Read the properties ``product`` and ``version``, such as "RabbitMQ" and "3.10.8"."""
        product, version = server_properties.get("product"), server_properties.get("version")
        return cls(
            product if isinstance(product, str) else "",
            _major_and_minor(version) if isinstance(version, str) else None,
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


def _major_and_minor(version: str) -> tuple[int, int] | None:
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        return None
    return (int(major), int(minor)) if len(version) <= 100 else None
