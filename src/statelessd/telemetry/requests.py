"""Counts of the requests and responses of this process, for ``/stats`` and ``/metrics``."""

from collections import Counter

from .histogram import Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"})
OTHER = "other"  # for all other methods, so that clients cannot add counters without end

Answered = tuple[str, int, str]
"""Method, status and the problem's type, which is empty without a problem."""


class RequestStatistics:
    """The counters. They are plain attributes, because the hot path counts."""

    __slots__ = (
        "_methods", "_posts", "answers", "confirmed", "durations", "errors", "sent",
    )  # fmt: skip

    def __init__(self) -> None:
        self._posts = 0
        self._methods: dict[str, int] = {}  # the other requests
        self.confirmed = 0  # publishes answered with 204, which are most of all
        self.answers: Counter[Answered] = Counter()  # the others
        self.errors: Counter[str] = Counter()  # answers and items of batches, by problem
        self.durations = Histogram()  # from the request to its answer
        self.sent = 0  # bytes of answers

    def began(self, method: str) -> None:
        """Count a request whose headers were read; the original counts it from here on too."""
        if method == "POST":
            self._posts += 1
        else:
            self._methods[method] = self._methods.get(method, 0) + 1

    @property
    def methods(self) -> dict[str, int]:
        """Return how many requests of each method were read."""
        return {"POST": self._posts, **self._methods} if self._posts else dict(self._methods)

    def answered_confirmed(self, nanoseconds: int, size: int) -> None:
        """Count the answer 204 to a publish, of ``size`` bytes."""
        self.confirmed += 1
        self.sent += size
        self.durations.observe(nanoseconds)

    def answered(self, method: str, status: int, problem: str, nanoseconds: int, size: int) -> None:
        """Count another answer, also one to something that could not be read as a request."""
        self.answers[method if method in METHODS else OTHER, status, problem] += 1
        self.sent += size
        self.durations.observe(nanoseconds)
        if problem:
            self.errors[problem] += 1

    def all_answers(self) -> dict[Answered, int]:
        """Return all answers, those to confirmed publishes included."""
        return self.answers + Counter({("POST", 204, ""): self.confirmed})

    def document(self) -> dict[str, float]:
        """Return the ``requests`` of ``/stats``, with the original's keys and types."""
        statuses: Counter[int] = Counter()
        for (_, status, _), count in self.all_answers().items():
            statuses[status] += count
        return {
            **{f"response.{status}": count for status, count in statuses.items()},
            **{f"method.{method}": count for method, count in self.methods.items()},
            "processing_time": self.durations.sum / 1e9,
        }
