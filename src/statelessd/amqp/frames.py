"""Splits the byte stream into frames, and frames into what they say.

pamqp decodes whole method frames, but for those that come with every message
(acks, where speed counts) and those that carry text from the broker: a reply
text is cut at 252 bytes, perhaps within a character, and pamqp raises on that.
"""

import struct
from collections.abc import Iterator
from struct import Struct

import pamqp.frame
from pamqp import base

from .encode import FRAME_END, FRAME_OVERHEAD
from .errors import FrameError, ProtocolError
from .events import BasicAck, BasicReturn, CloseMethod, ConnectionBlocked

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
_KINDS = (METHOD, HEADER, BODY, HEARTBEAT)

_FRAME = Struct(">BHI")
_ACK = Struct(">IQB")
_CLOSE = Struct(">IH")
_CLASS_AND_METHOD = Struct(">HH")
_CONTENT_HEADER = Struct(">HHQ")
_BASIC_ACK = 60 << 16 | 80
_BASIC_NACK = 60 << 16 | 120
_BASIC_RETURN = 60 << 16 | 50
_CONNECTION_CLOSE = 10 << 16 | 50
_CONNECTION_BLOCKED = 10 << 16 | 60
_CHANNEL_CLOSE = 20 << 16 | 40

Frame = tuple[int, int, bytes]
"""Type, channel and payload."""

Method = BasicAck | BasicReturn | CloseMethod | ConnectionBlocked | base.Frame


class FrameSplitter:
    """Bytes in, whole frames out; keeps the beginning of the one still to come.

    ``max_size`` bounds a frame in bytes, overhead included; it is raised or
    lowered when the connection has been tuned.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now.

        Raises FrameError at the first byte that cannot be, after the frames
        before it; the stream is lost then.
        """
        if self._rest:
            data = self._rest + data
        start, length = 0, len(data)
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
        self._rest = data[start:]
        # A peer that speaks something else may never send seven bytes more.
        if self._rest and self._rest[0] not in _KINDS:
            raise _fault(self._rest, 0, self.max_size)


def _fault(data: bytes, size: int, max_size: int) -> FrameError:
    if data.startswith(b"AMQP"):  # section 4.2.2: the server's answer to a version it lacks
        return FrameError("a protocol header: it does not speak AMQP 0-9-1")
    if data[0] not in _KINDS:
        return FrameError(f"a frame of unknown type {data[0]}")
    return FrameError(f"a frame of {size} bytes; {max_size} were agreed on")


def _short_string(payload: bytes, start: int) -> tuple[str, int]:
    """The text at ``start`` and where the next field begins."""
    end = start + 1 + payload[start]
    if end > len(payload):
        raise FrameError("a short string reaches beyond its frame")
    return payload[start + 1 : end].decode(errors="replace"), end


def decode_method(payload: bytes) -> Method:
    """A method frame's payload -> the method. Raises ProtocolError."""
    try:
        if len(payload) == 13:
            index, tag, bits = _ACK.unpack(payload)
            if index == _BASIC_ACK:
                return BasicAck(tag, bool(bits & 1), True)
            if index == _BASIC_NACK:
                return BasicAck(tag, bool(bits & 1), False)
        index = int.from_bytes(payload[:4])
        if index in (_CONNECTION_CLOSE, _CHANNEL_CLOSE):
            _, code = _CLOSE.unpack_from(payload)
            text, at = _short_string(payload, 6)
            over = _CLASS_AND_METHOD.unpack_from(payload, at)
            return CloseMethod(index == _CONNECTION_CLOSE, code, text, over)
        if index == _BASIC_RETURN:
            _, code = _CLOSE.unpack_from(payload)
            text, at = _short_string(payload, 6)
            exchange, at = _short_string(payload, at)
            return BasicReturn(code, text, exchange, _short_string(payload, at)[0])
        if index == _CONNECTION_BLOCKED:
            return ConnectionBlocked(_short_string(payload, 4)[0])
        return _pamqp(payload)
    except (struct.error, IndexError) as error:
        raise FrameError("a method frame is shorter than its method") from error


def _pamqp(payload: bytes) -> base.Frame:
    frame = b"".join((_FRAME.pack(METHOD, 0, len(payload)), payload, bytes((FRAME_END,))))
    try:
        _, _, method = pamqp.frame.unmarshal(frame)
    except Exception as error:
        # Whatever malformed bytes make pamqp raise (KeyError, UnicodeDecodeError, …)
        # becomes our one error here, and nowhere else.
        raise ProtocolError(f"a method that cannot be decoded: {error}") from error
    if not isinstance(method, base.Frame):
        raise ProtocolError("no method in a method frame")
    return method


def decode_content_header(payload: bytes) -> tuple[int, bytes]:
    """A content header's payload -> body size in bytes, encoded properties (section 4.2.6.1).

    Raises FrameError.
    """
    if len(payload) < 14:
        raise FrameError("a content header is too short")
    _, _, size = _CONTENT_HEADER.unpack_from(payload)
    return size, payload[12:]
