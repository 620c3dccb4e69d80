"""Who uses a gateway in the course of a day, beside the clients of every run."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import itertools
import secrets

from hostile import BODIES
from http_clients import HttpClient
from tasks import Task
from traffic import good_task

HOOK = "/hooks/github"
HOOK_USER = "hooks"  # whose password the gateway reads from a file
NEWCOMERS = 4  # users that come in an hour, and go after it
STEADY = "steady"  # an exchange, and its queue
PART = 512 * 1024  # bytes of an expensive body


class Accounts:
    """The passwords and the webhook's secret that clients use now."""

    def __init__(self):
        self.passwords = {}  # of those whose password is not their name
        self.secret = secrets.token_hex(16)
        self.newcomers = []

    def task(self, message_id, rng):
        """Return a message: of a newcomer, with a routing key of its own, or as in every run."""
        kind = rng.random()
        if kind < 0.2 and self.newcomers:
            user = rng.choice(self.newcomers)
            # Each hour has an exchange, and half of the messages a routing key of their own.
            key = rng.choice(["k", rng.randbytes(8).hex()])
            return Task(message_id, f"/test/{user.partition('-')[0]}/{key}", user)
        if kind < 0.3:
            queue = rng.randrange(4)
            return Task(message_id, f"/test/traffic/{rng.randbytes(8).hex()}.{queue}", "guest")
        task = good_task(message_id, rng)
        task.password = self.passwords.get(task.user, task.password)
        return task

    def delivery(self, message_id, _rng):
        """Return a webhook's request. Its form is not used: it has no fields."""
        return Task(message_id, HOOK, HOOK_USER, self.secret, size=500)


def steady_task(message_id, _rng):
    """Return one message of the client that publishes all day."""
    return Task(message_id, f"/test/{STEADY}/k", "guest")


class WebhookClient(HttpClient):
    """Sends what GitHub would. A task's password is the secret."""

    def _request(self, tasks):
        headers = {"Content-Type": "text/plain", "X-GitHub-Event": "push"}
        return HOOK, headers, tasks[0].form["body"].encode()

    def _proof(self, task, body):
        signature = hmac.digest(task.password.encode(), body, hashlib.sha256).hex()
        return {"X-Hub-Signature-256": f"sha256={signature}"}


def dashboard(place, stopping):
    """Ask what an open dashboard asks: figures each second, and the details sometimes."""
    with contextlib.closing(place.connection()) as connection:
        for number in itertools.count():
            path = "/details.json" if number % 5 == 0 else "/dashboard.json"
            try:
                connection.request("GET", path)
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request makes a new one
            if stopping.wait(1):
                return


def slow_clients(place, count):
    """Send parts of requests, or requests whose answers are not read; return the connections."""
    login = base64.b64encode(b"guest:guest")
    head = b"POST /test/traffic/ok.0 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + login
    parts = itertools.cycle(
        [
            b"POST /test/tra",
            head,
            head + b"\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\nslow",
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
        ]
    )
    connections = []
    for part in itertools.islice(parts, count):
        connection = place.connection()
        with contextlib.suppress(OSError):  # the backend is being replaced
            connection.connect()
            connections.append(connection)
            connection.sock.sendall(part)
    return connections


def hostile_clients(place, names):
    """Send bodies that are made to be expensive, of users who do not exist."""
    for name in names:
        path, headers, make = BODIES[name]
        body = make(PART)
        login = base64.b64encode(secrets.token_hex(6).encode() + b":x")
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %b\r\n%bContent-Length: %d"
        with contextlib.closing(place.connection()) as connection, contextlib.suppress(OSError):
            connection.connect()
            connection.sock.sendall(head % (path, login, headers, len(body)) + b"\r\n\r\n" + body)
            status = connection.sock.recv(65536).split()[1:2]
            assert status not in ([b"500"], [b"204"]), f"{name}: {status}"
