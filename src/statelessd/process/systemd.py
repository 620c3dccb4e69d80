"""Notifications to a service manager (sd_notify(3)), if there is one: NOTIFY_SOCKET is set."""

import logging
import os
import socket
import time

logger = logging.getLogger(__name__)

SELDOM = 3600.0  # seconds


class Notifier:
    """Sends the notifications. Only the parent uses it, so its backends call ``forget``."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ means Linux's abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog = os.environ.get("WATCHDOG_USEC", "")
        # Half of the time after which systemd takes the parent for dead.
        self.interval = int(watchdog) / 2e6 if self._address and watchdog.isdigit() else SELDOM

    def forget(self) -> None:
        """Send nothing from here on, because this is a backend."""
        self._address = ""
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)

    def ready(self) -> None:
        """Report that all backends serve."""
        self._tell("READY=1\nSTATUS=Serving")

    def reloading(self) -> None:
        """Report that a reload begins. ``ready`` has to follow, even if the reload fails."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=Reloading")

    def stopping(self) -> None:
        """Report that the parent stops in order."""
        self._tell("STOPPING=1\nSTATUS=Stopping: answering the requests in flight")

    def alive(self) -> None:
        """Feed the watchdog. Call it at least every ``interval`` seconds."""
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
            logger.warning("cannot notify the service manager: %s", error)
