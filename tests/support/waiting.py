"""Waiting for a condition, with a deadline: never for a time to pass."""

import time


def wait_until(condition, seconds=60.0, *, what="the condition"):
    """Return what ``condition()`` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)
