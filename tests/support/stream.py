"""Publishes at a constant rate, beside whatever else a test does."""

import asyncio
import collections
import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))

import steady

RATE = 200  # a second
SECONDS = 3


class Stream:
    """Clients in a thread of their own; leaving the block waits for their end.

    Each message's body is its number, unless ``form`` says otherwise.
    """

    def __init__(self, gateway, path, *, user="guest", password="guest", form="body=#",
                 rate=RATE, seconds=SECONDS):  # fmt: skip
        self.answers = []
        request = steady.form_request(path, user, password, form)
        self._thread = threading.Thread(
            target=lambda: self.answers.extend(
                asyncio.run(steady.ask_steadily(gateway.port, request, rate, seconds))
            )
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()

    def statuses(self):
        """Status -> how often."""
        return collections.Counter(answer.status for answer in self.answers)

    def confirmed(self):
        """The bodies whose answer was 204."""
        return [b"%d" % answer.number for answer in self.answers if answer.status == 204]
