"""Debian's Chromium without a window, played through its DevTools protocol."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
from dataclasses import dataclass, field

import websocket
from waiting import wait_until

FLAGS = [
    "--headless=new",
    "--remote-debugging-port=0",  # it takes a free one, and writes which
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP *.localhost 127.0.0.1",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
]
SECONDS = 20


class Chromium:
    """One browser; every ``user()`` of it has caches of their own.

    Every name below ``example`` and ``localhost`` is this machine.
    """

    def __init__(self, directory):
        self._directory = directory
        self._log = directory / "chromium.log"

    def __enter__(self):
        # Its sandbox does not let root in.
        own = ["--no-sandbox"] if os.getuid() == 0 else []
        data = self._directory / "data"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["chromium", *FLAGS, *own, f"--user-data-dir={data}", "about:blank"],
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self._directory), "TMPDIR": str(self._directory)},
                start_new_session=True,
            )
        try:
            file = data / "DevToolsActivePort"
            port, path = wait_until(lambda: self._written(file), 30, what="Chromium to start")
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
            self._process.wait(10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @contextlib.contextmanager
    def user(self):
        """A page in a profile of its own, which keeps no credentials yet."""
        context = self._browser.command("Target.createBrowserContext")
        target = self._browser.command("Target.createTarget", url="about:blank", **context)
        page = Page(f"{self._url}/devtools/page/{target['targetId']}")
        try:
            yield page
        finally:
            page.close()
            self._browser.command("Target.disposeBrowserContext", **context)


class DevTools:
    """A connection to the browser, or to a page of it."""

    def __init__(self, url):
        # Chromium takes connections of no page, and so none that tell of an origin.
        self._socket = websocket.create_connection(url, timeout=SECONDS, suppress_origin=True)
        self._numbers = itertools.count(1)

    def close(self):
        self._socket.close()

    def command(self, method, **parameters):
        """Its result. Events that come before it are handled."""
        number = self.send(method, **parameters)
        while (message := json.loads(self._socket.recv())).get("id") != number:
            if "method" in message:
                self.on_event(message["method"], message["params"])
        if "error" in message:
            raise DevToolsError(message["error"]["message"])
        return message["result"]

    def send(self, method, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return number

    def on_event(self, method, parameters):
        """Nothing, unless it was enabled."""


class DevToolsError(Exception):
    """The browser's word on a command."""


@dataclass
class Exchange:
    """A request as it went out, its headers' names in lower case, and its answer's status."""

    url: str = ""
    method: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None


class Page(DevTools):
    """A tab."""

    def __init__(self, url):
        super().__init__(url)
        self._exchanges = {}
        self._login = None
        self.logins = 0  # how often a password was asked for, and given
        self.command("Network.enable")
        self.command("Page.enable")

    def on_event(self, method, parameters):
        if method == "Fetch.requestPaused":
            self.send("Fetch.continueRequest", requestId=parameters["requestId"])
        elif method == "Fetch.authRequired":
            self._answer_challenge(parameters["requestId"])
        elif method.startswith("Network.") and "requestId" in parameters:
            exchange = self._exchanges.setdefault(parameters["requestId"], Exchange())
            self._note(exchange, method.removeprefix("Network."), parameters)

    def _answer_challenge(self, request_id):
        username, password = self._login
        response = {
            "response": "ProvideCredentials",
            "username": username,
            "password": password,
        }
        self.logins += 1
        self.send("Fetch.continueWithAuth", requestId=request_id, authChallengeResponse=response)

    @staticmethod
    def _note(exchange, event, parameters):
        if event == "requestWillBeSent":
            exchange.url = parameters["request"]["url"]
            exchange.method = parameters["request"]["method"]
        elif event == "requestWillBeSentExtraInfo":  # the headers as they were sent
            headers = parameters["headers"]
            exchange.headers = {name.lower(): value for name, value in headers.items()}
        elif event == "responseReceivedExtraInfo":
            exchange.status = parameters["statusCode"]

    def open(self, url):
        """Go there, and be there."""
        result = self.command("Page.navigate", url=url)
        if "errorText" in result:
            raise DevToolsError(f"{url}: {result['errorText']}")
        wait_until(self._is_complete, what=f"{url} to be open")

    def _is_complete(self):
        try:
            return self.evaluate("document.readyState") == "complete"
        except DevToolsError:  # the page has just sent us on to another one
            return False

    def evaluate(self, expression):
        """The value of a JavaScript expression, which may be a promise."""
        result = self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise DevToolsError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def text(self):
        """What is to be read on the page that is open; nothing while that changes."""
        try:
            return self.evaluate("document.body.innerText")
        except DevToolsError:
            return ""

    def fetch(self, url, **options):
        """What ``fetch(url, options)`` gave to a script of the page that is open."""
        return self.evaluate(f"""
            fetch({json.dumps(url)}, {json.dumps(options)}).then(
                async answer => ({{
                    status: answer.status,
                    headers: Object.fromEntries(answer.headers),
                    text: await answer.text(),
                }}),
                error => ({{error: String(error)}})
            )""")

    @contextlib.contextmanager
    def typing(self, username, password):
        """A user who types this whenever the browser asks for a password."""
        self._login = (username, password)
        self.command("Fetch.enable", handleAuthRequests=True)
        try:
            yield
        finally:
            self.command("Fetch.disable")
            self._login = None

    def exchange(self, method, url):
        """The last such request, once it has been answered."""

        def answered():
            self.command("Network.enable")  # enabled long since: what came before is noted now
            found = [e for e in self._exchanges.values() if (e.method, e.url) == (method, url)]
            return found[-1] if found and found[-1].status is not None else None

        return wait_until(answered, what=f"{method} {url} to be answered")
