"""What this process has answered: the ``requests`` of ``/stats``."""

from collections import Counter


class RequestStatistics:
    """Plain counters, for the hot path; ``seconds`` is the time from request to answer, in all."""

    __slots__ = ("methods", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.methods: Counter[str] = Counter()
        self.seconds = 0.0

    def began(self, method: str) -> None:
        """A request's headers were read: from here on it counts, as in the original."""
        self.methods[method] += 1

    def answered(self, status: int, seconds: float) -> None:
        """An answer was given, be it to something that could not be read as a request."""
        self.statuses[status] += 1
        self.seconds += seconds

    def document(self) -> dict[str, float]:
        """The original's keys and types."""
        return {
            **{f"response.{status}": count for status, count in self.statuses.items()},
            **{f"method.{method}": count for method, count in self.methods.items()},
            "processing_time": self.seconds,
        }
