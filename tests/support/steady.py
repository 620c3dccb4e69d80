"""HTTP clients that ask at a constant rate, however slow the answers are.

The latency of a request counts from when it was due, not from when a connection was free for
it: otherwise a stall would hide the requests that it kept from being sent.
"""

import asyncio
import base64
import itertools
import re
from collections.abc import Callable
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
    """Return what makes the requests, each with its number in place of the form's ``#``."""
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {token}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
    )

    def request(number: int) -> bytes:
        body = form.replace("#", str(number))
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    return request


async def ask_steadily(
    port: int,
    request: Callable[[int], bytes],
    rate: float,
    seconds: float,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Answer]:
    """Send ``rate`` requests a second for ``seconds``; return all answers.

    ``stopped``: whether to send no more requests before that time is over.
    """
    loop = asyncio.get_running_loop()
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    begun = loop.time()
    # Of more connections some would be silent for too long, on a busy machine.
    connecting = asyncio.Semaphore(50)

    async def one(number: int, due: float) -> Answer:
        connection = idle.pop() if idle else None
        if connection is not None and connection[0].at_eof():  # the gateway closed it meanwhile
            connection[1].close()
            connection = None
        if connection is None:
            async with connecting:
                connection = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = connection
        try:
            writer.write(request(number))
            head = await reader.readuntil(b"\r\n\r\n")
            if length := LENGTH.search(head):
                await reader.readexactly(int(length[1]))
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return Answer(number, 0, loop.time() - due)
        idle.append((reader, writer))
        return Answer(number, int(head[9:12]), loop.time() - due)

    asked = []
    for number in itertools.count():
        due = begun + number / rate
        if due > begun + seconds or stopped():
            break
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        asked.append(loop.create_task(one(number, due)))
    answers = list(await asyncio.gather(*asked))
    for _, writer in idle:
        writer.close()
    return answers


def percentile(answers: list[Answer], share: float) -> float:
    """Return the seconds that this share of the answers stayed within; 0 if there are none."""
    ordered = sorted(answer.seconds for answer in answers)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0
