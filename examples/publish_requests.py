"""Publish one message as a form with requests, and try again if that can help.

Try it with "make run":
  .venv/bin/python examples/publish_requests.py && make read QUEUE=test
STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
(test) name another gateway, user and exchange.
requests comes from pip: .venv/bin/pip install requests
"""

import json
import os
import random
import sys
import time
from urllib.parse import quote

import requests

URL = os.environ.get("STATELESSD_URL", "http://localhost:8000")
USER, PASSWORD = os.environ.get("STATELESSD_AUTH", "guest:guest").encode().split(b":", 1)
EXCHANGE = os.environ.get("STATELESSD_EXCHANGE", "test")
TRIES = 5


def publish_once(path, message):
    """Return None if RabbitMQ has confirmed the message, else the problem and how long to wait."""
    # Without an answer, or with a proxy's own, nobody knows whether the message arrived.
    problem = {"title": "No answer", "outcome": "unknown", "retryable": True}
    try:
        response = requests.post(URL + path, data=message, auth=(USER, PASSWORD), timeout=10)
    except requests.RequestException as error:
        return {**problem, "detail": str(error)}, None
    if response.status_code == 204:
        return None
    problem["detail"] = f"the status is {response.status_code}"
    if response.headers.get("Content-Type") == "application/problem+json":
        problem |= response.json()
    retry_after = response.headers.get("Retry-After", "")
    return problem, int(retry_after) if retry_after.isdigit() else None


def publish(path, message):
    """Try up to TRIES times. Return None if RabbitMQ has the message, else the last problem."""
    unknown = False
    for attempt in range(TRIES):
        if (failure := publish_once(path, message)) is None:
            return None
        problem, wait = failure
        unknown |= problem["outcome"] != "not-published"
        if not problem["retryable"]:
            break
        if attempt < TRIES - 1:
            backoff = random.uniform(0.1, 0.2) * 2**attempt
            time.sleep(backoff if wait is None else wait)
    return {**problem, "outcome": "unknown" if unknown else "not-published"}


left = publish(
    f"/%2f/{quote(EXCHANGE, safe='')}/orders.new",
    {
        "body": json.dumps({"order": 42, "note": "50 % more & better"}),
        "content_type": "application/json",
        "message_id": "order-42",  # the same in each try, so that consumers can drop a copy
        "mandatory": "true",
        "headers": json.dumps({"source": "shop"}),
    },
)
if left is None:
    print("Published.")
else:
    fate = "Not published" if left["outcome"] == "not-published" else "Perhaps published"
    print(f"{fate}: {left['title']}: {left['detail']}")
    sys.exit(75 if left["retryable"] else 1)
