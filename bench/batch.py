"""Batches and one long stream against a plain pipelined AMQP publisher with confirms, in turn."""

import http.client
import json
import time
from collections.abc import Iterable, Iterator
from functools import partial

import load
import publisher
from amqp_client import EXCHANGE, ROUTING_KEY, VIRTUAL_HOST
from gateways import Gateway
from results import PIPELINED, Run
from stage import Publish, Stage

NDJSON = "application/x-ndjson"
PATH = f"/{VIRTUAL_HOST}/{EXCHANGE}"
SIZE = 100  # bytes of a message
ITEM = json.dumps({"routing_key": ROUTING_KEY, "body": "x" * SIZE}).encode()
BATCH = 10_000  # messages of one
LINES = 1000  # of the stream, in one chunk
WINDOW = 1000  # messages of the publisher without a confirm


def batches(stage: Stage) -> Iterator[Run]:
    """Batches and a stream: rate and CPU of a message; p50 and p99 are of the whole request."""
    broker = stage.broker.amqp_port
    json_batch, ndjson_batch = b"[%b]" % b",".join([ITEM] * BATCH), (ITEM + b"\n") * BATCH
    of_batch, array = f"{BATCH} messages", "application/json"
    with stage.statelessd() as gateway:
        port = gateway.port
        plain = partial(publisher.run, broker, WINDOW, SIZE, 0, BATCH, stage.cores)
        ways: list[tuple[str, str, Gateway | None, Publish]] = [
            (of_batch, PIPELINED, None, lambda _: plain()),
            (of_batch, "NDJSON", gateway, lambda _: post(port, NDJSON, [ndjson_batch])),
            (of_batch, "JSON", gateway, lambda _: post(port, array, [json_batch])),
            ("one stream", "NDJSON", gateway, lambda time: post(port, NDJSON, _chunks(time))),
        ]
        for _ in stage.rounds:
            for point, name, whose, publish in ways:
                yield stage.measure("batches", point, 1, publish, whose, name=name)


def _chunks(seconds: float) -> Iterator[bytes]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield (ITEM + b"\n") * LINES


def post(port: int, content_type: str, body: Iterable[bytes]) -> load.Load:
    """Post one batch, and return what became of its messages."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {"Authorization": f"Basic {load.token()}", "Content-Type": content_type}
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for part in body:
            sent += part.count(ITEM)
            yield part

    begun = time.perf_counter()
    connection.request("POST", PATH, counted(), headers, encode_chunked=True)
    published = json.loads(connection.getresponse().read()).get("published", 0)
    seconds = time.perf_counter() - begun
    connection.close()
    return load.Load(seconds, published, sent - published, 0, seconds * 1000, seconds * 1000)
