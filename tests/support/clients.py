"""Clients that ask one request after another in threads, and what they are told."""

import contextlib
import http.client
import itertools
import math
import socket
import threading
import time

import requests
from waiting import wait_until

PATH = "/test/test/k"
FORM = "body=x"
LOGIN = {"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}
HEADERS = {**LOGIN, "Content-Type": "application/x-www-form-urlencoded"}
REQUEST = (
    b"POST /test/test/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: 1\r\n\r\nx"
)
KEPT = REQUEST.replace(b"Connection: close\r\n", b"")
# What connecting may raise between a stop and a start: the clients try again.
NOBODY_THERE: tuple[type[OSError], ...] = (ConnectionRefusedError, FileNotFoundError)


class Clients:
    """Threads that each iterate over ``ask(stopping)``: what it yields is what they were told.

    An exception in one of them is raised at the end of the block.
    """

    def __init__(self, count, ask):
        self.told = []
        self._errors = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(ask,)) for _ in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, ask):
        try:
            for told in ask(self._stopping):
                self.told.append(told)
        except Exception as error:
            self._errors.append(error)

    def stop(self):
        """Tell them to stop; the end of the block waits for that."""
        self._stopping.set()

    def go_on(self, answers=200):
        """Wait for so many more answers."""
        seen = len(self.told)
        wait_until(
            lambda: self._errors or len(self.told) >= seen + answers,
            120,
            what=f"{answers} more answers",
        )


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = unix_socket(self._path, self.timeout)


def unix_socket(path, timeout=30):
    """Return a connected one."""
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(timeout)
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def tcp(port):
    """Return a function that makes a connection to the port for ``kept_alive``."""
    return lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def _status(_body, status, answer):
    return status or answer


def kept_alive(
    make,
    path=PATH,
    *,
    headers=HEADERS,
    body=lambda _: FORM,
    tell=_status,
    nobody_there=NOBODY_THERE,
    late=math.inf,
):
    """Return a client that keeps its connection until it is told to close it.

    ``make()`` returns an ``http.client`` connection, not yet connected. ``body(number)`` is
    each request's. What it tells is ``tell(body, status, answer)``. If the connection was
    lost, the status is 0 and the answer says when that was. It is not told if the client was
    ``late``: if it sent its request so many seconds after it could have.
    """
    numbers = itertools.count()

    def ask(stopping):
        connection = make()
        with contextlib.closing(connection):
            asked = 0  # on this connection
            idle_since = math.inf
            while not stopping.is_set():
                sent = body(next(numbers))
                try:
                    if connection.sock is None:
                        asked = 0
                        connection.connect()
                        idle_since = time.monotonic()
                except nobody_there:
                    stopping.wait(0.01)  # nothing was sent
                    continue
                except OSError as error:  # also of a handshake
                    yield tell(sent, 0, f"{error!r} while it connected")
                    continue
                asked += 1
                begun = sent_at = time.monotonic()
                doing = "sending"
                try:
                    connection.request("POST", path, sent, headers)
                    sent_at, doing = time.monotonic(), "waiting for the answer to"
                    with connection.getresponse() as answer:
                        content = answer.read()
                        idle_since = time.monotonic()
                        yield tell(sent, answer.status, content)
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    if sent_at - idle_since > late:
                        continue
                    told = f"{error!r} while {doing} request {asked} of a connection"
                    yield tell(sent, 0, f"{told}, for {time.monotonic() - begun:.3f} s")

    return ask


def one_request_each(connect, *, nobody_there=NOBODY_THERE):
    """Return a client with a new connection for each request; ``connect()`` returns its socket."""

    def ask(stopping):
        while not stopping.is_set():
            try:
                client = connect()
            except nobody_there:
                stopping.wait(0.01)
                continue
            except OSError as error:
                yield f"{error!r} while it connected"
                continue
            answer = b""
            try:
                with client:
                    client.sendall(REQUEST)
                    while data := client.recv(65536):
                        answer += data
                    yield int(answer.split()[1]) if answer else "the end without an answer"
            except OSError as error:
                yield f"{error!r} after {answer!r}"

    return ask


def publishing(gateway, path=PATH, *, form=lambda _: {"body": "x"}, **login):
    """Return a client that tells its statuses, or where it was refused "nobody there" at last."""

    def ask(stopping):
        with gateway.client() as session:
            for number in itertools.count():
                if stopping.is_set():
                    return
                try:
                    answer = gateway.publish(path, data=form(number), session=session, **login)
                except requests.ConnectionError as error:
                    refused = "Connection refused" in repr(error)
                    yield "nobody there" if refused else repr(error)
                    return
                yield answer.status_code

    return ask


def all_are_204(clients):
    """Assert that every client was told 204 each time."""
    others = [told for each in clients for told in each.told if told != 204]
    assert not others, f"{len(others)} answers that are not a 204: {others[:20]}"
    assert all(each.told for each in clients)
