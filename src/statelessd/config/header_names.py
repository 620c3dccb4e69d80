"""Which request headers may become message headers."""

import re
from collections.abc import Iterator, Sequence

LONGEST = 255  # bytes of a short string (AMQP 0-9-1 section 4.2.5.3)
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2
CREDENTIALS = {"authorization", "cookie", "set-cookie"}
# They belong to one connection or to the length of one body (RFC 9110 sections 7.6.1 and 8.6).
OF_CONNECTION = {
    "connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding",
    "upgrade",
}  # fmt: skip
NOT_TEXT = {"CC", "BCC", "x-delay"}  # message headers that must not be text
# Every message gets them from its request, if they are valid.
OF_TRACE = ("traceparent", "tracestate")


def is_secret(name: str) -> bool:
    """Return whether a request header may hold credentials, which no message may carry."""
    name = name.lower()
    return name in CREDENTIALS or name.startswith("proxy-")


def wrong_with_names(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield which names of a list cannot be forwarded, and why, as the end of a sentence."""
    known: set[str] = set()
    for i, name in enumerate(names):
        lower, wrong = name.lower(), ""
        if not TOKEN.fullmatch(name) or len(name) > LONGEST:
            wrong = "is not the name of a header"
        elif is_secret(name):
            wrong = "is never forwarded, because it may hold credentials"
        elif lower in OF_CONNECTION:
            wrong = "is about the connection or the body's length, not about the message"
        elif name in NOT_TEXT:
            wrong = "cannot be forwarded, because this message header must not be text"
        elif lower in known:
            wrong = "is listed more than once"
        known.add(lower)
        if wrong:
            yield i, f"{name!r} {wrong}"
