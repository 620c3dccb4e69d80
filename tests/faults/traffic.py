"""HTTP clients that publish numbered messages, and remember what they were told."""

import base64
import contextlib
import http.client
import json
import random
import subprocess
import threading
import time
from pathlib import Path

from batches import BatchClient
from tasks import NO_ANSWER, Task, answer, exchange_of
from verdict import CONFIRMED, NOT_PUBLISHED, UNKNOWN, Answer
from world import FULL, QUEUES, USERS, VICTIM

PHP_CLIENT = Path(__file__).with_name("client.php")


class HttpClient:
    """Python's http.client, on a connection that is kept while the gateway keeps it."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._port = port

    def publish(self, task):
        begun = time.monotonic()
        connection = self._connection
        try:
            if connection.sock is None:
                connection.connect()
        except ConnectionRefusedError:
            return Answer(task.message_id, NOT_PUBLISHED, "the connection was refused")
        except OSError:
            return Answer(task.message_id, NOT_PUBLISHED, "there was no connection")
        login = base64.b64encode(f"{task.user}:{task.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
        for name, value in task.form.items():
            if name != "body":
                headers[f"AMQP-{name.replace('_', '-')}"] = value
        headers["Content-Type"] = "text/plain"
        path = task.path + "?mandatory=true"
        try:
            connection.request("POST", path, task.form["body"].encode(), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return Answer(task.message_id, UNKNOWN, NO_ANSWER)
        return answer(task.message_id, response.status, body, begun)

    def close(self):
        self._connection.close()


class CurlClient:
    """A curl for each message."""

    def __init__(self, port):
        self._port = port

    def publish(self, task):
        begun = time.monotonic()
        form = [
            part for name, value in task.form.items()
            for part in ("--data-urlencode", f"{name}@-" if name == "body" else f"{name}={value}")
        ]  # fmt: skip
        done = subprocess.run(
            ["curl", "--silent", "--max-time", "30", "--user", f"{task.user}:{task.password}",
             "--write-out", "\n%{http_code}", *form, f"http://127.0.0.1:{self._port}{task.path}"],
            input=task.form["body"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        if done.returncode == 7:  # EXIT CODES in curl(1): could not connect
            return Answer(task.message_id, NOT_PUBLISHED, "the connection was refused")
        if done.returncode:
            return Answer(task.message_id, UNKNOWN, NO_ANSWER)
        return answer(task.message_id, int(status), body, begun)

    def close(self):
        pass


class PhpClient:
    """A PHP process with one curl handle, as a worker of a PHP application has it."""

    def __init__(self, port):
        self._port = port
        self._process = subprocess.Popen(
            ["php", PHP_CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def publish(self, task):
        begun = time.monotonic()
        line = {
            "id": task.message_id,
            "url": f"http://127.0.0.1:{self._port}{task.path}",
            "user": f"{task.user}:{task.password}",
            "form": task.form,
        }
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        if told["refused"]:
            return Answer(task.message_id, NOT_PUBLISHED, "the connection was refused")
        if not told["status"]:
            return Answer(task.message_id, UNKNOWN, NO_ANSWER)
        return answer(task.message_id, told["status"], told["body"], begun)

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def good_task(message_id, rng):
    """Mostly to the queues that stay; a few to what refuses or comes and goes."""
    user = rng.choice(USERS)
    topic = "ok" if user == "carol" else rng.choice(["ok", "any"])
    path = f"/test/traffic/{topic}.{rng.randrange(len(QUEUES))}"
    fields = {}
    kind = rng.random()
    if kind < 0.05:
        path = f"/test//{rng.choice(QUEUES)}"  # by the default exchange
    elif kind < 0.10:
        path = f"/test/{VICTIM}/k"
    elif kind < 0.13:
        path = f"/test//{FULL}"
    elif kind < 0.16:
        path = "/test/traffic/nowhere"
    elif kind < 0.18:
        fields["user_id"] = rng.choice(["somebody", user])
    size = rng.choice([0, 0, 0, 1, 1, 100, 100, 1000, 10_000, 200_000])
    return Task(message_id, path, user, size=size, fields=fields)


class Client(threading.Thread):
    """Publishes until told to stop, with a pause after each request that was not a 204.

    ``pause``: seconds after each that was.
    """

    def __init__(self, traffic, name, kind, make_task, pause):
        super().__init__(name=name)
        self.error = None
        self._traffic = traffic
        self._kind = kind
        self._make_task = make_task
        self._pause = pause
        self._stopping = threading.Event()

    def run(self):
        rng = random.Random(f"{self._traffic.seed} {self.name}")
        with contextlib.closing(self._kind(rng.choice(self._traffic.ports))) as client:
            number = 0
            while not self._stopping.is_set():
                number += 1
                task = self._make_task(f"{self.name}-{number}", rng)
                try:
                    told = self._publish(client, task, rng)
                except Exception as error:
                    self.error = f"{task.message_id}: {error!r}"
                    return
                for each in told:
                    self._traffic.told(each)
                if any(each.outcome != CONFIRMED for each in told):
                    self._stopping.wait(rng.uniform(0, 0.05))
                elif self._pause:
                    self._stopping.wait(self._pause)

    def _publish(self, client, task, rng):
        """The answers: one, or those of a batch of what fits one with the task."""
        if self._kind is not BatchClient:
            return [client.publish(task)]
        others = [self._make_task(f"{task.message_id}-{n}", rng) for n in range(client.size)]
        fit = [o for o in others if o.user == task.user and exchange_of(o) == exchange_of(task)]
        return client.publish([task, *fit])

    def stop(self):
        self._stopping.set()


class Traffic:
    """All clients of a run, and every answer they got."""

    def __init__(self, seed, ports, begun, number):
        self.seed = f"{seed} {number}"
        self.ports = ports
        self.answers = []
        self.begun = begun
        self._round = number
        self._clients = []
        self._storms = 0

    def start(self, clients):
        kinds = [PhpClient, CurlClient, BatchClient, BatchClient]
        for i in range(clients):
            kind = kinds[i] if i < len(kinds) else HttpClient
            self._add(f"{kind.__name__}-{i}", kind, good_task)

    def steady(self, make_task, clients, pause):
        """Clients that keep their connections, and ``pause`` for some seconds after each 204."""
        for i in range(clients):
            self._add(f"steady-{i}", HttpClient, make_task, pause)

    def storm(self, make_task, clients=4):
        """Clients of one more kind; stop them with ``stop``."""
        self._storms += 1
        return [
            self._add(f"storm-{self._storms}-{i}", HttpClient, make_task) for i in range(clients)
        ]

    def stop(self, clients=None):
        clients = list(self._clients if clients is None else clients)
        for client in clients:
            client.stop()
        for client in clients:
            client.join()
            self._clients.remove(client)
            assert client.error is None, client.error

    def told(self, answer):
        """Called by the clients' threads; appending is atomic."""
        at = time.monotonic() - self.begun
        self.answers.append(
            Answer(answer.message_id, answer.outcome, answer.cause, at, answer.seconds)
        )

    def _add(self, name, kind, make_task, pause=0.0):
        client = Client(self, f"{self._round}-{name}", kind, make_task, pause)
        self._clients.append(client)
        client.start()
        return client
