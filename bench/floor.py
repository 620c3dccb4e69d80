"""What uvloop and the kernel take for a request alone: a server that answers every read unseen.

``.venv/bin/python bench/floor.py`` prints its CPU for each request at 32 and 256 connections.
No gateway on uvloop can cost less; ``docs/performance.md`` takes it off what ours costs.
"""

import asyncio
import contextlib
import multiprocessing
import os
import socket
import sys
import time
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import debian
import environment
import gateways
import load
import processes
from measured_queue import PASSWORD, USER

ANSWER = (
    b"HTTP/1.1 204 No Content\r\nserver: statelessd\r\n"
    b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-request-id: 0123456789ab-1\r\n\r\n"
)
SECONDS = 4


class Answer(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP

    def data_received(self, _: bytes) -> None:
        self.transport.write(ANSWER)


def serve(port: int, cores: set[int]) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", port)
        await server.serve_forever()

    os.sched_setaffinity(0, cores)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def wait_for(port: int, server: multiprocessing.Process, patience: float = 10.0) -> None:
    """Until it listens. Raises RuntimeError when it has ended, or does not in time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and server.is_alive():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise RuntimeError(f"the server does not listen on port {port}")


def main() -> None:
    debian.ensure(["wrk"])
    cores = environment.divide(sorted(os.sched_getaffinity(0)), pin=True)
    port = gateways.free_port()
    pinned = set(cores.gateway or os.sched_getaffinity(0))
    server = multiprocessing.Process(target=serve, args=(port, pinned), daemon=True)
    server.start()
    os.sched_setaffinity(0, cores.others)
    wait_for(port, server)
    url = f"http://127.0.0.1:{port}{gateways.PATH}"
    for connections in (32, 256):
        load.run(url, connections, 1, USER, PASSWORD)
        before = processes.cpu_seconds([server.pid or 0])
        found = load.run(url, connections, SECONDS, USER, PASSWORD)
        each = (processes.cpu_seconds([server.pid or 0]) - before) / found.requests * 1e6
        print(f"{connections} connections: {each:.1f} us for each request")
    server.terminate()


if __name__ == "__main__":
    main()
