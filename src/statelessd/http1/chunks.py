"""Finds where a body in chunks ends, by the sizes of its chunks (RFC 9112 section 7.1).

The parser must not get what follows the body, and does not say where that is. Only the
sizes tell, because the bytes of a chunk may look like the end. What is well-formed, the
parser decides.
"""

import re

from ..message import Public, bad_request

# One search skips all chunks of less than so many bytes, because there can be many.
SMALL = 16

_EXTENSION = rb"(?:;[^\r\n]*)?\r\n"
_small_chunks = re.compile(
    b"(?:%b)*+"
    % b"|".join(
        rb"0{0,15}%x%b[\0-\xff]{%d}\r\n" % (size, _EXTENSION, size) for size in range(1, SMALL)
    ),
    re.IGNORECASE,
).match
_size_line = re.compile(rb"([0-9a-f]+)" + _EXTENSION, re.IGNORECASE).match


class Chunks:
    """The chunks of one body, up to the line of the last one, whose size is zero."""

    __slots__ = ("_line", "_skip", "at_last")

    def __init__(self) -> None:
        self._skip = 0  # bytes of the chunk, and of its line end, that are still to come
        self._line = b""  # the beginning of a line that has a size
        self.at_last = False  # the line of the last chunk has come

    def find_last(self, data: bytes, at: int) -> int:
        """Return where the last chunk's line ends in ``data``, or the end of ``data``.

        Raise RequestError if a chunk has no size.
        """
        end = len(data)
        at, self._skip = at + self._skip, 0
        if self._line:
            line_end = data.find(b"\n", at) + 1
            self._line += data[at : line_end or end]
            if not line_end:
                return end
            line, self._line = self._line, b""
            at = line_end + self._take(line)
        while at < end and not self.at_last:
            if (small := _small_chunks(data, at)) is not None:
                at = small.end()
            line_end = data.find(b"\n", at) + 1
            if not line_end:
                self._line = data[at:]
                return end
            at = line_end + self._take(data[at:line_end])
        self._skip = at - end
        return at if self.at_last else end

    def _take(self, line: bytes) -> int:
        """Return how many bytes belong to the chunk with this line."""
        found = _size_line(line)
        if found is None:
            raise bad_request(Public("The request is not HTTP/1.1: a chunk has no size."))
        size = int(found[1], 16)
        self.at_last = not size
        return size + 2 if size else 0
