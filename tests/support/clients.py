"""Clients that ask one request after another, and what they are told."""

import contextlib
import http.client
import socket
import threading

from waiting import wait_until

FORM = "body=x"
HEADERS = {
    "Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q=",
    "Content-Type": "application/x-www-form-urlencoded",
}
REQUEST = (
    b"POST /test/test/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: 1\r\n\r\nx"
)
NOBODY_THERE = (ConnectionRefusedError, FileNotFoundError)  # between a stop and a start


class Clients:
    """Threads that run ``ask`` in a loop; what it returns is counted."""

    def __init__(self, count, ask):
        self.told = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(ask,)) for _ in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, ask):
        for told in ask(self._stopping):
            self.told.append(told)

    def go_on(self, answers=200):
        """Wait for so many more answers."""
        seen = len(self.told)
        wait_until(lambda: len(self.told) >= seen + answers, what="more answers")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=20):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = unix_socket(self._path, self.timeout)


def unix_socket(path, timeout=20):
    """A connected one."""
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(timeout)
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def kept_alive(make):
    """A client that keeps its connection until it is told to close it.

    ``make()`` returns an ``http.client`` connection, not yet connected.
    """

    def ask(stopping):
        connection = make()
        with contextlib.closing(connection):
            while not stopping.is_set():
                try:
                    if connection.sock is None:
                        connection.connect()
                except NOBODY_THERE:
                    stopping.wait(0.01)  # nothing was sent
                    continue
                except OSError as error:  # also of a handshake
                    yield repr(error)
                    continue
                try:
                    connection.request("POST", "/test/test/k", FORM, HEADERS)
                    with connection.getresponse() as answer:
                        answer.read()
                        yield answer.status
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    yield repr(error)

    return ask


def one_request_each(connect):
    """A client with a new connection for each request; ``connect()`` returns its socket."""

    def ask(stopping):
        while not stopping.is_set():
            with contextlib.ExitStack() as stack:
                try:
                    client = connect()
                except NOBODY_THERE:
                    stopping.wait(0.01)
                    continue
                except OSError as error:
                    yield repr(error)
                    continue
                stack.enter_context(client)
                try:
                    client.sendall(REQUEST)
                    answer = b""
                    while data := client.recv(65536):
                        answer += data
                    yield int(answer.split()[1]) if answer else "nothing"
                except OSError as error:
                    yield repr(error)

    return ask
