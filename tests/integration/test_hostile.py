"""Requests of people whom nobody knows, made to cost as much as they can; and good ones beside."""

import base64
import concurrent.futures
import contextlib
import os
import re
import selectors
import socket
import threading
from pathlib import Path

import pytest
from codings import MIB, gzip_bomb

SIZE = 10 * MIB
MEMORY = 100 * MIB  # bytes above idle
CPU = 0.5  # seconds of the backend that may pass during a neighbour's publish
PATIENCE = 300  # seconds for an answer on a busy machine
TICKS = os.sysconf("SC_CLK_TCK")

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=bound"
PART = b'--bound\r\nContent-Disposition: form-data; name="%b"\r\n\r\n'
END = b"\r\n--bound--"
JSON = "application/json"
NDJSON = "application/x-ndjson"
GZIP = "\r\nContent-Encoding: gzip"
ITEM = b'{"routing_key":"k","headers":'


def filled(before, unit, after=b""):
    """Return a body of SIZE bytes at most, of a unit that is repeated between two texts."""
    return before + unit * ((SIZE - len(before) - len(after)) // len(unit)) + after


def keys():
    return b",".join(b'"%06d":0' % n for n in range(900_000))


HOSTILE = {
    "broken escapes": (FORM, "/e/k", lambda: filled(b"body=", b"%4+%")),
    "brackets": (FORM, "/e/k", lambda: filled(b"body=x", b"&headers[a" + b"][a" * 3000 + b"]=1")),
    "no UTF-8": (FORM, "/e/k", lambda: filled(b"body=x&message_id=", b"%C3%28")),
    "many headers": (FORM, "/e/k", lambda: filled(b"body=x", b"&headers=%7B%22a%22:%7B%7D")),
    "half a boundary": (MULTIPART, "/e/k", lambda: filled(PART % b"body", b"\r\n--boun", END)),
    "parts": (MULTIPART, "/e/k", lambda: filled(b"", PART % b"headers[a]" + b"x\r\n", END)),
    "a deep array": (JSON, "/e", lambda: filled(b"[", b'{"json":[')),
    "as many keys": (JSON, "/e", lambda: b"[" + ITEM + b"{" + keys() + b"}}]"),
    "escapes": (JSON, "/e", lambda: filled(b'[{"body":"', b"\\ud83d\\ude00", b'"}]')),
    "numbers": (NDJSON, "/e", lambda: filled(ITEM + b'{"a":[', b"1e5,-0.25,", b"0]}}\n")),
    "an endless line": (NDJSON, "/e", lambda: filled(b'"', b"\\u0000")),
    "a form of 10 GB": (FORM + GZIP, "/e/k", lambda: gzip_bomb(b"%00x", 10_000)),
    "an array of 10 GB": (JSON + GZIP, "/e", lambda: gzip_bomb(b"[", 10_000)),
    "10 GB of nothing": (NDJSON + GZIP, "/e", lambda: gzip_bomb(b"\n", 10_000)),
    "10 GB of no items": (NDJSON + GZIP, "/e", lambda: gzip_bomb(b"{}\n", 10_000)),
    "a line of 10 GB": (NDJSON + GZIP, "/e", lambda: gzip_bomb(b"x", 10_000, b'{"body":"')),
    "lines of nothing": (NDJSON, "/e", lambda: filled(b"", b" " * 999 + b"\n")),
}  # fmt: skip


def cpu(pid):
    """Return the CPU time that a process has had, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak(pid):
    """Return the most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def head(number, path, *lines):
    """Return the head of a POST by an invented user, whose line ends behind it are missing."""
    login = f"nobody-{number}:x".encode()
    login = b"Authorization: Basic " + base64.b64encode(login)
    return b"\r\n".join([b"POST /test%b HTTP/1.1" % path.encode(), b"Host: x", login, *lines])


def ask(gateway, number, kind, path, body):
    """Send a body as somebody unknown; return the status of the answer."""
    lines = [b"Content-Type: " + kind.encode(), b"Content-Length: %d" % len(body)]
    request = head(number, path, *lines, b"Connection: close") + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as client:
        with contextlib.suppress(OSError):  # the answer may come before all was sent
            client.sendall(request)
            client.sendall(body)
        return int(client.recv(65536).split()[1])


class Neighbour(threading.Thread):
    """Publishes one message after the other, and knows what the backend did meanwhile."""

    def __init__(self, gateway):
        super().__init__()
        self.gateway = gateway
        [self.backend] = gateway.backends()
        self.done = threading.Event()
        self.statuses = []
        self.longest = 0.0  # seconds of the backend's CPU

    def run(self):
        with self.gateway.client() as session:
            while not self.done.is_set():
                begun = cpu(self.backend)
                self.statuses.append(self.gateway.publish(session=session).status_code)
                self.longest = max(self.longest, cpu(self.backend) - begun)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()
        assert set(self.statuses) == {204}
        assert self.longest < CPU


@pytest.fixture
def attacked(start_gateway):
    """A gateway that has published, and the memory that its backend had then."""
    gateway = start_gateway()
    assert gateway.publish().status_code == 204
    [backend] = gateway.backends()
    return gateway, backend, peak(backend)


@pytest.mark.parametrize("at_once", [1, len(HOSTILE)])
def test_bodies_that_cost_as_much_as_they_can(attacked, at_once):
    gateway, backend, idle = attacked
    bodies = {name: (kind, path, make()) for name, (kind, path, make) in HOSTILE.items()}
    with Neighbour(gateway), concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        asked = {
            name: pool.submit(ask, gateway, number, *request)
            for number, (name, request) in enumerate(bodies.items())
        }
        statuses = {name: answer.result() for name, answer in asked.items()}
    assert set(statuses.values()) <= {200, 207, 400, 401, 413, 429, 503}, statuses
    assert peak(backend) - idle < MEMORY


def held(number):
    """Return what one of many connections sends, of which nothing will ever be whole."""
    long_body = [b"Content-Type: text/plain", b"Content-Length: %d" % SIZE, b"\r\n"]
    match number % 5:
        case 0:
            lines = [b"Content-Type: application/x-ndjson", b"Content-Length: %d" % (2 * SIZE)]
            return head(number, "/e", *lines, b"\r\n") + b'{"body":"' + b"x" * (2 * SIZE - 100)
        case 1:
            return b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000
        case 2:
            return head(number, "/e/k", *long_body) + b"x" * (SIZE - 1)
        case 3:
            return head(number, "/e/k", *(b"X-%d: %b" % (n, b"x" * 180) for n in range(80)))
        case _:
            size = b"%x\r\n" % SIZE
            lines = [b"Content-Type: text/plain", b"Transfer-Encoding: chunked", b"\r\n"]
            return head(number, "/e/k", *lines) + size + b"\r\n0\r\n\r\n" * (SIZE // 7)


def send_what_is_taken(clients, seconds):
    """Send to all connections at once, until none takes more for so long."""
    with selectors.DefaultSelector() as selector:
        for client, data in clients.items():
            client.setblocking(False)
            selector.register(client, selectors.EVENT_WRITE, memoryview(data))
        while ready := selector.select(seconds):
            for key, _ in ready:
                try:
                    sent = key.fileobj.send(key.data[: 256 * 1024])
                except BlockingIOError:
                    continue
                except OSError:  # it was refused
                    sent = len(key.data)
                selector.unregister(key.fileobj)
                if sent < len(key.data):
                    selector.register(key.fileobj, selectors.EVENT_WRITE, key.data[sent:])


def test_connections_that_hold_what_they_may(attacked):
    gateway, backend, idle = attacked
    with contextlib.ExitStack() as stack, Neighbour(gateway):
        clients = {}
        for number in range(40):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)
            )
            clients[client] = held(number)
        send_what_is_taken(clients, 2)
        assert gateway.publish().status_code == 204
        assert peak(backend) - idle < MEMORY
