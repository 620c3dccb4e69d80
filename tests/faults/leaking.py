"""A handler of the log that leaks on purpose: it shows that a soak notices a leak.

``make soak HOURS=9 MINUTES=5 DAY=--leak`` names it in the gateway's section Logging.
"""

import logging.handlers
import os

MEMORY = 4096  # bytes that are kept for each record
EACH = 200  # records, of which one costs a descriptor


class LeakingHandler(logging.handlers.WatchedFileHandler):
    """Keeps some bytes of each record for ever, and an open file of some."""

    def __init__(self, filename):
        super().__init__(filename)
        self.kept = []

    def emit(self, record):
        super().emit(record)
        self.kept.append(bytearray(MEMORY))
        if len(self.kept) % EACH == 0:
            os.dup(0)
