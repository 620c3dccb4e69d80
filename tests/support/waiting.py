"""Waiting for a condition, with a deadline: never for a time to pass; and limits."""

import contextlib
import resource
import time


def wait_until(condition, seconds=60.0, *, what="the condition"):
    """Return what ``condition()`` returns as soon as it is true.

    It is asked less and less often, because asking takes CPU time from who makes it true.
    """
    begun = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - begun
        if waited > seconds:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(min(max(0.02, waited / 10), 0.25))


@contextlib.contextmanager
def open_files(count):
    """Set a limit of open files for this process and what it starts meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, count)))
