"""Waiting for a condition, with a deadline: never for a time to pass."""

import time


def wait_until(condition, seconds=60.0, *, what="the condition"):
    """What ``condition()`` returned when it was true at last."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)
