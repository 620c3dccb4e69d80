"""Reads large JSON text in steps, because a parser would hold the event loop for too long.

``elements`` checks the syntax and finds the elements of an array, or the members of an object.
``string`` decodes a string in place. Each is a generator that yields after some milliseconds at
most, whatever the text is.

The syntax is checked by msgspec, piece by piece. Pieces end at a comma or within a string. So
that each is whole, the brackets that are open there are put before it, and closed behind it.
"""

import re
from collections.abc import Generator
from itertools import accumulate, pairwise

import msgspec

PIECE = 8 * 1024  # bytes
LONGEST_PIECE = 1024 * 1024  # bytes without a comma or string, such as white space
BLANK = b" \t\r\n"

_BLANKS = b" " * (PIECE + 16)
_FOLDED = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("]"): -1}
_STRUCTURE = re.compile(rb"[\[\]{},]")
_CLOSING = bytes.maketrans(b"[{", b"]}")
_CLOSED_BY = {ord("]"): ord("["), ord("}"): ord("{")}

Steps = Generator[None, None, None]
Spans = list[tuple[int, int]]
"""Where elements begin and end, with the white space around them."""

_check = msgspec.json.Decoder(msgspec.Raw).decode
_decode_string = msgspec.json.Decoder(str).decode


class MalformedError(Exception):
    """The text is not JSON. The text of the exception says why."""


class TooDeepError(MalformedError):
    """The text nests too deep."""


class TooManyError(MalformedError):
    """There are more elements than wanted."""


def elements(
    text: bytes | bytearray, start: int, end: int, *, most: int, depth: int
) -> Generator[None, None, Spans]:
    """Return the elements of the array, or the members of the object, that is the text.

    Raise MalformedError if it is not valid JSON, nests deeper than ``depth`` levels, or has more
    than ``most`` elements.
    """
    scanner = _Scanner(text, start, end, most, depth)
    while scanner.at < end:
        scanner.step()
        yield
    return scanner.finish()


class _Scanner:
    def __init__(
        self, text: bytes | bytearray, start: int, end: int, most: int, depth: int
    ) -> None:
        self.at = start
        self._text, self._end = text, end
        self._most, self._depth = most, depth
        self._open = bytearray()  # the brackets that are open, from the outermost
        self._in_string = False
        self._last = 0  # the last byte outside of strings that is not white space
        self._checked = start  # the text before was checked
        self._before = b""  # what belongs before the rest
        self._commas: list[int] = []  # between elements
        self._bounds = [start, end]  # of all elements

    def step(self) -> None:
        """Read one piece of the text."""
        start = self.at
        piece = self._outside(_piece(self._text, start, self._end))
        self.at = start + len(piece)
        self._find_elements(piece, start)
        comma = piece.rfind(b",")
        if comma >= 0:
            self._follow(piece[:comma])
            self._cut_at_comma(start + comma)
            self._follow(piece[comma:])
            return
        self._follow(piece)
        if self.at - self._checked > PIECE and self._in_string:
            self._cut_in_string(self.at)
        elif self.at - self._checked > LONGEST_PIECE:
            raise MalformedError("it has a value that is too long, or too much white space")

    def finish(self) -> Spans:
        """Check the rest, and return the elements."""
        check(self._before + self._text[self._checked : self._end])
        first, last = self._bounds
        bounds = [first, *self._commas, last]
        spans = [(a + 1, b) for a, b in pairwise(bounds)]
        if len(spans) == 1 and not first_byte(self._text, *spans[0]):
            return []
        return spans

    def _outside(self, piece: bytes) -> bytes:
        """Return the piece with blanks for what is in strings."""
        parts = piece.split(b'"')
        for number in range(not self._in_string, len(parts), 2):
            parts[number] = _BLANKS[: len(parts[number])]
        self._in_string ^= len(parts) % 2 == 0
        outside = b'"'.join(parts)
        before = outside
        if self._in_string:  # what stands before the quote tells whether it is a name
            before = outside[: max(0, outside.rfind(b'"'))]
        before = before.rstrip(BLANK)
        self._last = before[-1] if before else self._last
        return outside

    def _find_elements(self, piece: bytes, start: int) -> None:
        """Note where the commas are that separate elements."""
        level = len(self._open)
        brackets = piece.translate(_FOLDED, _NO_BRACKETS)
        levels = list(accumulate(map(_STEPS.__getitem__, brackets), initial=level))
        if max(levels) > self._depth:
            raise TooDeepError("it nests too deep")
        if min(levels) > 1:
            return
        for found in _STRUCTURE.finditer(piece):
            what, at = found[0], start + found.start()
            if what == b",":
                if level == 1:
                    self._commas.append(at)
            elif what in b"[{":
                if not level:
                    self._bounds[0] = at
                level += 1
            else:
                level -= 1
                if not level:
                    self._bounds[1] = at
        if len(self._commas) >= self._most:
            raise TooManyError(f"it has more than {self._most} elements")

    def _follow(self, piece: bytes) -> None:
        """Keep the brackets that are open after the piece."""
        for bracket in piece.translate(None, _NO_BRACKETS):
            opening = _CLOSED_BY.get(bracket)
            if opening is None:
                self._open.append(bracket)
            elif not self._open or self._open.pop() != opening:
                raise MalformedError("its brackets do not match")

    def _cut_at_comma(self, at: int) -> None:
        """Check the text before a comma, which another element has to follow."""
        if not self._open:
            raise MalformedError("a comma is outside of brackets")
        element = b'"":0' if self._open[-1:] == b"{" else b"0"
        self._check_until(at, b"," + element)
        self._before += b"0,"
        self._checked = at + 1

    def _cut_in_string(self, at: int) -> None:
        """Check the text up to a place in a string."""
        is_name = self._last in b"{," and self._open[-1:] == b"{"
        self._check_until(at, b'":0' if is_name else b'"')
        self._before = (self._before.removesuffix(b'"":') if is_name else self._before) + b'"'

    def _check_until(self, at: int, end: bytes) -> None:
        """Check the text up to ``at``, with ``end`` and all brackets closed, and cut it there."""
        closed = self._open[::-1].translate(_CLOSING)
        check(self._before + self._text[self._checked : at] + end + closed)
        self._checked = at
        self._before = bytes(self._open).replace(b"{", b'{"":')


