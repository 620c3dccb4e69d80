"""Decompresses bodies with a Content-Encoding (RFC 9110 section 8.4), without I/O.

A few bytes can become a thousand times as many. So a body is decompressed in pieces, and
the caller decides after each piece whether to go on. ``Decoder.spent`` says what
it has cost so far, and ``Decoder.held`` what memory it needs.

gzip and deflate come with Python. The others need a library (the extra compression),
and a coding without its library is one that is not known.
"""

import contextlib
import importlib
import re
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from ..message import Outcome, Public, RequestError, bad_request

PIECE = 64 * 1024  # bytes of output at once; some libraries add half of that
INPUT = 16 * 1024  # bytes at once; behind each small member the rest of them is copied
MEMBER = 4 * 1024  # what each further member of a body counts in ``spent``, in bytes
ZLIB_STATE, ZSTD_STATE, BROTLI_STATE = 48 * 1024, 256 * 1024, 512 * 1024  # besides the window
MAX_WINDOW_LOG = 23  # of zstd: 8 MiB, as RFC 9659 demands
ZLIB, GZIP, RAW = 15, 31, -15  # the parameter wbits of zlib

CODED_TWICE = Public("A body may have one Content-Encoding.")


def _library(*names: str) -> Any:
    """Return the first of these modules that is installed, or None."""
    for name in names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


_zstd = _library("compression.zstd", "backports.zstd")  # Python has it from 3.14 on
_brotli = _library("brotli")
if not hasattr(getattr(_brotli, "Decompressor", None), "can_accept_more_data"):
    _brotli = None  # before 1.2 its output has no bound


class Member(Protocol):
    """One compressed stream. A body may have several, one after the other."""

    window: int  # bytes of output that it keeps at most

    @property
    def eof(self) -> bool:
        """Return whether its end has come."""

    @property
    def needs_input(self) -> bool:
        """Return whether all output of what came so far was returned."""

    @property
    def unused_data(self) -> bytes:
        """Return what came behind its end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return about ``max_length`` bytes at most; call it with b"" for more of them."""


class _Zlib:
    """gzip (RFC 1952), zlib (RFC 1950) or deflate (RFC 1951)."""

    window = 1 << 15

    def __init__(self, wbits: int) -> None:
        self._zlib = zlib.decompressobj(wbits)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(piece) < max_length
        return piece

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


class _Brotli:
    """Brotli (RFC 7932). The library refuses bytes behind its end."""

    unused_data = b""

    def __init__(self, first: int) -> None:
        self._brotli = _brotli.Decompressor()
        self.needs_input = True
        self.window = 1 << _brotli_window_bits(first)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece: bytes = self._brotli.process(data, output_buffer_limit=max_length)
        # That it could take more data does not mean that it has no more output.
        self.needs_input = len(piece) < max_length and self._brotli.can_accept_more_data()
        return piece

    @property
    def eof(self) -> bool:
        return bool(self._brotli.is_finished())


def _brotli_window_bits(first: int) -> int:
    """Return WBITS, which the first byte of a brotli stream has (RFC 7932 section 9.1)."""
    if not first & 1:
        return 16
    if first >> 1 & 7:
        return 17 + (first >> 1 & 7)
    return 8 + (first >> 4 & 7) if first >> 4 & 7 else 17


class _Zstd:
    """A frame of zstd (RFC 8878), which may be one to skip."""

    def __init__(self, start: bytes) -> None:
        options = {_zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
        self._zstd = _zstd.ZstdDecompressor(options=options)
        self.window = _zstd_window(start)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece: bytes = self._zstd.decompress(data, max_length)
        return piece

    @property
    def eof(self) -> bool:
        return bool(self._zstd.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._zstd.needs_input)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._zstd.unused_data)


def _zstd_window(start: bytes) -> int:
    """Return the window of a frame (RFC 8878 section 3.1.1.1), or the largest if it is not told."""
    if len(start) < 6 or start[4] & 0x20:  # a single segment: the window is all of it
        return 1 << MAX_WINDOW_LOG
    base = 1 << (10 + (start[5] >> 3))
    return int(min(base + (base >> 3) * (start[5] & 7), 1 << MAX_WINDOW_LOG))


def _deflate(start: bytes) -> Member:
    """Begin the format zlib, which the standard means, or raw deflate, which many send.

    The first byte of zlib names the method 8 in its low bits. Raw deflate would have a
    stored block there, with padding that is not zero.
    """
    return _Zlib(ZLIB if start[0] & 0xF == 8 else RAW)


class Coding(NamedTuple):
    """How a body is decompressed. ``begin`` gets the first bytes of a member."""

    name: str
    begin: Callable[[bytes], Member]
    state: int  # bytes of memory besides the window
    has_members: bool = False  # or else one only


_KNOWN = [
    Coding("gzip", lambda _: _Zlib(GZIP), ZLIB_STATE, has_members=True),
    Coding("deflate", _deflate, ZLIB_STATE),
]
if _zstd is not None:
    _KNOWN.append(Coding("zstd", _Zstd, ZSTD_STATE, has_members=True))
if _brotli is not None:
    _KNOWN.append(Coding("br", lambda start: _Brotli(start[0]), BROTLI_STATE))

