"""Splits the byte stream into frames, and decodes method frames and content headers.

pamqp decodes the methods that have no more than numbers. Acks are decoded here, because
they come with every message and speed counts. So are methods with the broker's text, because
RabbitMQ cuts a text at 252 bytes, perhaps inside a character, and pamqp raises an error for
that. So is Connection.Start, because pamqp takes seconds for some tables of 64 KiB.

Texts that people may read are printable from here on.
"""

import struct
from collections.abc import Iterator
from struct import Struct
from typing import Final

import pamqp.frame
from pamqp import base, commands

from ..message import printable
from . import decode
from .encode import FRAME_END, FRAME_OVERHEAD
from .errors import FrameError, ProtocolError
from .events import BasicAck, BasicReturn, Blocked, CloseMethod, OtherMethod, Start

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
_KINDS: Final = (METHOD, HEADER, BODY, HEARTBEAT)

_FRAME: Final = Struct(">BHI")
_ACK: Final = Struct(">IQB")
_CLOSE = Struct(">IH")
_CLASS_AND_METHOD = Struct(">HH")
ACK: Final = Struct(">BHIIQBB")  # a whole frame: type, channel, length, method, tag, bits, end
ACK_SIZE: Final = 21
ACK_LENGTH: Final = ACK_SIZE - FRAME_OVERHEAD
_CONTENT_HEADER = Struct(">HHQ")
BASIC_ACK: Final = 60 << 16 | 80
_BASIC_NACK: Final = 60 << 16 | 120
_BASIC_RETURN = 60 << 16 | 50
_CONNECTION_START = 10 << 16 | 10
_CONNECTION_CLOSE = 10 << 16 | 50
_CONNECTION_BLOCKED = 10 << 16 | 60
_CHANNEL_CLOSE = 20 << 16 | 40

Frame = tuple[int, int, bytes]
"""Type, channel and payload."""

Method = BasicAck | BasicReturn | Blocked | CloseMethod | OtherMethod | Start | base.Frame

# What pamqp decodes. The publisher uses nothing of these but numbers.
_BY_PAMQP: set[type[base.Frame]] = {
    commands.Connection.Tune,
    commands.Connection.OpenOk,
    commands.Connection.CloseOk,
    commands.Connection.Unblocked,
    commands.Channel.OpenOk,
    commands.Channel.CloseOk,
    commands.Confirm.SelectOk,
}


class FrameSplitter:
    """Splits bytes into frames of at most ``max_size`` bytes, and keeps what is incomplete."""

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the whole frames. Raise FrameError at the first byte that cannot be of one."""
        if self.rest:
            data = self.rest + data
        start, length = 0, len(data)
        kind: int
        channel: int
        size: int
        while length - start >= 7:
            kind, channel, size = _FRAME.unpack_from(data, start)
            if size > self.max_size - FRAME_OVERHEAD or kind not in _KINDS:
                raise _fault(data[start:], size, self.max_size)
            end = start + 7 + size
            if end >= length:
                break
            if data[end] != FRAME_END:
                raise FrameError("a frame that does not end with the frame-end octet")
            yield kind, channel, data[start + 7 : end]
            start = end + 1
        self.rest = data[start:]
        # A peer that speaks another protocol may never send seven bytes more.
        if self.rest and self.rest[0] not in _KINDS:
            raise _fault(self.rest, 0, self.max_size)


def _fault(data: bytes, size: int, max_size: int) -> FrameError:
    if data.startswith(b"AMQP"):  # section 4.2.2: the answer to a version that a server lacks
        return FrameError("a protocol header: it does not speak AMQP 0-9-1")
    if data[0] not in _KINDS:
        return FrameError(f"a frame of unknown type {data[0]}")
    return FrameError(f"a frame of {size} bytes; {max_size} were agreed on")


def _short_string(payload: bytes, start: int) -> tuple[str, int]:
    """Return the text at ``start`` and the position of the next field."""
    end = start + 1 + payload[start]
    if end > len(payload):
        raise FrameError("a short string reaches beyond its frame")
    return payload[start + 1 : end].decode(errors="replace"), end


def _name(payload: bytes, start: int) -> tuple[str, int]:
    """Return a name that this gateway sent, and the position of the next field."""
    text, end = _short_string(payload, start)
    if "\ufffd" in text and text.encode() != payload[start + 1 : end]:
        raise FrameError("a name that is not UTF-8")
    return text, end


def decode_method(payload: bytes) -> Method:
    """Decode the payload of a method frame. Raise ProtocolError if it is malformed."""
    try:
        if len(payload) == 13:
            index: int
            tag: int
            bits: int
            index, tag, bits = _ACK.unpack(payload)
            if index == BASIC_ACK:
                return BasicAck(tag, bool(bits & 1), True)
            if index == _BASIC_NACK:
                return BasicAck(tag, bool(bits & 1), False)
        index = int.from_bytes(payload[:4])
        if index in (_CONNECTION_CLOSE, _CHANNEL_CLOSE):
            _, code = _CLOSE.unpack_from(payload)
            text, at = _short_string(payload, 6)
            over = _CLASS_AND_METHOD.unpack_from(payload, at)
            return CloseMethod(code, printable(text), over)
        if index == _BASIC_RETURN:
            _, at = _short_string(payload, 6)
            exchange, at = _name(payload, at)
            return BasicReturn(exchange, _name(payload, at)[0])
        if index == _CONNECTION_BLOCKED:
            return Blocked(printable(_short_string(payload, 4)[0]))
        if index == _CONNECTION_START:
            return _start(payload)
        return _pamqp(index, payload)
    except (struct.error, IndexError) as error:
        raise FrameError("a method frame is shorter than its method") from error


def _start(payload: bytes) -> Start:
    found, at = decode.texts(payload, 6)
    size = int.from_bytes(payload[at : at + 4])
    properties = {printable(name): printable(value) for name, value in found.items()}
    return Start(properties, printable(payload[at + 4 : at + 4 + size].decode(errors="replace")))


def _pamqp(index: int, payload: bytes) -> base.Frame | OtherMethod:
    kind: type[base.Frame] | None = commands.INDEX_MAPPING.get(index)
    if kind is None:
        raise ProtocolError(
            f"a method that AMQP 0-9-1 does not have: {index >> 16}.{index & 65535}"
        )
    if kind not in _BY_PAMQP:
        return OtherMethod(kind.name)
    frame = b"".join((_FRAME.pack(METHOD, 0, len(payload)), payload, bytes((FRAME_END,))))
    try:
        _, _, method = pamqp.frame.unmarshal(frame)
    except Exception as error:
        # Malformed bytes make pamqp raise KeyError, UnicodeDecodeError and others.
        raise ProtocolError(f"a {kind.name} that cannot be decoded") from error
    if not isinstance(method, base.Frame):
        raise ProtocolError("no method in a method frame")
    return method


def decode_content_header(payload: bytes) -> tuple[int, bytes]:
    """Return the body's size in bytes and the properties (4.2.6.1), or raise FrameError."""
    if len(payload) < 14:
        raise FrameError("a content header is too short")
    _, _, size = _CONTENT_HEADER.unpack_from(payload)
    return size, payload[12:]
