"""What this process has answered: the ``requests`` of ``/stats``."""

from collections import Counter


class RequestStatistics:
    """Plain counters, for the hot path; ``seconds`` is the time from request to answer, in all."""

    __slots__ = ("methods", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.methods: Counter[str] = Counter()
        self.seconds = 0.0

    def count(self, method: str, status: int, seconds: float) -> None:
        """One answered request; without a method when none could be read."""
        if method:
            self.methods[method] += 1
        self.statuses[status] += 1
        self.seconds += seconds

    def document(self) -> dict[str, float]:
        """The original's keys and types."""
        return {
            **{f"response.{status}": count for status, count in self.statuses.items()},
            **{f"method.{method}": count for method, count in self.methods.items()},
            "processing_time": self.seconds,
        }
