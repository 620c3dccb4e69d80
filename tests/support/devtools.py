"""Chromium's DevTools protocol: commands, their results, and the events between them."""

import itertools
import json

import websocket

SECONDS = 60


class DevTools:
    """A connection to the browser, or to a page of it."""

    def __init__(self, url):
        # Chromium takes connections of no page, and so none that tell of an origin.
        self._socket = websocket.create_connection(url, timeout=SECONDS, suppress_origin=True)
        self._numbers = itertools.count(1)

    def close(self):
        self._socket.close()

    def command(self, method, **parameters):
        """Send a command and return its result; handle the events that come before it."""
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
        """Handle an event; none comes unless it was enabled."""


class DevToolsError(Exception):
    """The browser refused a command."""
