"""HTTP clients of four kinds: each publishes tasks, and says what the gateway answered."""

import base64
import http.client
import json
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from clients import UnixConnection
from tasks import NO_ANSWER, answer, exchange_of
from verdict import NOT_PUBLISHED, UNKNOWN, Answer

PHP_CLIENT = Path(__file__).with_name("client.php")
NO_CONNECTION = "there was no connection"


class Place(NamedTuple):
    """Where a gateway listens: a port, with TLS if there is a ``ca``, or a Unix socket."""

    port: int = 0
    ca: Path | None = None
    socket: Path | None = None

    def connection(self, timeout=30):
        """Return a connection of http.client, which is not connected yet."""
        if self.socket:
            return UnixConnection(self.socket, timeout)
        if self.ca:
            context = ssl.create_default_context(cafile=self.ca)
            return http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=timeout, context=context
            )
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    @property
    def of_curl(self):
        """Return curl's options and the URL without a path."""
        if self.socket:
            return ["--unix-socket", str(self.socket)], "http://localhost"
        if self.ca:
            return ["--cacert", str(self.ca)], f"https://127.0.0.1:{self.port}"
        return [], f"http://127.0.0.1:{self.port}"


class HttpClient:
    """Python's http.client, on a connection that is kept while the gateway keeps it."""

    most = 1  # tasks for each request

    def __init__(self, place):
        self._connection = place.connection()

    def publish(self, tasks):
        """Return an answer for each task."""
        begun = time.monotonic()
        path, headers, body = self._request(tasks)
        connection = self._connection
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            return [Answer(task.message_id, NOT_PUBLISHED, NO_CONNECTION) for task in tasks]
        results: dict[int, tuple[int, Any]] = {}
        try:
            connection.request("POST", path, body, {**headers, **self._proof(tasks[0], body)})
            self._read(connection.getresponse(), results, len(tasks))
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            connection.close()  # what has a result by then keeps it
        return [
            answer(task, *results[n], begun)
            if n in results
            else Answer(task.message_id, UNKNOWN, NO_ANSWER)
            for n, task in enumerate(tasks)
        ]

    def _request(self, tasks):
        [task] = tasks
        fields = [(name, value) for name, value in task.form.items() if name != "body"]
        headers = {f"AMQP-{name.replace('_', '-')}": value for name, value in fields}
        headers["Content-Type"] = "text/plain"
        return f"{task.path}?mandatory=true", headers, task.form["body"].encode()

    def _proof(self, task, _body):
        login = base64.b64encode(f"{task.user}:{task.password}".encode()).decode()
        return {"Authorization": f"Basic {login}"}

    def _read(self, response, results, _count):
        body = response.read()
        results[0] = response.status, json.loads(body) if body else None

    def close(self):
        self._connection.close()


class BatchClient(HttpClient):
    """Publishes by batches, in each of the three forms in turn."""

    most = 60

    def __init__(self, place):
        super().__init__(place)
        self._forms = [_whole, _summary, _stream]

    def _request(self, tasks):
        self._forms.append(self._forms.pop(0))
        items = [_item(task) for task in tasks]
        if self._forms[0] is _whole:
            headers, body = {"Content-Type": "application/json"}, json.dumps(items)
        else:
            headers = {"Content-Type": "application/x-ndjson"}
            body = "".join(json.dumps(item) + "\n" for item in items)
        if self._forms[0] is _stream:
            headers["Prefer"] = "results=stream"
        return exchange_of(tasks[0]), headers, body.encode()

    def _read(self, response, results, count):
        if response.status in (200, 207):
            self._forms[0](response, results, count)
            response.read()
        else:
            document = json.loads(response.read())
            results.update(dict.fromkeys(range(count), (response.status, document)))


def _item(task):
    fields = {k: v for k, v in task.form.items() if k != "mandatory"}
    routing_key = task.path.rpartition("/")[2]
    return {**fields, "routing_key": routing_key, "mandatory": True, "id": task.message_id}


def _whole(response, results, _count):
    for result in json.loads(response.read())["results"]:
        results[result["index"]] = result["status"], result


def _summary(response, results, count):
    document = json.loads(response.read())
    taken = document["published"] + document["failed"] + document["unknown"]
    results.update(dict.fromkeys(range(taken), (204, None)))
    _not_taken(results, count, document)
    results.update({each["index"]: (each["status"], each) for each in document["failures"]})
    assert _published(results) == document["published"], document


def _stream(response, results, count):
    for line in response:
        result = json.loads(line)
        if "published" in result:
            assert _published(results) == result["published"]
            _not_taken(results, count, result)
            return
        assert result["index"] == len(results)
        results[result["index"]] = result["status"], result


def _published(results):
    return sum(status == 204 for status, _ in results.values())


def _not_taken(results, count, summary):
    """Add the results of items before which the body was cut: none was handed over."""
    for number in range(len(results), count):
        results[number] = summary["error"]["status"], summary["error"]


class CurlClient:
    """A curl for each message."""

    most = 1

    def __init__(self, place):
        self._options, self._url = place.of_curl

    def publish(self, tasks):
        [task] = tasks
        begun = time.monotonic()
        form = [
            part for name, value in task.form.items()
            for part in ("--data-urlencode", f"{name}@-" if name == "body" else f"{name}={value}")
        ]  # fmt: skip
        done = subprocess.run(
            ["curl", "--silent", "--max-time", "30", "--user", f"{task.user}:{task.password}",
             "--write-out", "\n%{http_code}", *self._options, *form, f"{self._url}{task.path}"],
            input=task.form["body"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        if done.returncode == 7:  # EXIT CODES in curl(1): could not connect
            return [Answer(task.message_id, NOT_PUBLISHED, NO_CONNECTION)]
        if done.returncode:
            return [Answer(task.message_id, UNKNOWN, NO_ANSWER)]
        return [answer(task, int(status), json.loads(body or "null"), begun)]

    def close(self):
        pass


class PhpClient:
    """A PHP process with one curl handle, as a worker of a PHP application has it."""

    most = 1

    def __init__(self, place):
        self._port = place.port
        self._process = subprocess.Popen(
            ["php", PHP_CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def publish(self, tasks):
        [task] = tasks
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
            return [Answer(task.message_id, NOT_PUBLISHED, NO_CONNECTION)]
        if not told["status"]:
            return [Answer(task.message_id, UNKNOWN, NO_ANSWER)]
        return [answer(task, told["status"], json.loads(told["body"] or "null"), begun)]

    def close(self):
        with self._process:
            self._process.stdin.close()
