"""Decodes the properties of a message, whatever their bytes are (AMQP 0-9-1 section 4.2.5).

Text that is not UTF-8 stays bytes.
"""

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

# The names in the order of their flags, with the type of each (section 1.8.1).
PROPERTIES = (
    ("content_type", "s"), ("content_encoding", "s"), ("headers", "F"), ("delivery_mode", "B"),
    ("priority", "B"), ("correlation_id", "s"), ("reply_to", "s"), ("expiration", "s"),
    ("message_id", "s"), ("timestamp", "T"), ("type", "s"), ("user_id", "s"), ("app_id", "s"),
    ("cluster_id", "s"),
)  # fmt: skip
# RabbitMQ's dialect of the types of a table.
NUMBERS = {
    "t": ">?", "b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q",
    "L": ">Q", "f": ">f", "d": ">d",
}  # fmt: skip


def properties(data: bytes) -> dict[str, Any]:
    """Return the properties of an encoded list, by name."""
    reader = _Reader(data)
    (flags,) = reader.unpack(">H")
    found: dict[str, Any] = {}
    for position, (name, kind) in enumerate(PROPERTIES):
        if flags & 1 << 15 - position:
            found[name] = reader.short_string() if kind == "s" else reader.value(kind)
    return found


def short_strings(data: bytes, count: int) -> list[str | bytes]:
    """Return as many short strings from the beginning of the data."""
    reader = _Reader(data)
    return [reader.short_string() for _ in range(count)]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def unpack(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values

    def short_string(self) -> str | bytes:
        return _text(self._take(*self.unpack(">B")))

    def value(self, kind: str) -> Any:
        """Return the value of this type."""
        if kind in NUMBERS:
            return self.unpack(NUMBERS[kind])[0]
        match kind:
            case "V" | "\0":
                return None
            case "T":
                return _moment(*self.unpack(">Q"))
            case "D":
                scale, number = self.unpack(">Bi")
                return Decimal(number).scaleb(-scale)
        content = self._take(*self.unpack(">I"))
        match kind:
            case "S":
                return _text(content)
            case "A":
                return _Reader(content)._values(named=False)
            case "F":
                return dict(_Reader(content)._values(named=True))
        return content

    def _values(self, *, named: bool) -> list[Any]:
        found = []
        while self._at < len(self._data):
            name = self.short_string() if named else None
            value = self.value(chr(self.unpack(">B")[0]))
            found.append((name, value) if named else value)
        return found

    def _take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _moment(seconds: int) -> str:
    try:
        return f"{seconds} ({datetime.fromtimestamp(seconds, UTC).isoformat()})"
    except (ValueError, OverflowError, OSError):
        return str(seconds)
