"""The reference: the gateway that a good team writes itself, with FastAPI and aio-pika.

One robust connection and one channel with publisher confirms for the process,
persistent messages, and a 204 only after the broker's word. It serves one user and
one virtual host, those of ``AMQP_URL``, and knows the two form fields that the
benchmark sends: each further one costs FastAPI time, and that is not to be held
against it.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from aio_pika import DeliveryMode, Message, connect_robust
from aio_pika.abc import AbstractRobustConnection
from aio_pika.exceptions import AMQPError, DeliveryError
from fastapi import Depends, FastAPI, Form, HTTPException, Path, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials

AMQP_URL = os.environ["AMQP_URL"]
TIMEOUT = 4.0  # seconds, the same as statelessd's

_url = urlsplit(AMQP_URL)
USERNAME = unquote(_url.username or "guest").encode()
PASSWORD = unquote(_url.password or "guest").encode()
VIRTUAL_HOST = unquote(_url.path[1:]) or "/"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    connection: AbstractRobustConnection = await connect_robust(AMQP_URL)
    async with connection:
        app.state.channel = await connection.channel(publisher_confirms=True)
        app.state.exchanges = {}
        yield


app = FastAPI(lifespan=lifespan)
basic = HTTPBasic(realm="gateway")


async def authorized(credentials: Annotated[HTTPBasicCredentials, Depends(basic)]) -> None:
    """Raise 401 unless the request carries the gateway's user name and password."""
    same_user = secrets.compare_digest(credentials.username.encode(), USERNAME)
    same_password = secrets.compare_digest(credentials.password.encode(), PASSWORD)
    if not (same_user and same_password):
        raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="gateway"'})


async def exchange_named(name: str) -> Any:
    """The exchange of that name; its object is made once."""
    exchanges = app.state.exchanges
    if name not in exchanges:
        exchanges[name] = await app.state.channel.get_exchange(name, ensure=False)
    return exchanges[name]


@app.post(
    "/{virtual_host}/{exchange}/{routing_key}",
    status_code=204,
    dependencies=[Depends(authorized)],
)
async def publish(
    virtual_host: Annotated[str, Path()],
    exchange: Annotated[str, Path()],
    routing_key: Annotated[str, Path()],
    body: Annotated[str, Form()],
    content_type: Annotated[str | None, Form(alias="content-type")] = None,
) -> Response:
    if virtual_host != VIRTUAL_HOST:
        raise HTTPException(404, "no such virtual host")
    message = Message(
        body.encode(),
        content_type=content_type,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
    target = await exchange_named(exchange)
    try:
        # mandatory is aio-pika's default, not statelessd's: both do the same work.
        await target.publish(message, routing_key, mandatory=False, timeout=TIMEOUT)
    except DeliveryError:
        raise HTTPException(503, "nacked by the broker") from None
    except TimeoutError:
        raise HTTPException(504, "not confirmed in time") from None
    except AMQPError:
        raise HTTPException(503, "the broker is unavailable") from None
    return Response(status_code=204)