def first_byte(text: bytes | bytearray, start: int, end: int) -> bytes:
    """Return the first byte that is not white space, or none where there is only that."""
    return bytes(text[start : min(end, start + LONGEST_PIECE)]).lstrip(BLANK)[:1]


def check(text: bytes | bytearray) -> None:
    """Raise MalformedError if the text is not valid JSON."""
    try:
        _check(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # The position is that in a piece.
        raise MalformedError(re.sub(r" \(byte \d+\)", "", str(error))) from None


def string(text: bytearray, start: int, end: int) -> Generator[None, None, int]:
    """Decode what is between the quotes of a string to UTF-8, in place; return its new end.

    Raise MalformedError if it is not valid.
    """
    written = start
    while start < end:
        size = len(_piece(text, start, end))
        try:
            piece = _decode_string(b'"%b"' % bytes(text[start : start + size])).encode()
        except (msgspec.DecodeError, UnicodeError):
            raise MalformedError("a string is not valid") from None
        text[written : written + len(piece)] = piece
        written += len(piece)
        start += size
        yield
    return written


def _piece(text: bytes | bytearray, start: int, end: int) -> bytes:
    """Return the next piece. It splits no escape and no character, and has no escaped quotes.

    The piece begins outside of an escape.
    """
    window = bytes(text[start : min(end, start + PIECE + 16)])
    if b"\\" in window:
        window = window.replace(b"\\\\", b"\\n").replace(b'\\"', b"\\n")
    if len(window) <= PIECE:
        return window
    size = PIECE
    escape = window.rfind(b"\\", max(0, size - 6), size)
    if escape >= 0:
        length = 6 if window[escape + 1 : escape + 2] == b"u" else 2
        if window[escape : escape + 4].lower() in _HIGH_SURROGATES:
            length = 12
        size = max(size, escape + length)
    for _ in range(3):  # bytes of a character behind its first one
        size += size < len(window) and window[size] & 0xC0 == 0x80
    return window[:size]


# The first half of a character beyond the Basic Multilingual Plane (RFC 8259 section 7).
_HIGH_SURROGATES = (b"\\ud8", b"\\ud9", b"\\uda", b"\\udb")
