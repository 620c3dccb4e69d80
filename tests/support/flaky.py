"""An HTTP server that answers each request as its script says: a gateway on a bad day."""

import json
import re
import time
from dataclasses import dataclass

from webserver import Server

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


class Flaky(Server):
    """``script``: an answer for each request; the last one stands for all that follow."""

    def __init__(self, *script, keeps=False):
        super().__init__()
        self.keeps = keeps
        self.script = list(script)
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def plays(self, *script):
        """Begin anew with this script."""
        self.script = list(script)
        self.requests.clear()

    def respond(self, request):
        found = MESSAGE_ID.search(request.path.encode() + b"\n" + request.body())
        self.requests.append(Request(found and found[1], time.monotonic()))
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if answer is CLOSED:
            request.close_connection = True
            return
        fields = {"Content-Type": answer.content_type, "Retry-After": answer.retry_after}
        given = {name: value for name, value in fields.items() if value not in ("", None)}
        request.answer(answer.status, answer.body, **given)
