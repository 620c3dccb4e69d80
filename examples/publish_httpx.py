"""Publish one message with httpx and asyncio: a JSON body, with its properties in the query.

Try it with "make run":
  .venv/bin/python examples/publish_httpx.py && make read QUEUE=test
STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
(test) name another gateway, user and exchange.
httpx comes from pip: .venv/bin/pip install httpx
"""

import asyncio
import os
import random
import sys
from urllib.parse import quote

import httpx

URL = os.environ.get("STATELESSD_URL", "http://localhost:8000")
USER, PASSWORD = os.environ.get("STATELESSD_AUTH", "guest:guest").split(":", 1)
EXCHANGE = os.environ.get("STATELESSD_EXCHANGE", "test")
TRIES = 5


async def publish_once(client, path, **message):
    """Return None if RabbitMQ has confirmed the message, else the problem and how long to wait."""
    # Without an answer, or with a proxy's own, nobody knows whether the message arrived.
    problem = {"title": "No answer", "outcome": "unknown", "retryable": True}
    try:
        response = await client.post(path, **message)
    except httpx.TransportError as error:
        return {**problem, "detail": repr(error)}, None
    if response.status_code == 204:
        return None
    problem["detail"] = f"the status is {response.status_code}"
    if response.headers.get("Content-Type") == "application/problem+json":
        problem |= response.json()
    retry_after = response.headers.get("Retry-After", "")
    return problem, int(retry_after) if retry_after.isdigit() else None


async def publish(client, path, **message):
    """Try up to TRIES times. Return None if RabbitMQ has the message, else the last problem."""
    unknown = False
    for attempt in range(TRIES):
        if (failure := await publish_once(client, path, **message)) is None:
            return None
        problem, wait = failure
        unknown |= problem["outcome"] != "not-published"
        if not problem["retryable"]:
            break
        if attempt < TRIES - 1:
            backoff = random.uniform(0.1, 0.2) * 2**attempt
            await asyncio.sleep(backoff if wait is None else wait)
    return {**problem, "outcome": "unknown" if unknown else "not-published"}


async def main():
    async with httpx.AsyncClient(base_url=URL, auth=(USER, PASSWORD), timeout=10) as client:
        left = await publish(
            client,
            f"/%2f/{quote(EXCHANGE, safe='')}/orders.new",
            json={"order": 42, "note": "50 % more & better"},
            # The same id in each try, so that consumers can drop a second copy.
            params={"message_id": "order-42", "mandatory": "true"},
            headers={"AMQP-Header-Source": "shop"},
        )
    if left is None:
        print("Published.")
        return 0
    fate = "Not published" if left["outcome"] == "not-published" else "Perhaps published"
    print(f"{fate}: {left['title']}: {left['detail']}")
    return 75 if left["retryable"] else 1


sys.exit(asyncio.run(main()))
