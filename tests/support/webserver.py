"""A web server in threads, whose answers a test decides."""

import abc
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer, abc.ABC):
    """Serves while its ``with`` statement lasts; ``respond`` answers a request."""

    daemon_threads = False  # so that leaving waits for them
    keeps = False  # the connection of a client, for its next request

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Request)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self._thread.join()
        self.server_close()

    @abc.abstractmethod
    def respond(self, request):
        """Answer the request."""


class Request(BaseHTTPRequestHandler):
    """A request, and the way to answer it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self):
        self.server.respond(self)

    def do_POST(self):
        self.server.respond(self)

    def body(self):
        """Return the request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, body=b"", **fields):
        """Send an answer."""
        self.send_response(status)
        if not self.server.keeps:  # its thread waits for another request, until the client ends
            self.send_header("Connection", "close")
        if status != 204:
            fields["Content-Length"] = str(len(body))
        for name, value in fields.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Log nothing: standard error belongs to pytest."""
