"""Form bodies, urlencoded and multipart, to pairs of names and bytes.

Values stay bytes: one of them is the message's body, which has to arrive bit
for bit.
"""

from urllib.parse import unquote_to_bytes

from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from .errors import bad_request

MAX_FIELDS = 1000

Pairs = list[tuple[bytes, bytes]]
"""Names and values in the order in which they were sent."""


def decode_urlencoded(data: bytes) -> Pairs:
    """A body or query string of ``application/x-www-form-urlencoded`` (WHATWG URL, section 5.1).

    A ``%`` that no two hexadecimal digits follow stays as it is, as browsers
    and PHP have it. Raises RequestError for more than MAX_FIELDS fields.
    """
    if data.count(b"&") >= MAX_FIELDS:
        raise bad_request(f"The form has more than {MAX_FIELDS} fields.")
    # Most fields have nothing to decode, and looking is cheaper than decoding.
    plain = b"%" not in data and b"+" not in data
    pairs = []
    for field in data.split(b"&"):
        if field:
            name, _, value = field.partition(b"=")
            pairs.append((name, value) if plain else (_unquote(name), _unquote(value)))
    return pairs


def _unquote(data: bytes) -> bytes:
    if b"+" in data:
        data = data.replace(b"+", b" ")
    return unquote_to_bytes(data) if b"%" in data else data


def decode_multipart(data: bytes, content_type: bytes) -> Pairs:
    """A body of ``multipart/form-data`` (RFC 7578); a file part counts like any other.

    Raises RequestError for a body that is malformed or cut short, and for more
    than MAX_FIELDS parts.
    """
    # ``multipart`` takes a third of the time that ``python-multipart`` takes for
    # a small form, and about the same for a large file.
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
                    name, pieces = event.name.encode(), []
                elif event:
                    pieces.append(bytes(event))
                else:  # the end of this part
                    pairs.append((name, pieces[0] if len(pieces) == 1 else b"".join(pieces)))
    except (MultipartError, UnicodeError) as error:
        raise bad_request(f"The multipart form is malformed: {error}.") from error
    return pairs
