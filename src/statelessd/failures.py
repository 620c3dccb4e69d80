"""Logs the exceptions of work that is done again and again, so that it can go on after one.

A log entry for each would be a flood: a sweep that fails, fails four times a second.
"""

import errno
import logging
import math
import time
from collections.abc import Callable

QUIET = 60.0  # seconds after an entry in which others of its kind are only counted
MOST_KINDS = 100
# What the system may lack for a while: no fault of this program, and so without a traceback.
# EAGAIN is fork's, at the limit of processes.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})


def is_shortage(error: BaseException | None) -> bool:
    """Return whether the system had no file descriptor, memory or process left for a moment."""
    return isinstance(error, OSError) and error.errno in _SHORTAGES


class Failures:
    """Logs each kind of failure at most once a minute, with the number of those left out.

    A kind is what failed, the type of the exception, and where it was raised.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._kinds: dict[tuple[object, ...], tuple[float, int]] = {}  # last entry, left out

    def guard(self, what: str, work: Callable[[], object]) -> bool:
        """Do ``work``, and log an exception of it. Return whether there was none."""
        try:
            work()
        except Exception as error:
            self.log(what, error)
            return False
        return True

    def log(self, what: str, error: Exception) -> None:
        """Log that ``what`` failed, unless that was logged a moment ago."""
        kind = (what, type(error), *_place(error))
        now = self._clock()
        logged_at, left_out = self._kinds.get(kind, (-math.inf, 0))
        if now - logged_at < QUIET:
            self._kinds[kind] = logged_at, left_out + 1
            return
        if len(self._kinds) >= MOST_KINDS:
            self._kinds.clear()
        self._kinds[kind] = now, 0
        more = f" ({left_out} more like it since the last entry)" if left_out else ""
        if isinstance(error, OSError) and is_shortage(error):
            self._logger.warning("%s failed: %s%s", what, error.strerror, more)
        else:
            self._logger.error("%s failed%s", what, more, exc_info=error)


def _place(error: Exception) -> tuple[str, int]:
    """Return the file and the line that raised it."""
    traceback = error.__traceback__
    if traceback is None:
        return "", 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
