"""Publish with Python's requests, and read the answer."""

import json
import os
import sys

import requests

URL = os.environ.get("STATELESSD_URL", "http://localhost:8000")


def publish(virtual_host: str, exchange: str, routing_key: str, body: bytes, **properties: str):
    """Publish one message. Returns None when it is confirmed, else the problem document."""
    path = "/".join(
        requests.utils.quote(part, safe="") for part in (virtual_host, exchange, routing_key)
    )
    response = requests.post(
        f"{URL}/{path}", data={"body": body, **properties}, auth=("guest", "guest"), timeout=10
    )
    return None if response.status_code == 204 else response.json()


problem = publish(
    "/",
    "test",
    "orders.new",
    json.dumps({"order": 42}).encode(),
    content_type="application/json",
    headers=json.dumps({"source": "shop", "attempt": 1}),
)
if problem is None:
    print("Published: the broker has confirmed it.")
else:
    print(f"Not confirmed: {problem['title']}: {problem['detail']}")
    sys.exit(75 if problem["retryable"] else 1)
