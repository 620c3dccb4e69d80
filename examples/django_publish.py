"""Publish from Django when the transaction is committed, with Python's standard library alone.

The settings STATELESSD_URL and STATELESSD_AUTH ("user:password") say where and as whom. For
"make run" they are "http://localhost:8000" and "guest:guest", and the exchange is "test".
"""

import base64
import http.client
import json
import logging
import random
import time
import urllib.error
import urllib.request
import uuid
from functools import partial
from urllib.parse import quote, urlencode

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

log = logging.getLogger(__name__)

# The answer to the browser waits for all of this, so a try gives up after two seconds.
TRIES = 3
WAIT = 2


class NotPublished(Exception):  # noqa: N818 - it says what happened
    """The message is not confirmed; ``perhaps`` says whether a copy may exist all the same."""

    def __init__(self, reason, perhaps):
        super().__init__(f"{'Perhaps published' if perhaps else 'Not published'}: {reason}")
        self.perhaps = perhaps


def publish_on_commit(exchange, routing_key, data, *, message_id=None, using=None):
    """Publish the data as JSON behind the commit of this transaction. Return the message's id.

    A transaction or savepoint that is rolled back publishes nothing. If a message cannot be
    published, the log names its id, because the transaction cannot be undone any more.
    """
    message_id = message_id or str(uuid.uuid4())
    body = encode(data)  # now, because the objects may change before the commit
    transaction.on_commit(partial(publish_or_log, exchange, routing_key, body, message_id), using)
    return message_id


def encode(data):
    return json.dumps(data, cls=DjangoJSONEncoder).encode()


def publish_or_log(exchange, routing_key, body, message_id):
    """Publish, or log what failed, so that the functions behind the same commit still run."""
    try:
        publish(exchange, routing_key, body, message_id)
    except NotPublished as failure:
        log.error("message %s for %s: %s", message_id, exchange, failure)  # noqa: TRY400


def publish(exchange, routing_key, body, message_id):
    """Return when RabbitMQ has confirmed the message. Raise NotPublished if it has not.

    After that call it again with the same id, so that consumers can drop a second copy.
    """
    path = f"/%2f/{quote(exchange, safe='')}/{quote(routing_key, safe='')}"
    query = urlencode({"message_id": message_id, "mandatory": "true"})
    perhaps = False
    for attempt in range(TRIES):
        if (failure := publish_once(f"{path}?{query}", body)) is None:
            return
        problem, wait = failure
        perhaps |= problem["outcome"] != "not-published"
        if not problem["retryable"]:
            break
        if attempt < TRIES - 1:
            backoff = random.uniform(0.1, 0.2) * 2**attempt
            time.sleep(backoff if wait is None else min(wait, WAIT))
    raise NotPublished(f"{problem['title']}: {problem['detail']}", perhaps)


def publish_once(path, body):
    """Return None if it is confirmed, else the problem and how many seconds to wait."""
    # Without an answer, or with a proxy's own, nobody knows whether the message arrived.
    problem = {"title": "No answer", "outcome": "unknown", "retryable": True}
    fields = {
        "Authorization": f"Basic {base64.b64encode(settings.STATELESSD_AUTH.encode()).decode()}",
        "Content-Type": "application/json",
        "Prefer": f"wait={WAIT}",
    }
    request = urllib.request.Request(settings.STATELESSD_URL + path, body, fields)
    try:
        with urllib.request.urlopen(request, timeout=2 * WAIT) as answer:
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
