"""Start a Celery task with one HTTP request, with Python's standard library alone.

With "make run", whose queue is not a worker's, see what it sends:
  CELERY_QUEUE=test python3 examples/celery_task.py && make read QUEUE=test
STATELESSD_URL (http://localhost:8000) and STATELESSD_AUTH (guest:guest) name another gateway
and user.
"""

import base64
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

URL = os.environ.get("STATELESSD_URL", "http://localhost:8000")
AUTH = os.environ.get("STATELESSD_AUTH", "guest:guest")
# Celery's worker declares an exchange named like its queue, and binds the queue with that key.
QUEUE = os.environ.get("CELERY_QUEUE", "celery")
TRIES = 5


class NotStarted(Exception):  # noqa: N818 - it says what happened
    """The message is not confirmed; ``perhaps`` says whether the task may run all the same."""

    def __init__(self, reason, perhaps):
        super().__init__(reason)
        self.perhaps = perhaps


def start_task(
    name, args=(), kwargs=None, *, task_id=None, countdown=0, eta=None, reply_to="", queue=QUEUE
):
    """Return the id of the task as soon as RabbitMQ has its message. Raise NotStarted if not.

    ``eta`` is a datetime with a time zone, and ``countdown`` a number of seconds instead.
    After NotStarted call it again with the same ``task_id``.
    """
    task_id = task_id or str(uuid.uuid4())
    if countdown:
        eta = datetime.now(UTC) + timedelta(seconds=countdown)
    kwargs = kwargs or {}
    headers = {
        "lang": "py",
        "task": name,
        "id": task_id,
        "root_id": task_id,
        "retries": 0,
        "eta": eta and eta.isoformat(),
        # What the worker's log shows; Celery cuts it at 1024 characters as well.
        "argsrepr": repr(tuple(args))[:1024],
        "kwargsrepr": repr(kwargs)[:1024],
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    message = {
        "body": json.dumps([list(args), kwargs, embed]),
        "headers": json.dumps(headers),
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": task_id,
        "message_id": task_id,
        "reply_to": reply_to,
        "mandatory": "true",  # else a 204 would not promise that a queue has the task
    }
    word = quote(queue, safe="")
    publish(f"/%2f/{word}/{word}", message)
    return task_id


def publish(path, message):
    """Return when RabbitMQ has confirmed the message. Raise NotStarted if it has not."""
    perhaps = False
    for attempt in range(TRIES):
        if (failure := publish_once(path, message)) is None:
            return
        problem, wait = failure
        perhaps |= problem["outcome"] != "not-published"
        if not problem["retryable"]:
            break
        if attempt < TRIES - 1:
            backoff = random.uniform(0.1, 0.2) * 2**attempt
            time.sleep(backoff if wait is None else wait)
    raise NotStarted(f"{problem['title']}: {problem['detail']}", perhaps)


def publish_once(path, message):
    """Return None if it is confirmed, else the problem and how many seconds to wait."""
    # Without an answer, or with a proxy's own, nobody knows whether the message arrived.
    problem = {"title": "No answer", "outcome": "unknown", "retryable": True}
    login = base64.b64encode(AUTH.encode()).decode()
    request = urllib.request.Request(
        URL + path, urlencode(message).encode(), {"Authorization": f"Basic {login}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, fields, content = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        status, fields, content = answer.code, answer.headers, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return {**problem, "detail": str(error)}, None
    if status == 204:
        return None
    problem["detail"] = f"the status is {status}"
    if fields.get("Content-Type") == "application/problem+json":
        problem |= json.loads(content)
    retry_after = fields.get("Retry-After", "")
    return problem, int(retry_after) if retry_after.isdigit() else None


if __name__ == "__main__":
    print(start_task("shop.send_receipt", ["Zoë"], {"order": 42}))
