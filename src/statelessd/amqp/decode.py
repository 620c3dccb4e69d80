"""Decodes properties just far enough to compare them.

A broker may re-encode a returned message: with its headers in another order, or
with headers of its own added. Here both sides get one form, in which equal values
are equal bytes whatever their order.
"""

from collections.abc import Iterator
from struct import Struct, error

from .errors import FrameError

MAX_DEPTH = 64  # of tables and arrays within one another; twice what a client may send

_FLAGS = Struct(">H")
_ULONG = Struct(">I")
_FLOAT = Struct(">f")
_DOUBLE = Struct(">d")
# RabbitMQ's dialect of section 4.2.5.5: whole numbers, with their sizes and signs.
_INTEGERS = {
    b"b": (1, True), b"B": (1, False), b"s": (2, True), b"u": (2, False),
    b"I": (4, True), b"i": (4, False), b"l": (8, True), b"L": (8, True),
}  # fmt: skip
_FIXED_SIZES = {b"t": 1, b"d": 8, b"D": 5, b"T": 8, b"V": 0}
_SIZES = {kind: size for kind, (size, _) in _INTEGERS.items()} | _FIXED_SIZES
_SIZES |= {b"f": 4, b"\0": 0}  # the second is undocumented; some brokers send it for no value
_HEADERS = 1 << 13
# The sizes of other properties in bytes (section 1.8.1); the rest are short strings.
_PROPERTY_SIZES = {1 << 12: 1, 1 << 11: 1, 1 << 6: 8}

Parts = dict[int | bytes, bytes]
"""Properties by flag and message headers by name, each as comparable bytes."""


def parts(header: bytes) -> Parts:
    """Return the properties and headers of an encoded list. Raise FrameError if it is malformed."""
    found: Parts = {}
    try:
        (flags,) = _FLAGS.unpack_from(header)
        at = 2
        for bit in range(15, 1, -1):
            flag = 1 << bit
            if not flags & flag:
                continue
            if flag == _HEADERS:
                end = at + 4 + int(_ULONG.unpack_from(header, at)[0])
                found.update(_entries(header, at + 4, end, 0))
            else:
                end = at + (_PROPERTY_SIZES.get(flag) or 1 + header[at])
                found[flag] = header[at:end]
            if end > len(header):
                raise FrameError("a property reaches beyond its frame")
            at = end
    except (error, IndexError) as fault:
        raise FrameError("a content header is shorter than its properties") from fault
    return found


def strings(value: bytes) -> list[str]:
    """Return the strings of an array of strings, given as a value that ``parts`` returned."""
    found = []
    at = 5
    while value[:1] == b"A" and value[at : at + 1] == b"S":
        end = at + 5 + int(_ULONG.unpack_from(value, at + 1)[0])
        found.append(value[at + 5 : end].decode(errors="replace"))
        at = end
    return found


def texts(data: bytes, at: int) -> tuple[dict[str, str], int]:
    """Return the strings of the field table at ``at``, by name, and where the table ends.

    Other values are skipped, whatever they contain. Raise FrameError if one is malformed.
    """
    found = {}
    end = at + 4 + int(_ULONG.unpack_from(data, at)[0])
    at += 4
    while at < end:
        name_end = at + 1 + data[at]
        kind = data[name_end : name_end + 1]
        start = name_end + 1
        if kind in _SIZES:
            following = start + _SIZES[kind]
        elif kind and kind in b"SxAF":
            start += 4
            following = start + int(_ULONG.unpack_from(data, start - 4)[0])
        else:
            raise FrameError("a value of an unknown type")
        if following > end:
            raise FrameError("a value reaches beyond its table")
        if kind == b"S":
            name = data[at + 1 : name_end].decode(errors="replace")
            found[name] = data[start:following].decode(errors="replace")
        at = following
    return found, end


def _entries(data: bytes, at: int, end: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
    if end > len(data):
        raise FrameError("a table reaches beyond its frame")
    while at < end:
        start = at + 1 + data[at]
        value, following = _comparable(data, start, depth)
        yield data[at + 1 : start], value
        at = following


def _comparable(data: bytes, at: int, depth: int) -> tuple[bytes, int]:
    """Return the value whose type octet is at ``at`` in comparable form, and where it ends."""
    kind = data[at : at + 1]
    at += 1
    if kind in _INTEGERS:  # a broker may use another size for the same number
        size, signed = _INTEGERS[kind]
        return b"l%d" % int.from_bytes(data[at : at + size], signed=signed), at + size
    if kind == b"f":
        return b"d" + _DOUBLE.pack(_FLOAT.unpack_from(data, at)[0]), at + 4
    if kind in _FIXED_SIZES:
        end = at + _FIXED_SIZES[kind]
        return kind + data[at:end], end
    start = at + 4
    end = start + int(_ULONG.unpack_from(data, at)[0])
    if end > len(data) or depth >= MAX_DEPTH:
        raise FrameError("a value reaches beyond its frame, or is nested too deep")
    if kind == b"A":
        content = b"".join(_items(data, start, end, depth + 1))
    elif kind == b"F":
        entries = sorted(_entries(data, start, end, depth + 1))
        content = b"".join(b"%c%b%b" % (len(name), name, value) for name, value in entries)
    elif kind in (b"S", b"x"):
        content = data[start:end]
    else:
        raise FrameError("a value of an unknown type")
    return kind + _ULONG.pack(len(content)) + content, end


def _items(data: bytes, at: int, end: int, depth: int) -> Iterator[bytes]:
    while at < end:
        value, at = _comparable(data, at, depth)
        yield value
