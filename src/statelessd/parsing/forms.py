"""Decodes forms to names and values: bytes, because one is a message's body and must not change.

Large forms are decoded in steps, and in place, because a field is never longer than what
encodes it. So the memory of a form is that of its bytes.
"""

import re
from binascii import a2b_qp
from collections.abc import Generator
from typing import Final

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from ..message import Mistake, Public, bad_request

MAX_FIELDS = 1000
MAX_NAME = 4096  # bytes of a field's name in a large form, as it was sent
MAX_BOUNDARY = 256  # bytes; RFC 2046 section 5.1.1 allows 70

# Bytes. A form that is not costly is decoded at once, without steps.
CHEAP: Final = 32 * 1024
LARGE: Final = 256 * 1024
MOST_ESCAPES: Final = CHEAP // 4
PIECE = 16 * 1024  # decoding one takes some milliseconds at most
STRIDE = 1024 * 1024  # searching one takes less than a millisecond

# These are numbers, because a search for bytes in bytes is slower: CPython first tries to
# convert them to a number, and raises and drops an exception.
PERCENT: Final = ord("%")
PLUS: Final = ord("+")

BODY: Final = b"body="  # most forms begin with it
SMALL: Final = 4096  # bytes

_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_IDENTITY_ENCODINGS = ("7bit", "8bit", "binary")  # RFC 2045 section 6.2: the bytes are as they are

Pairs = list[tuple[bytes, bytes]]
"""Names and values in the order in which they were sent."""

Spans = list[tuple[bytes, int, int]]
"""Names, and where their values begin and end."""


def is_costly(data: bytes) -> bool:
    """Return whether decoding an urlencoded form at once may take more than some milliseconds."""
    if len(data) > LARGE:
        return True
    if len(data) <= CHEAP or PERCENT not in data:
        return False
    # CPython 3.11 counts byte by byte, but removes what memchr finds: few escapes cost little.
    plain = data.replace(b"%", b"", MOST_ESCAPES + 1)
    return len(data) - len(plain) > MOST_ESCAPES


def decode_urlencoded(data: bytes) -> Pairs:
    """Decode ``application/x-www-form-urlencoded`` (WHATWG URL, section 5.1).

    ``data`` is a body or a query string. A ``%`` without two hexadecimal digits stays as it
    is, as in browsers and PHP. Raise RequestError for more than MAX_FIELDS fields.
    """
    if data.count(b"&") >= MAX_FIELDS:
        raise bad_request(Public(f"The form has more than {MAX_FIELDS} fields."))
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


def divide(data: bytes) -> tuple[bytes | None, bytes]:
    """Return the value of a form's first plain field ``body``, still encoded, and the other fields.

    The value is None without such a field.
    """
    start, end = len(BODY), len(data)
    if not data.startswith(BODY):
        start = data.find(b"&" + BODY) + 1 + len(BODY)
        if start == len(BODY):
            return None, data
    elif end <= SMALL:  # for these it is quicker than ``find``
        field, _, others = data.partition(b"&")
        return field[start:], others
    if (ampersand := data.find(b"&", start)) >= 0:
        end = ampersand
    return data[start:end], data[: start - len(BODY)] + data[end:]


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


def urlencoded_steps(data: bytearray) -> Generator[None, None, Spans]:
    """Decode a large form as ``decode_urlencoded`` does, in place; return where its values are.

    Fields whose names are too long for any property are left out.
    """
    fields = 0
    for start in range(0, len(data), STRIDE):
        fields += data.count(b"&", start, start + STRIDE)
        yield
    if fields >= MAX_FIELDS:
        raise bad_request(Public(f"The form has more than {MAX_FIELDS} fields."))
    spans: Spans = []
    at = 0
    while at < len(data):
        end = yield from _find_end(data, at)
        limit = min(end, at + MAX_NAME)
        equals = data.find(b"=", at, limit)
        stop = equals if equals >= 0 else limit
        name = decode_value(bytes(data[at:stop]))
        if equals >= 0 or (stop == end and name):
            start = min(stop + 1, end)
            stop = yield from _decode_in_place(data, start, end)
            spans.append((name, start, stop))
        elif name.startswith(b"headers["):
            raise bad_request(Public("The name of a header field is too long."))
        yield
        at = end + 1
    return spans


def _find_end(data: bytearray, at: int) -> Generator[None, None, int]:
    """Return where the field that begins at ``at`` ends."""
    for start in range(at, len(data), STRIDE):
        end = data.find(b"&", start, start + STRIDE)
        if end >= 0:
            return end
        yield
    return len(data)


def _decode_in_place(data: bytearray, start: int, end: int) -> Generator[None, None, int]:
    """Decode a value where it is, and return where it ends now."""
    written = start
    while start < end:
        stop = min(start + PIECE, end)
        if stop < end:  # a piece splits no escape
            percent = data.find(b"%", max(start + 1, stop - 2), stop)
            stop = percent if percent >= 0 else stop
        piece = decode_value(bytes(data[start:stop]))
        data[written : written + len(piece)] = piece
        written += len(piece)
        start = stop
        yield
    return written


def multipart_steps(data: bytearray, content_type: bytes) -> Generator[None, None, Spans]:
    """Decode ``multipart/form-data`` (RFC 7578) in place. A file part counts like any other.

    Raise RequestError if the body is malformed or cut short, or has more than MAX_FIELDS parts.
    Raise it too for a part with a Content-Transfer-Encoding that would have to be decoded,
    which RFC 7578 section 4.7 deprecates. To publish such a part undecoded would be wrong.
    """
    boundary = _boundary(content_type)
    spans: Spans = []
    name, begin, written = b"", 0, 0
    try:
        with PushMultipartParser(
            boundary, content_length=len(data), max_segment_count=MAX_FIELDS
        ) as parser:
            for start in range(0, len(data), PIECE):
                for event in parser.parse(bytes(data[start : start + PIECE])):
                    if isinstance(event, MultipartSegment):
                        name, begin = _name_of(event), written
                    elif event:
                        data[written : written + len(event)] = event
                        written += len(event)
                    else:  # the end of this part
                        spans.append((name, begin, written))
                yield
    except (MultipartError, UnicodeError) as error:
        reason = error.args[0] if isinstance(error, MultipartError) else "it is not UTF-8"
        # The parser keeps the error, whose traceback leads to it and to the body.
        error.__traceback__ = None
        raise bad_request(f"The multipart form is malformed: {reason}.", Mistake.FORM) from error
    return spans


def _boundary(content_type: bytes) -> str:
    _, options = parse_options_header(content_type.decode("latin-1"))
    boundary: str = options.get("boundary", "")
    if not boundary:
        raise bad_request(Public("The multipart form's Content-Type names no boundary."))
    if len(boundary) > MAX_BOUNDARY:
        raise bad_request(Public("The multipart form's boundary is too long."))
    return boundary


def _name_of(part: MultipartSegment) -> bytes:
    encoding = part.header("Content-Transfer-Encoding", "binary")
    if encoding.strip().lower() not in _IDENTITY_ENCODINGS:
        raise bad_request(Public("A part of the form has a Content-Transfer-Encoding."))
    name: str = part.name
    return name.encode()