ACCEPTED = ", ".join(coding.name for coding in _KNOWN)
"""The codings that are known here, as ``Accept-Encoding`` has them (RFC 9110 section 12.5.3)."""

_CODINGS = {coding.name: coding for coding in _KNOWN}
_CODINGS["x-gzip"] = _CODINGS["gzip"]  # RFC 9110 section 8.4.1.3
_ERRORS: tuple[type[Exception], ...] = (zlib.error,)
_ERRORS += (_zstd.ZstdError,) if _zstd is not None else ()
_ERRORS += (_brotli.error,) if _brotli is not None else ()
# "Error -3 while decompressing data: incorrect data check"
_REASON = re.compile(r"(?:Error -?\d+ while|Unable to) .*?: (.+)")


def coding_of(headers: Mapping[bytes, bytes]) -> Coding | None:
    """Return how a body is coded, or None. Raise RequestError for a coding that is not known."""
    value = headers.get(b"content-encoding")
    if value is None:
        return None
    codings = [each.strip() for each in value.decode("latin-1").lower().split(",")]
    names = [each for each in codings if each not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1:
        raise RequestError(Outcome.UNKNOWN_CODING, CODED_TWICE)
    coding = _CODINGS.get(names[0])
    if coding is None:
        detail = Public(f"The Content-Encoding of a form or batch must be one of: {ACCEPTED}.")
        raise RequestError(Outcome.UNKNOWN_CODING, detail)
    return coding


class Plain:
    """Cuts a body without a coding into pieces. It has the methods of a ``Decoder``."""

    spent = 0
    held = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the next bytes of the body in pieces."""
        for at in range(0, len(data), PIECE):
            self.held = max(0, len(data) - at - PIECE)
            yield data[at : at + PIECE]

    def end(self) -> None:
        """Do nothing, because any bytes are whole."""


class Decoder:
    """Decompresses one body. Call ``feed`` with its bytes as they come, then ``end``."""

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._member: Member | None = None
        self._members = 0
        self._made = 0  # bytes of output of this member
        self._waiting = 0  # bytes of input
        self.spent = 0  # bytes of output, and MEMBER for each further member

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes of the body become, in pieces, of which some are empty.

        Each takes less than some milliseconds. Raise RequestError if the data is corrupt.
        """
        for at in range(0, len(data), INPUT):
            self._waiting = max(0, len(data) - at - INPUT)
            yield from self._feed(data[at : at + INPUT])

    @property
    def held(self) -> int:
        """Return the bytes of memory that are needed: for input that waits, window and state."""
        if self._member is None:
            return self._waiting
        return self._waiting + min(self._member.window, self._made) + self._coding.state

    def end(self) -> None:
        """Raise RequestError if the body does not end where its data does."""
        if self._member is not None or not self._members:
            raise bad_request(Public(f"The {self._coding.name} data of the body is cut short."))

    def _feed(self, data: bytes) -> Iterator[bytes]:
        is_more = True
        while data or is_more:
            member = self._member or self._begin(data)
            try:
                piece = member.decompress(data, PIECE)
            except _ERRORS as error:
                raise self._corrupt(error) from None
            self._made += len(piece)
            self.spent += len(piece)
            if member.eof:
                self._member = None
                data, is_more = member.unused_data, False
            else:
                data, is_more = b"", not member.needs_input
            yield piece

    def _begin(self, data: bytes) -> Member:
        """Begin a member, of which these are the first bytes."""
        if self._members:
            # Other bytes behind gzip data are called garbage, and not corrupt data.
            if not self._coding.has_members or (self._coding.name == "gzip" and data[0] != 0x1F):
                detail = f"Bytes follow the end of the {self._coding.name} data of the body."
                raise bad_request(Public(detail))
            self.spent += MEMBER
        self._members += 1
        self._made = 0
        self._member = self._coding.begin(data)
        return self._member

    def _corrupt(self, error: Exception) -> RequestError:
        text = f"The body is not valid {self._coding.name} data"
        if "too much memory" in str(error):
            window = 1 << (MAX_WINDOW_LOG - 20)
            return bad_request(Public(f"{text}: its window is larger than {window} MiB."))
        reason = _REASON.fullmatch(str(error))
        # What libraries say of data quotes none of it.
        return bad_request(Public(f"{text}: {reason[1].lower()}." if reason else f"{text}."))


def decoder_of(coding: Coding | None) -> Decoder | Plain:
    """Return what decodes a body, which may have no coding."""
    return Plain() if coding is None else Decoder(coding)


def decompress(coding: Coding, body: bytes, limit: int) -> Generator[int, None, bytes]:
    """Decompress a body in steps. Each yields the bytes of memory that all of it needs now.

    Raise RequestError if the body is corrupt, or has more than ``limit`` bytes then.
    """
    decoder = Decoder(coding)
    pieces: list[bytes] = []
    size = 0
    for piece in decoder.feed(body):
        if decoder.spent > limit:
            raise too_large(limit)
        if piece:
            pieces.append(piece)
            size += len(piece)
        yield len(body) + size + decoder.held
    decoder.end()
    return b"".join(pieces)


def too_large(limit: int) -> RequestError:
    """Return the refusal of a body that becomes more than ``limit`` bytes."""
    detail = Public(f"The body is larger than {limit} bytes when it is decompressed.")
    return RequestError(Outcome.TOO_LARGE, detail)
