"""A tab of Chromium: what is on it, and what a user does with keys, a mouse and a screen."""

import base64
import contextlib
import json
from dataclasses import dataclass, field

from devtools import DevTools, DevToolsError
from waiting import wait_until

# For Input.dispatchKeyEvent: a key's code, its number, and what it types.
KEYS = {
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    " ": ("Space", 32, " "),
    "End": ("End", 35, ""),
    "Home": ("Home", 36, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
}


@dataclass
class Exchange:
    """A request as it was sent, with headers' names in lower case, and its answer's status."""

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
        self._complaints = []
        self.logins = 0  # how often a password was asked for, and given
        for domain in ("Network", "Page", "Runtime", "Log"):
            self.command(f"{domain}.enable")

    def on_event(self, method, parameters):
        if method == "Fetch.requestPaused":
            self.send("Fetch.continueRequest", requestId=parameters["requestId"])
        elif method == "Fetch.authRequired":
            self._answer_challenge(parameters["requestId"])
        elif method.startswith("Network.") and "requestId" in parameters:
            exchange = self._exchanges.setdefault(parameters["requestId"], Exchange())
            self._note(exchange, method.removeprefix("Network."), parameters)
        else:
            self._hear(method, parameters)

    def _hear(self, method, parameters):
        """Note what goes wrong in the page, but not that a server refused or was away."""
        if method == "Runtime.exceptionThrown":
            self._complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self._complaints.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded":
            entry = parameters["entry"]
            if entry["source"] != "network" and entry["level"] in ("error", "warning"):
                self._complaints.append(f"{entry['source']}: {entry['text']}")

    @property
    def complaints(self):
        """Return exceptions, errors on the console, and what a Content-Security-Policy forbade."""
        self.command("Runtime.evaluate", expression="0")  # whose events are heard before it
        return self._complaints

    @property
    def urls(self):
        """Return the URLs of all that this tab has asked for."""
        return {exchange.url for exchange in self._exchanges.values() if exchange.url}

    def _answer_challenge(self, request_id):
        username, password = self._login
        response = {"response": "ProvideCredentials", "username": username, "password": password}
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
        """Open the URL, and wait until the page is complete."""
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
        """Return the value of a JavaScript expression, which may be a promise."""
        result = self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise DevToolsError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def wait_for(self, expression, seconds=60.0):
        """Wait until the expression is true, and return its value."""

        def value():
            try:
                return self.evaluate(expression)
            except DevToolsError:  # what it asks about is not there yet
                return None

        return wait_until(value, seconds, what=expression)

    def text(self):
        """Return the text of the page that is open; nothing while that changes."""
        try:
            return self.evaluate("document.body.innerText")
        except DevToolsError:
            return ""

    def fetch(self, url, **options):
        """Return what ``fetch(url, options)`` gives to a script of the page that is open."""
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
        """Type this whenever the browser asks for a password."""
        self._login = (username, password)
        self.command("Fetch.enable", handleAuthRequests=True)
        try:
            yield
        finally:
            self.command("Fetch.disable")
            self._login = None

    def exchange(self, method, url):
        """Wait for the answer to the last such request, and return both."""

        def answered():
            self.command("Network.enable")  # enabled long since: what came before is noted now
            found = [e for e in self._exchanges.values() if (e.method, e.url) == (method, url)]
            return found[-1] if found and found[-1].status is not None else None

        return wait_until(answered, what=f"{method} {url} to be answered")

    # What a user does.

    def press(self, key):
        """Press a key, by its name or its character."""
        code, number, text = KEYS.get(key, ("", ord(key.upper()), key) if len(key) == 1 else None)
        event = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.command("Input.dispatchKeyEvent", type="keyUp", **event)

    def write(self, text):
        """Insert text where the focus is, all at once, as from a clipboard."""
        self.command("Input.insertText", text=text)

    def fill(self, selector, text):
        """Replace what the field has."""
        self.click(selector)
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        if text:
            self.write(text)
        else:
            self.evaluate("document.execCommand('delete')")

    def point(self, x, y):
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def place(self, selector):
        """Scroll to the element, and return its rectangle in the window."""
        return self.evaluate(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: "center", behavior: "instant"}});
            const {{x, y, width, height}} = element.getBoundingClientRect();
            return {{x, y, width, height}};
        }})()""")

    def click(self, selector):
        place = self.place(selector)
        x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        self.point(x, y)
        for event in ("mousePressed", "mouseReleased"):
            self.command(
                "Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1
            )

    def size(self, width, height, *, scale=1, mobile=False):
        """Set the window's size in CSS pixels; ``scale``: the screen's pixels for each."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    def prefer(self, scheme):
        """Prefer the colours ``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def allow_scripts(self, allowed):
        """Allow scripts to the pages opened from now on; ``evaluate`` always works."""
        self.command("Emulation.setScriptExecutionDisabled", value=not allowed)

    def run_first(self, source):
        """Run a script in each page opened from now on, before the page's own."""
        self.command("Page.addScriptToEvaluateOnNewDocument", source=source)

    # What it looks like, and what it weighs.

    def screenshot(self, *, whole=False):
        """Return a PNG of the window, or of the whole page."""
        taken = self.command("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(taken["data"])

    def weight(self):
        """Return bytes of the heap after a garbage collection, DOM nodes, and listeners."""
        self.command("Performance.enable")
        for _ in range(2):  # what one has freed of the page's objects, the next finds
            self.command("HeapProfiler.collectGarbage")
        metrics = self.command("Performance.getMetrics")["metrics"]
        found = {metric["name"]: metric["value"] for metric in metrics}
        names = {"heap": "JSHeapUsedSize", "nodes": "Nodes", "listeners": "JSEventListeners"}
        return {name: found[metric] for name, metric in names.items()}
