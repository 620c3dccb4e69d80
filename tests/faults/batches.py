"""A client that publishes its messages by batches, in each of the three forms in turn."""

import base64
import http.client
import json
import time

from tasks import NO_ANSWER, answer, exchange_of
from verdict import NOT_PUBLISHED, UNKNOWN, Answer

SIZE = 60  # tasks, of which those that fit together make a batch


class BatchClient:
    """As the others, but for ``publish``, which takes many tasks and gives as many answers."""

    size = SIZE

    def __init__(self, port):
        self._port = port
        self._forms = [_whole, _summary, _stream]

    def publish(self, tasks):
        """All of one exchange and one user."""
        begun = time.monotonic()
        headers, body, read = self._form(tasks)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.connect()
        except OSError:
            return [Answer(t.message_id, NOT_PUBLISHED, "there was no connection") for t in tasks]
        login = base64.b64encode(f"{tasks[0].user}:{tasks[0].password}".encode()).decode()
        headers["Authorization"] = f"Basic {login}"
        results = {}
        try:
            connection.request("POST", exchange_of(tasks[0]), body, headers)
            response = connection.getresponse()
            if response.status not in (200, 207):
                document = response.read()
                return [answer(t.message_id, response.status, document, begun) for t in tasks]
            read(response, results, len(tasks))
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass  # what has a result by then keeps it
        finally:
            connection.close()
        return [self._told(task, results.get(n), begun) for n, task in enumerate(tasks)]

    def _form(self, tasks):
        form = self._forms.pop(0)
        self._forms.append(form)
        items = [_item(task) for task in tasks]
        headers = {"Content-Type": "application/json" if form is _whole else "application/x-ndjson"}
        if form is _stream:
            headers["Prefer"] = "results=stream"
        if form is _whole:
            return headers, json.dumps(items).encode(), _whole
        return headers, "".join(json.dumps(item) + "\n" for item in items).encode(), form

    @staticmethod
    def _told(task, result, begun):
        if result is None:
            return Answer(task.message_id, UNKNOWN, NO_ANSWER)
        assert result.get("id", task.message_id) == task.message_id, result
        return answer(task.message_id, result["status"], json.dumps(result).encode(), begun)

    def close(self):
        pass


def _item(task):
    fields = {k: v for k, v in task.form.items() if k != "mandatory"}
    routing_key = task.path.rpartition("/")[2]
    return {**fields, "routing_key": routing_key, "mandatory": True, "id": task.message_id}


def _whole(response, results, _count):
    for result in json.loads(response.read())["results"]:
        results[result["index"]] = result


def _summary(response, results, count):
    document = json.loads(response.read())
    taken = document["published"] + document["failed"] + document["unknown"]
    for n in range(count):
        results[n] = {"status": 204} if n < taken else _not_taken(document)
    for result in document["failures"]:
        results[result["index"]] = result
    assert sum(r["status"] == 204 for r in results.values()) == document["published"], document


def _stream(response, results, count):
    for line in response:
        result = json.loads(line)
        if "published" in result:
            for n in range(len(results), count):
                results[n] = _not_taken(result)
            assert sum(r["status"] == 204 for r in results.values()) == result["published"]
            return
        assert result["index"] == len(results)
        results[result["index"]] = result


def _not_taken(summary):
    """The body was cut short before this item: nothing of it was handed over."""
    return summary["error"]
