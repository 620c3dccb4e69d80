"""An HTTP server that answers each request as its script says: a gateway on a bad day."""

import json
import re
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# In the query, in an urlencoded form or in a multipart form.
MESSAGE_ID = re.compile(rb'message_id(?:=|"\r\n\r\n)([\w-]+)')


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str = ""
    body: bytes = b""
    retry_after: int | None = None


PUBLISHED = Answer(204)
CLOSED = None  # the connection ends without an answer


def problem(status, *, retry_after=None, **members):
    """Return a problem document; ``members`` differ from a retryable one's."""
    document = {
        "type": "/docs#flaky",
        "title": "Flaky",
        "status": status,
        "detail": f"It was told to say {status}",
        "outcome": "not-published",
        "retryable": True,
        **members,
    }
    body = json.dumps(document).encode()
    return Answer(status, "application/problem+json", body, retry_after)


@dataclass(frozen=True)
class Request:
    message_id: bytes
    at: float


class Flaky(ThreadingHTTPServer):
    """``script``: an answer for each request; the last one stands for all that follow."""

    daemon_threads = False  # so that leaving waits for them

    def __init__(self, *script):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = list(script)
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Flaky
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = MESSAGE_ID.search(self.path.encode() + b"\n" + body)
        self.server.requests.append(Request(found and found[1], time.monotonic()))
        script = self.server.script
        answer = script.pop(0) if len(script) > 1 else script[0]
        if answer is CLOSED:
            self.close_connection = True
            return
        self.send_response(answer.status)
        if answer.retry_after is not None:
            self.send_header("Retry-After", str(answer.retry_after))
        if answer.status != 204:
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_):
        """Log nothing: standard error belongs to pytest."""
