"""Decodes forms as the gateway does, but at once."""

from statelessd.gateway.slices import at_once
from statelessd.parsing.forms import multipart_steps


def decode_multipart(data, content_type):
    """Return the names and values of a multipart form."""
    buffer = bytearray(data)
    spans = at_once(multipart_steps(buffer, content_type))
    return [(name, bytes(buffer[start:end])) for name, start, end in spans]
