"""Publish from FastAPI with httpx: before the answer, or behind it if it may get lost.

Try it with "make run", on another port than the gateway's:
  cd examples && uvicorn --port 8080 fastapi_publish:app
  curl --json '{"number": 42}' http://localhost:8080/orders && make read QUEUE=test
STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
(test) name another gateway, user and exchange.
"""

import asyncio
import contextlib
import logging
import os
import random
import uuid
from typing import Annotated
from urllib.parse import quote

import httpx
from fastapi import BackgroundTasks, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

URL = os.environ.get("STATELESSD_URL", "http://localhost:8000")
USER, PASSWORD = os.environ.get("STATELESSD_AUTH", "guest:guest").split(":", 1)
EXCHANGE = os.environ.get("STATELESSD_EXCHANGE", "test")
TRIES = 3
WAIT = 2  # seconds for RabbitMQ's confirm, in each try

log = logging.getLogger("uvicorn.error")


@contextlib.asynccontextmanager
async def lifespan(_):
    """Keep one client, and with it open connections to the gateway, while the application runs."""
    async with httpx.AsyncClient(
        base_url=URL, auth=(USER, PASSWORD), timeout=2 * WAIT, headers={"Prefer": f"wait={WAIT}"}
    ) as client:
        yield {"client": client}


async def publish_once(client, path, **message):
    """Return None if it is confirmed, else the problem and how many seconds to wait."""
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


async def publish(client, routing_key, data, message_id):
    """Return None when RabbitMQ has confirmed the message, else the problem that is left."""
    path = f"/%2f/{quote(EXCHANGE, safe='')}/{quote(routing_key, safe='')}"
    parameters = {"message_id": message_id, "mandatory": "true"}
    unknown = False
    for attempt in range(TRIES):
        failure = await publish_once(client, path, json=data, params=parameters)
        if failure is None:
            return None
        problem, wait = failure
        unknown |= problem["outcome"] != "not-published"
        if not problem["retryable"]:
            break
        if attempt < TRIES - 1:
            backoff = random.uniform(0.1, 0.2) * 2**attempt
            await asyncio.sleep(backoff if wait is None else min(wait, WAIT))
    return {**problem, "outcome": "unknown" if unknown else "not-published"}


async def publish_or_log(client, routing_key, data, message_id):
    """Publish, or log what failed: nobody is left to tell it to."""
    if left := await publish(client, routing_key, data, message_id):
        log.error(
            "message %s: %s: %s: %s", message_id, left["outcome"], left["title"], left["detail"]
        )


class Order(BaseModel):
    number: int
    note: str = ""


app = FastAPI(lifespan=lifespan)
Key = Annotated[str | None, Header(max_length=255, pattern="^[!-~]+$")]


@app.post("/orders", status_code=201)
async def take_order(order: Order, request: Request, idempotency_key: Key = None):
    """Answer 201 when RabbitMQ has the order; else the client sends it again with the same key."""
    message_id = idempotency_key or str(uuid.uuid4())
    left = await publish(request.state.client, "orders.new", order.model_dump(), message_id)
    if left is None:
        return {"message_id": message_id}
    told = {"message_id": message_id, "outcome": left["outcome"]}
    log.error("message %s: %s: %s", message_id, left["title"], left["detail"])
    if left["retryable"]:
        raise HTTPException(503, told, {"Retry-After": "1"})
    raise HTTPException(500, told)


@app.post("/clicks", status_code=202)
async def take_click(order: Order, request: Request, tasks: BackgroundTasks):
    """Answer 202 at once: the click is lost if RabbitMQ or this process is away."""
    tasks.add_task(
        publish_or_log, request.state.client, "clicks", order.model_dump(), str(uuid.uuid4())
    )
