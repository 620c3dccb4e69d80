"""Finds how deep JSON text nests, without parsing it.

Each release of Python bounds the depth that a parser follows in its own way: 3.11 by the
number of calls, 3.14 by the bytes left on the C stack. The bounds here are the same for
every release, and far below all of those.
"""

from collections.abc import Iterator
from itertools import accumulate

PIECE = 8 * 1024  # bytes; looking at one takes less than a millisecond

_FOLDED = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("]"): -1}


def deeper(text: bytes, limit: int) -> Iterator[bool]:
    """Yield for each piece of JSON text in turn whether it nests deeper than ``limit`` levels."""
    if text.count(b"[") + text.count(b"{") <= limit:
        return
    depth = 0
    in_string = False
    for piece in _pieces(text):
        parts = piece.split(b'"')
        outside = b"".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0
        brackets = outside.translate(_FOLDED, _NO_BRACKETS)
        opened = brackets.count(b"[")
        # Most pieces open too few levels to reach the limit, so the steps are rarely followed.
        yield (
            depth + opened > limit
            and max(accumulate(map(_STEPS.__getitem__, brackets), initial=depth)) > limit
        )
        depth += 2 * opened - len(brackets)


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
