"""Waiting for a condition, with a deadline: never for a time to pass; and limits."""

import contextlib
import resource
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


@contextlib.contextmanager
def open_files(count):
    """Set a limit of open files for this process and what it starts meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, count)))
