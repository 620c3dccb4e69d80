"""What the HTTP edge's tests say of batches and their answers."""

import json

NDJSON = b"Content-Type: application/x-ndjson\r\n"
JSON = b"Content-Type: application/json\r\n"


def item(number, **members):
    return {"routing_key": "k", "id": number, "body": f"m{number}", **members}


def lines(items):
    """Return NDJSON; bytes are taken as they are."""
    return b"".join(
        (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in items
    )


def chunked(*pieces, end=True):
    """Return a body of Transfer-Encoding: chunked."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return body + (b"0\r\n\r\n" if end else b"")
