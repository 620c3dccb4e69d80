"""Tell a service manager that all serves, reloads, stops, and lives (sd_notify(3)).

Without systemd there is no NOTIFY_SOCKET, and nothing is sent.
"""

import logging
import os
import socket
import time

logger = logging.getLogger(__name__)

SELDOM = 3600.0  # seconds


class Notifier:
    """Speaks for the parent; its backends forget it."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ means Linux's abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog = os.environ.get("WATCHDOG_USEC", "")
        # Half of the time after which systemd takes the parent for dead.
        self.interval = int(watchdog) / 2e6 if self._address and watchdog.isdigit() else SELDOM

    def forget(self) -> None:
        """Say nothing more, because this is a backend."""
        self._address = ""
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)

    def ready(self) -> None:
        """Say that all backends serve."""
        self._tell("READY=1\nSTATUS=Serving")

    def reloading(self) -> None:
        """Say that a reload begins; READY follows, whatever becomes of it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=Reloading")

    def stopping(self) -> None:
        """Say that an orderly stop begins."""
        self._tell("STOPPING=1\nSTATUS=Answering what is under way")

    def alive(self) -> None:
        """Feed the watchdog; called at least every ``interval`` seconds."""
        if self.interval < SELDOM:
            self._tell("WATCHDOG=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(self._address)
                sender.send(text.encode())
        except OSError as error:
            logger.warning("the service manager cannot be told: %s", error)
