"""Batches and one long stream against a plain pipelined AMQP publisher with confirms, in turn."""

import http.client
import json
import time
from collections.abc import Iterable, Iterator

import load
import publisher
from amqp_client import EXCHANGE, ROUTING_KEY, VIRTUAL_HOST
from results import PIPELINED, Run
from stage import Stage

PATH = f"/{VIRTUAL_HOST}/{EXCHANGE}"
SIZE = 100  # bytes of a message
ITEM = json.dumps({"routing_key": ROUTING_KEY, "body": "x" * SIZE}).encode()
BATCH = 10_000  # messages of one
LINES = 1000  # of the stream, in one chunk
WINDOW = 1000  # messages of the publisher without a confirm


def batches(stage: Stage) -> Iterator[Run]:
    """Batches and a stream: rate and CPU of a message; p50 and p99 are of the whole request."""
    broker = stage.broker.amqp_port
    with stage.statelessd() as gateway:

        def pipelined(_: float) -> load.Load:
            return publisher.run(broker, WINDOW, SIZE, count=BATCH, cores=stage.cores)

        def ndjson(_: float) -> load.Load:
            return post(gateway.port, "application/x-ndjson", [(ITEM + b"\n") * BATCH])

        def array(_: float) -> load.Load:
            return post(gateway.port, "application/json", [b"[%b]" % b",".join([ITEM] * BATCH)])

        def stream(seconds: float) -> load.Load:
            return post(gateway.port, "application/x-ndjson", _chunks(seconds))

        point = f"{BATCH} messages"
        for _ in stage.rounds:
            yield stage.measure("batches", point, 1, pipelined, None, name=PIPELINED)
            yield stage.measure("batches", point, 1, ndjson, gateway, name="NDJSON")
            yield stage.measure("batches", point, 1, array, gateway, name="JSON")
            yield stage.measure("batches", "one stream", 1, stream, gateway, name="NDJSON")


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
