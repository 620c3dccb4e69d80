"""Publishes at a constant rate, beside whatever else a test does."""

import asyncio
import collections
import math
import threading

import steady

RATE = 200  # a second
SECONDS = 3
UNTIL_STOPPED = math.inf


class Stream:
    """Clients in a thread of their own; leaving the block waits for their end.

    Each message's body is its number, unless ``form`` says otherwise. With
    ``seconds=UNTIL_STOPPED`` they go on until ``stop``, or the block's end by an exception.
    """

    def __init__(self, gateway, path, *, user="guest", password="guest", form="body=#",
                 rate=RATE, seconds=SECONDS):  # fmt: skip
        self.answers = []
        self._stopped = threading.Event()
        request = steady.form_request(path, user, password, form)
        self._thread = threading.Thread(
            target=lambda: self.answers.extend(
                asyncio.run(
                    steady.ask_steadily(gateway.port, request, rate, seconds, self._stopped.is_set)
                )
            )
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.stop()
        self._thread.join()

    def stop(self):
        """Send no more requests; those under way are answered."""
        self._stopped.set()

    def statuses(self):
        """Return how often each status was answered."""
        return collections.Counter(answer.status for answer in self.answers)

    def confirmed(self):
        """Return the bodies whose answer was 204."""
        return [b"%d" % answer.number for answer in self.answers if answer.status == 204]
