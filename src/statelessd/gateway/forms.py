"""Decodes forms to names and values: bytes, because one is a message's body and must not change."""

import re
from binascii import a2b_qp

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from ..message import bad_request

MAX_FIELDS = 1000

# These are numbers, because a search for bytes in bytes is slower: CPython first tries to
# convert them to a number, and raises and drops an exception.
PERCENT, PLUS = b"%+"

_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_IDENTITY_ENCODINGS = ("7bit", "8bit", "binary")  # RFC 2045 section 6.2: the bytes are as they are

Pairs = list[tuple[bytes, bytes]]
"""Names and values in the order in which they were sent."""


def decode_urlencoded(data: bytes) -> Pairs:
    """Decode ``application/x-www-form-urlencoded`` (WHATWG URL, section 5.1).

    ``data`` is a body or a query string. A ``%`` without two hexadecimal digits stays as it
    is, as in browsers and PHP. Raise RequestError for more than MAX_FIELDS fields.
    """
    if data.count(b"&") >= MAX_FIELDS:
        raise bad_request(f"The form has more than {MAX_FIELDS} fields.")
    # Most fields have nothing to decode, and looking is cheaper than decoding.
    plain = PERCENT not in data and PLUS not in data
    pairs = []
    for field in data.split(b"&"):
        if field:
            name, _, value = field.partition(b"=")
            if not plain and (PERCENT in field or PLUS in field):
                name, value = decode_value(name), decode_value(value)
            pairs.append((name, value))
    return pairs


def find_body(data: bytes) -> tuple[int, int]:
    """Return where the value of a form's first plain field ``body`` begins and ends, or (0, 0)."""
    start = 5 if data.startswith(b"body=") else data.find(b"&body=") + 6
    if data[start - 5 : start] != b"body=":
        return 0, 0
    end = data.find(b"&", start)
    return start, end if end >= 0 else len(data)


def decode_value(data: bytes) -> bytes:
    """Decode one value or name of an urlencoded form."""
    if PLUS in data:
        data = data.replace(b"+", b" ")
    if PERCENT not in data:
        return data
    if _STRAY_PERCENT.search(data):
        data = _STRAY_PERCENT.sub(b"%25", data)
    # This is quoted-printable with another sign, and that is decoded in C. For large bodies
    # urllib would hold the event loop for seconds.
    return a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))


def decode_multipart(data: bytes, content_type: bytes) -> Pairs:
    """Decode ``multipart/form-data`` (RFC 7578). A file part counts like any other.

    Raise RequestError for a body that is malformed or cut short, for more than
    MAX_FIELDS parts, and for a part with a Content-Transfer-Encoding that would have to be
    decoded: RFC 7578 section 4.7 deprecates it, and publishing it undecoded would be wrong.
    """
    _, options = parse_options_header(content_type.decode("latin-1"))
    boundary = options.get("boundary", "")
    if not boundary:
        raise bad_request("The multipart form's Content-Type names no boundary.")
    pairs: Pairs = []
    name, pieces = b"", list[bytes]()
    try:
        with PushMultipartParser(
            boundary, content_length=len(data), max_segment_count=MAX_FIELDS
        ) as parser:
            for event in parser.parse(data):
                if isinstance(event, MultipartSegment):
                    encoding = event.header("Content-Transfer-Encoding", "binary")
                    if encoding.strip().lower() not in _IDENTITY_ENCODINGS:
                        raise bad_request("A part of the form has a Content-Transfer-Encoding.")
                    name, pieces = event.name.encode(), []
                elif event:
                    pieces.append(bytes(event))
                else:  # the end of this part
                    pairs.append((name, pieces[0] if len(pieces) == 1 else b"".join(pieces)))
    except (MultipartError, UnicodeError) as error:
        reason = error.args[0] if isinstance(error, MultipartError) else "it is not UTF-8"
        raise bad_request(f"The multipart form is malformed: {reason}.") from error
    return pairs
