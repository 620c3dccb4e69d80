"""One client connection of the HTTP edge without a socket: bytes in, answers and publishes out."""

import asyncio
import json
import re
import socket
from typing import NamedTuple

from edge import Edge

OURS = re.compile("[0-9a-f]{12}-[0-9a-f]+")  # an id that was made here
QUIET = socket.socketpair()  # no byte waits in it, ever


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        addresses = {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}
        super().__init__({**addresses, "socket": QUIET[0]})
        self.pieces = []
        self.closed = False
        self.paused = False

    def write(self, data):
        assert not self.closed, "something was written after the end"
        self.pieces.append(data)

    @property
    def written(self):
        return b"".join(self.pieces)

    def close(self):
        self.closed = True

    abort = write_eof = close

    def is_closing(self):
        return self.closed

    def can_write_eof(self):
        return True

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


class Conversation(NamedTuple):
    """What a client was told, as (status, problem or None), and what became of its requests.

    ``ids``: those of the answers' X-Request-ID that are a client's, else None.
    ``published``: each message with its properties and its sender.
    """

    answers: list
    ids: list
    published: list
    pages: int
    reserved: int  # bytes, after its end
    ended: bool


def converse(pieces, before=(), **settings):
    """Send the pieces, each in a read of its own.

    ``before``: those of another connection, which does not count.
    """

    async def main():
        edge = Edge(**settings)
        await talk(edge, before)
        for each in (edge.publisher.published, edge.publisher.headers, edge.publisher.credentials):
            each.clear()
        return await talk(edge, pieces)

    async def talk(edge, pieces):
        transport = Transport()
        protocol = edge.new_connection()
        protocol.connection_made(transport)
        pages = 0
        for piece in pieces:
            if transport.closed:
                break
            protocol.data_received(piece)
            while tasks := list(edge.tasks):
                pages += len(tasks)
                await asyncio.gather(*tasks)
                await asyncio.sleep(0)  # their callbacks
            assert transport.closed or not transport.paused, "nobody will ever read again"
        ended = transport.closed
        protocol.connection_lost(None)
        answers, ids = _answers(transport.written)
        publisher = edge.publisher
        senders = [each.name for each in publisher.credentials]
        published = list(zip(publisher.published, publisher.headers, senders, strict=True))
        return Conversation(answers, ids, published, pages, publisher.reserved, ended)

    return asyncio.run(main())


def _answers(written):
    found, ids = [], []
    while written:
        head, blank, rest = written.partition(b"\r\n\r\n")
        assert blank, written
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1])
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", 0))
        if not rest.startswith(b"{") and b"problem+json" in head:
            length = 0  # the answer to HEAD
        body, written = rest[:length], rest[length:]
        if status == 100:
            continue
        problem = None
        if headers.get("content-type") == "application/problem+json" and body:
            document = json.loads(body)
            assert document["status"] == status
            problem = document["type"]
        found.append((status, problem))
        given = headers["x-request-id"]
        ids.append(None if OURS.fullmatch(given) else given)
    return found, ids
