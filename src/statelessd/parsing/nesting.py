"""Finds how deep JSON text nests, and how many values it has, without parsing it.

Each release of Python bounds the depth that a parser follows in its own way: 3.11 by the
number of calls, 3.14 by the bytes left on the C stack. The bounds here are the same for
every release, and far below all of those.
"""

from collections.abc import Iterator
from itertools import accumulate

PIECE = 8 * 1024  # bytes; looking at one takes less than a millisecond

_FOLDED = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NOT_BEFORE_VALUES = bytes(set(range(256)) - set(b"[{,"))
_STEPS = {ord("["): 1, ord("]"): -1}


def deeper(text: bytes, limit: int) -> Iterator[bool]:
    """Yield for each piece of JSON text in turn whether it nests deeper than ``limit`` levels."""
    if text.count(b"[") + text.count(b"{") <= limit:
        return
    depth = 0
    for outside in _outside(text):
        brackets = outside.translate(_FOLDED, _NO_BRACKETS)
        opened = brackets.count(b"[")
        # Most pieces open too few levels to reach the limit, so the steps are rarely followed.
        yield (
            depth + opened > limit
            and max(accumulate(map(_STEPS.__getitem__, brackets), initial=depth)) > limit
        )
        depth += 2 * opened - len(brackets)


def more_values(text: bytes, limit: int) -> bool:
    """Return whether JSON text may have more than ``limit`` values, by its commas and brackets."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") < limit:
        return False
    return (
        sum(len(outside.translate(None, _NOT_BEFORE_VALUES)) for outside in _outside(text)) > limit
    )


def _outside(text: bytes) -> Iterator[bytes]:
    """Yield what is outside of strings, for each piece of the text."""
    in_string = False
    for piece in _pieces(text):
        parts = piece.split(b'"')
        yield b"".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0


def _pieces(text: bytes) -> Iterator[bytes]:
    """Yield the text in pieces that split no escape, without the escapes."""
    start = 0
    while start < len(text):
        piece = text[start : start + PIECE]
        start += PIECE
        if b"\\" in piece:
            if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
                piece += text[start : start + 1]
                start += 1
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        yield piece
