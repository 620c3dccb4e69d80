"""Print the files of the package that one request goes through, in the order of their first call.

``make trip`` runs it. A backend and a scripted broker run in this process. After a warm-up
each kind of request is sent many times over one connection while a profile hook records
the calls. A file counts if every one of these requests entered it, so the backend's own
timers do not show. The number beside a file is the number of calls into it.
"""

import asyncio
import logging
import socket
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import FrameType

import uvloop

from statelessd.config.settings import Application, Config, HTTPServer, RabbitMQ
from statelessd.process.backend import Backend

ROOT = Path(__file__).resolve().parent.parent
SOURCE = f"{ROOT}/src/statelessd/"
sys.path.append(str(ROOT / "tests" / "support"))

from fakebroker import FakeBroker  # type: ignore[import-not-found]  # noqa: E402 - found by that path

WARM_UP, RECORDED = 5, 10  # requests of each kind: too few to give up on heads that differ
PATIENCE = 60.0  # seconds for all of it

HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\n{more}"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
ITEM = '{"routing_key": "key", "body": "hello"}\n'


def post(path: str, body: str, more: str) -> bytes:
    """Return a whole POST request; ``more`` holds further header lines."""
    login = b64encode(b"app:secret").decode()
    head = HEAD.format(path=path, login=login, more=more)
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def known_heads() -> Iterator[bytes]:
    """Yield publishes whose head is always the same."""
    while True:
        yield post("/test/exchange/key", "body=hello", FORM)


def parsed_heads() -> Iterator[bytes]:
    """Yield publishes whose head has never been seen before."""
    for number in count():
        yield post("/test/exchange/key", "body=hello", f"{FORM}X-Number: {number}\r\n")


def batch_items() -> Iterator[bytes]:
    """Yield batches of one item."""
    while True:
        yield post("/test/exchange", ITEM, "Content-Type: application/x-ndjson\r\n")


def stats() -> Iterator[bytes]:
    """Yield requests for the statistics."""
    while True:
        yield b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n"


KINDS = {
    "a publish whose head is known": known_heads,
    "a publish whose head is parsed": parsed_heads,
    "a batch of one item": batch_items,
    "/stats": stats,
}


class Client:
    """One client connection, which sends one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> None:
        """Send the request and read its response. Raise RuntimeError if it is an error."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 20"):
            raise RuntimeError(f"the gateway answered {head.decode()}")
        _, _, length = head.partition(b"content-length: ")
        await self._reader.readexactly(int(length.split(b"\r\n")[0] or 0))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def record(client: Client, request: bytes) -> Counter[str]:
    """Return how often each file of the package was called for the request."""
    calls: Counter[str] = Counter()

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(SOURCE):
            calls[frame.f_code.co_filename.removeprefix(SOURCE)] += 1

    sys.setprofile(called)
    try:
        await client.ask(request)
    finally:
        sys.setprofile(None)
    return calls


async def trips(port: int) -> None:
    """Send every kind of request, and print what it went through."""
    for kind, requests in KINDS.items():
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        each = requests()
        for _ in range(WARM_UP):
            await client.ask(next(each))
        recorded = [await record(client, next(each)) for _ in range(RECORDED)]
        client.close()
        shortest = min(recorded, key=Counter.total)
        files = [name for name in shortest if all(name in calls for calls in recorded)]
        print(f"{kind}: {len(files)} files")
        print(*(f"  {shortest[name]:3} {name}" for name in files), "", sep="\n")


async def main() -> None:
    """Run a broker and a backend, and send the requests to it."""
    async with asyncio.timeout(PATIENCE), FakeBroker() as broker:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        rabbitmq = RabbitMQ(host="127.0.0.1", port=broker.port)
        config = Config(application=Application(rabbitmq=rabbitmq), http_server=HTTPServer())
        backend = Backend(config, [listener], port, asyncio.get_running_loop())
        serving = asyncio.create_task(backend.serve())
        try:
            await trips(port)
        finally:
            backend.stop()
            await serving


if __name__ == "__main__":
    logging.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
