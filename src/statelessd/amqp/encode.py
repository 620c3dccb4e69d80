"""Encodes everything that carries users' data.

pamqp encodes the other methods. It does not encode these, because it writes floats
with 32 bits and silently cuts header names at 128 bytes. It also refuses exchange
names that RabbitMQ takes: those that are not ASCII or are longer than 127 bytes.
"""

import functools
import hashlib
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final

from .errors import EncodeError

FRAME_END: Final = 0xCE
# Type, channel, size and the end octet: part of frame_max (section 4.2.3).
FRAME_OVERHEAD: Final = 8
# Class, weight and body size before the properties.
CONTENT_HEADER_OVERHEAD: Final = 12 + FRAME_OVERHEAD

_ULONG = Struct(">I")
_LONG_LONG = Struct(">q")
_DOUBLE = Struct(">d")
_UNSIGNED_LONG_LONG = Struct(">Q")
_FLAGS = Struct(">H")
_FRAME: Final = Struct(">BHI")
_NEXT_FRAME: Final = Struct(">BBH")  # the end octet of one frame and the start of the next
_CONTENT_HEADER: Final = Struct(">IHH")  # from the frame's size on, without the body's size
_OCTETS: Final = tuple(bytes((n,)) for n in range(256))
_END: Final = b"\xce"
# The sizes that most bodies have, encoded.
_SMALL: Final = 2048
_LENGTHS: Final = tuple(size.to_bytes(4, "big") for size in range(_SMALL))

_BASIC_PUBLISH: Final = b"\x00\x3c\x00\x28\x00\x00"  # class 60, method 40, reserved-1
_CONNECTION_OPEN = b"\x00\x0a\x00\x28"  # class 10, method 40


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise EncodeError("has a character that UTF-8 cannot carry (a lone surrogate)") from error


def short_string(value: str) -> bytes:
    """Encode a string (section 4.2.5.3). Raise EncodeError beyond 255 bytes or for no UTF-8."""
    data = _utf8(value)
    if len(data) > 255:
        raise EncodeError(f"is {len(data)} bytes long; AMQP allows 255")
    return _OCTETS[len(data)] + data


def _long_string(data: bytes) -> bytes:
    return _ULONG.pack(len(data)) + data


def field_value(value: object) -> bytes:
    """Encode one value of a field table, in RabbitMQ's dialect of section 4.2.5.5.

    The value begins with its type octet. Every integer is a signed 64-bit one and every
    float a double, so that the type does not depend on the value. Raise EncodeError if
    AMQP has no type for the value.
    """
    if isinstance(value, str):
        return b"S" + _long_string(_utf8(value))
    if value is None:
        return b"V"
    if isinstance(value, bool):  # before int, because a bool is an int too
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise EncodeError("has an integer beyond 64 bits")
        return b"l" + _LONG_LONG.pack(value)
    if isinstance(value, float):
        return b"d" + _DOUBLE.pack(value)
    if isinstance(value, dict):
        return b"F" + field_table(value)
    if isinstance(value, list):
        return b"A" + _long_string(b"".join(map(field_value, value)))
    if isinstance(value, bytes):
        return b"x" + _long_string(value)
    raise EncodeError(f"has a value of type {type(value).__name__}, which AMQP cannot carry")


def field_table(table: Mapping[str, object]) -> bytes:
    """Encode a field table (section 4.2.5.5). Raise EncodeError, which names the entry."""
    parts: list[bytes] = []
    for name, value in table.items():
        try:
            parts += (short_string(name), field_value(value))
        except EncodeError as error:
            shown = name if len(name) <= 40 else name[:40] + "…"
            raise EncodeError(f"{shown!a} {error}") from None
    return _long_string(b"".join(parts))


# Section 1.8.1: the order of the properties is that of their flags, from bit 15 down.
_PROPERTIES: tuple[tuple[str, int, Callable[[Any], bytes]], ...] = (
    ("content_type", 1 << 15, short_string),
    ("content_encoding", 1 << 14, short_string),
    ("headers", 1 << 13, field_table),
    ("delivery_mode", 1 << 12, _OCTETS.__getitem__),
    ("priority", 1 << 11, _OCTETS.__getitem__),
    ("correlation_id", 1 << 10, short_string),
    ("reply_to", 1 << 9, short_string),
    ("expiration", 1 << 8, short_string),
    ("message_id", 1 << 7, short_string),
    ("timestamp", 1 << 6, _UNSIGNED_LONG_LONG.pack),
    ("type", 1 << 5, short_string),
    ("user_id", 1 << 4, short_string),
    ("app_id", 1 << 3, short_string),
)


def properties(values: Mapping[str, Any]) -> bytes:
    """Encode the property flags and list of a content header (section 4.2.6.1).

    ``values`` holds the properties that are set, by the names of section 1.8.1 with
    underscores. Numbers must be in range: ``gateway.properties`` checks them. Raise
    EncodeError, whose text begins with the property's name, if one cannot be encoded.
    """
    flags = 0
    parts = [b""]
    for name, flag, encode in _PROPERTIES:
        value = values.get(name)
        if value is not None:
            flags |= flag
            try:
                parts.append(encode(value))
            except EncodeError as error:
                raise EncodeError(f"{name} {error}") from None
    parts[0] = _FLAGS.pack(flags)
    return b"".join(parts)


