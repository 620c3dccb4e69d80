"""Debian's Chromium without a window, played through its DevTools protocol."""

import contextlib
import os
import signal
import subprocess
import tempfile

from devtools import DevTools
from tab import Page
from waiting import wait_until

FLAGS = [
    "--headless=new",
    "--remote-debugging-port=0",  # it takes a free one, and writes which
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP *.localhost 127.0.0.1",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
]


class Chromium:
    """One browser, with these flags besides; every ``user()`` of it has caches of their own.

    Every name below ``example`` and ``localhost`` is this machine.
    """

    def __init__(self, directory, *flags):
        self._directory = directory
        self._flags = flags
        self._log = directory / "chromium.log"

    def __enter__(self):
        # Its sandbox does not let root in.
        own = ["--no-sandbox"] if os.getuid() == 0 else []
        data = self._directory / "data"
        # A socket's path in there must not be long, as a test's own directory may be.
        self._short = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["chromium", *FLAGS, *self._flags, *own, f"--user-data-dir={data}", "about:blank"],
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self._directory), "TMPDIR": self._short.name},
                start_new_session=True,
            )
        try:
            file = data / "DevToolsActivePort"
            port, path = wait_until(lambda: self._written(file), what="Chromium to start")
            self._url = f"ws://127.0.0.1:{port}"
            self._browser = DevTools(self._url + path)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._browser.close()
        self._end()

    def _written(self, file):
        if self._process.poll() is not None:
            raise AssertionError(f"Chromium ended:\n{self._log.read_text()}")
        lines = file.read_text().splitlines() if file.exists() else []
        return lines if len(lines) == 2 else None

    def _end(self):
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._short.cleanup()

    @contextlib.contextmanager
    def user(self):
        """Yield a page in a profile of its own, which has no credentials yet."""
        context = self._browser.command("Target.createBrowserContext")
        target = self._browser.command("Target.createTarget", url="about:blank", **context)
        page = Page(f"{self._url}/devtools/page/{target['targetId']}")
        try:
            yield page
        finally:
            page.close()
            self._browser.command("Target.disposeBrowserContext", **context)
