"""HTTP clients that ask at a constant rate, however slow the answers are.

The latency of a request counts from the moment at which it was due, not from
when a connection was free for it: else a stall would hide the requests that it
kept from being sent.
"""

import asyncio
import base64
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """``status`` 0: the connection was lost. ``seconds``: since the request was due."""

    number: int
    status: int
    seconds: float


def form_request(
    path: str, username: str, password: str, form: str = "body=#"
) -> Callable[[int], bytes]:
    """Makes the requests to ``path``, each with its number in place of the form's ``#``."""
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {token}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
    )

    def request(number: int) -> bytes:
        body = form.replace("#", str(number))
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    return request


class _Connection(asyncio.Protocol):
    """Kept alive; one request at a time."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        assert self._transport is not None
        self._received = b""
        self.status = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self.status

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if blank and len(body) >= (int(length[1]) if length else 0):
            self._settle(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._settle(0)

    def _settle(self, status: int) -> None:
        if self.status is not None and not self.status.done():
            self.status.set_result(status)

    @property
    def lives(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def ask_steadily(
    port: int,
    request: Callable[[int], bytes],
    rate: float,
    seconds: float,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Answer]:
    """``rate`` requests a second for ``seconds``; their answers, when the last one has come.

    ``stopped``: whether there shall be no more requests, already before that time.
    """
    loop = asyncio.get_running_loop()
    idle: list[_Connection] = []
    begun = loop.time()

    async def one(number: int, due: float) -> Answer:
        connection = idle.pop() if idle else None
        if connection is None or not connection.lives:
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        status = await connection.ask(request(number))
        if connection.lives:
            idle.append(connection)
        return Answer(number, status, loop.time() - due)

    asked = []
    for number in itertools.count():
        due = begun + number / rate
        if due > begun + seconds or stopped():
            break
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        asked.append(loop.create_task(one(number, due)))
    answers = list(await asyncio.gather(*asked))
    for connection in idle:
        connection.close()
    return answers


def percentile(answers: list[Answer], share: float) -> float:
    """Seconds that this share of the answers stayed within."""
    return nearest_rank(sorted(answer.seconds for answer in answers), share)


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """What this share of the values, in order, stays within; 0 where there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