# The bytes that follow the type octet of a field value; other values begin with their length.
_FIXED_SIZES = {b"t": 1, b"l": 8, b"d": 8, b"V": 0}


def without_bcc(header: bytes) -> bytes:
    """Return the property list without the message header ``BCC``, as RabbitMQ returns it."""
    name = b"\x03BCC"
    start, end = _headers_span(header) if name in header else (0, 0)
    if not end:
        return header
    kept = []
    entry = start + 4
    while entry < end:
        value = entry + 1 + header[entry]
        kind = header[value : value + 1]
        if kind in _FIXED_SIZES:
            following = value + 1 + _FIXED_SIZES[kind]
        else:
            following = value + 5 + int(_ULONG.unpack_from(header, value + 1)[0])
        if header[entry:value] != name:
            kept.append(header[entry:following])
        entry = following
    return header[:start] + _long_string(b"".join(kept)) + header[end:]


def headers_of(header: bytes) -> bytes:
    """Return the field table of the message headers in a property list, or no bytes."""
    start, end = _headers_span(header)
    return header[start:end]


def _headers_span(header: bytes) -> tuple[int, int]:
    """Return where the field table of the message headers begins and ends; (0, 0): no table."""
    (flags,) = _FLAGS.unpack_from(header)
    if not flags & 1 << 13:
        return 0, 0
    at = 2
    for flag in (1 << 15, 1 << 14):  # content_type, content_encoding
        if flags & flag:
            at += 1 + header[at]
    return at, at + 4 + int(_ULONG.unpack_from(header, at)[0])


def connection_open(virtual_host: str) -> bytes:
    """Encode a Connection.Open frame (1.4.2.7). Raise EncodeError if the name is too long."""
    method = b"".join((_CONNECTION_OPEN, short_string(virtual_host), b"\x00\x00"))
    return b"".join((_FRAME.pack(1, 0, len(method)), method, _END))


# Exchange and routing key repeat from message to message; 512 of them are at most 256 KiB.
@functools.lru_cache(maxsize=512)
def publish_start(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    """Encode a Basic.Publish frame (1.8.3.7) and the next one's start. Raise EncodeError."""
    names = short_string(exchange) + short_string(routing_key)
    method = _BASIC_PUBLISH + names + _OCTETS[mandatory]
    start = _FRAME.pack(1, channel, len(method))
    return b"".join((start, method, _NEXT_FRAME.pack(FRAME_END, 2, channel)))


class Envelope:
    """All bytes of a message but its body, for messages that differ in nothing else.

    ``header`` comes from ``properties``. Raise EncodeError if a name is too long.
    """

    __slots__ = ("_next_frame", "_properties", "_start", "exchange", "header", "key", "mandatory")

    def __init__(
        self, channel: int, exchange: str, routing_key: str, header: bytes, mandatory: bool
    ) -> None:
        self.exchange = exchange
        self.key = routing_key
        self.header = header
        self.mandatory = mandatory
        start = publish_start(channel, exchange, routing_key, mandatory)
        # With the upper half of the body's size, which is 0 unless the body has many frames.
        self._start = start + _CONTENT_HEADER.pack(12 + len(header), 60, 0) + bytes(4)
        self._next_frame = _NEXT_FRAME.pack(FRAME_END, 3, channel)
        self._properties = header + self._next_frame

    def seal(self, body: bytes, frame_max: int, out: "list[bytes | memoryview]") -> None:
        """Add one message to ``out``, as the frames of section 4.2.6, in pieces.

        ``frame_max`` is the negotiated one, in bytes, overhead included.
        """
        size = len(body)
        room = frame_max - FRAME_OVERHEAD
        if 0 < size <= room:  # in one frame, as most
            length = _LENGTHS[size] if size < _SMALL else size.to_bytes(4, "big")
            out.append(self._start)
            out.append(length)
            out.append(self._properties)
            out.append(length)
            out.append(body)
            out.append(_END)
            return
        out += (self._start[:-4], size.to_bytes(8, "big"), self.header)
        view = memoryview(body)  # its slices do not copy
        for at in range(0, size, room):  # an empty body has no body frame
            piece = view[at : at + room]
            out += (self._next_frame, len(piece).to_bytes(4, "big"), piece)
        out.append(_END)


def content_key(exchange: str, routing_key: str, body: bytes) -> bytes:
    """Return a digest that, together with the properties, identifies a returned message."""
    digest = content_digest(exchange, routing_key)
    digest.update(body)
    return digest.digest()


def content_digest(exchange: str, routing_key: str) -> "hashlib.blake2b":
    """Return the digest of ``content_key`` before its body, which may come in pieces."""
    # The short strings' lengths keep the parts apart.
    return hashlib.blake2b(short_string(exchange) + short_string(routing_key), digest_size=16)
