"""Converts a large item of a batch in steps, between which the event loop runs.

The body is taken out and decoded in place, so that an item needs the memory of its text
only. The rest of the item is small, and is read as that of any item.
"""

import base64
import binascii
import codecs
import os
import re
from collections.abc import Generator

from ..message import Message, Mistake, Public, bad_request
from ..parsing import json_steps
from ..parsing.json_steps import BLANK, LONGEST_PIECE, MalformedError, first_byte
from . import items
from .defaults import Defaults, Stamps
from .properties import MAX_HEADERS_TEXT

LARGE = 64 * 1024  # bytes; reading smaller items takes some milliseconds at most
MAX_DEPTH = 512  # levels of an item's JSON, which the parser of every Python can follow
TOO_DEEP = Public(f"An item is nested more than {MAX_DEPTH} levels deep.")
MOST_MEMBERS = 100
MOST_OTHERS = MAX_HEADERS_TEXT + LARGE  # bytes of the members that are no body
PIECE = 16 * 1024  # bytes

NAME = re.compile(rb'[ \t\r\n]*+"([a-z_0-9]*+)"[ \t\r\n]*+:[ \t\r\n]*+')
_TAKEN = os.urandom(16).hex()  # stands for a body that was taken out


NOT_A_BATCH = Public('A batch is an array of items, or {"messages": [item, …]}.')


def array_items(body: bytearray, most: int) -> Generator[None, None, json_steps.Spans]:
    """Return where the items of a batch are. Raise MalformedError, or RequestError for no array."""
    start, end = 0, len(body)
    depth = MAX_DEPTH + 1  # of which one is the array's
    if first_byte(body, start, end) == b"{":
        try:
            members = yield from json_steps.elements(body, start, end, most=1, depth=depth + 1)
        except json_steps.TooManyError:
            raise bad_request(NOT_A_BATCH) from None
        found = NAME.match(body, *members[0]) if members else None
        if found is None or found[1] != b"messages":
            raise bad_request(NOT_A_BATCH)
        start, end = found.end(), members[0][1]
    elif first_byte(body, start, end) != b"[":
        json_steps.check(bytes(body[:LONGEST_PIECE]))
        raise bad_request(NOT_A_BATCH)
    if first_byte(body, start, end) != b"[":
        raise bad_request(NOT_A_BATCH)
    return (yield from json_steps.elements(body, start, end, most=most, depth=depth))


class LargeItem:
    """An item whose text is ``text[start:end]``. ``id`` is known as soon as it was read."""

    def __init__(self, text: bytearray, start: int, end: int) -> None:
        self.id: str | int | None = None
        self._text, self._start, self._end = text, start, end
        self._values: dict[str, tuple[int, int]] = {}

    def read(
        self, exchange: str, index: int, defaults: Defaults, stamps: Stamps | None
    ) -> Generator[None, None, Message]:
        """Return the message in steps. The text is changed. Raise RequestError."""
        try:
            members = yield from json_steps.elements(
                self._text, self._start, self._end, most=MOST_MEMBERS, depth=MAX_DEPTH
            )
            item = items.decode(self._without_bodies(members))
            self.id = item.id
            made = items.properties_of(item, index, defaults, stamps)
            body = yield from self._body(item)
        except json_steps.TooDeepError:
            raise bad_request(TOO_DEEP) from None
        except MalformedError as error:
            raise bad_request(f"The item is not valid JSON: {error}.", Mistake.JSON) from None
        return made.message(exchange, item.routing_key, body)

    def _without_bodies(self, members: json_steps.Spans) -> bytes:
        """Return the item with a short text in place of each large body."""
        text = self._text
        if first_byte(text, self._start, self._end) != b"{":
            raise bad_request(Public("Expected object."))
        kept, size = [], 0
        for start, end in members:
            if end - start > LARGE and (found := NAME.match(text, start, end)):
                name = found[1].decode()
                if name in items.BODIES:
                    self._values[name] = found.end(), end
                    kept.append(b'"%b":"%b"' % (found[1], _TAKEN.encode()))
                    continue
            size += end - start
            if size > MOST_OTHERS:
                raise bad_request(
                    Public(
                        f"The item has more than {MOST_OTHERS} bytes besides its body, or a large "
                        "member that is not known."
                    )
                )
            kept.append(bytes(text[start:end]))
        return b"{" + b",".join(kept) + b"}"

    def _body(self, item: items.Item) -> Generator[None, None, bytes]:
        name = items.body_name(item)
        value = getattr(item, name)
        if (bytes(value).strip(b'"').decode() if name == "json" else value) != _TAKEN:
            return items.body_of(item)
        text, (start, end) = self._text, self._values[name]
        tail = bytes(text[max(start, end - LONGEST_PIECE) : end])
        end -= len(tail) - len(tail.rstrip(BLANK))
        if name == "json":
            yield from check_utf8(text, start, end, name)
        elif text[start : start + 1] != b'"':
            raise bad_request(Public(f"{name}: expected str."))
        else:
            start += 1
            end = yield from json_steps.string(text, start, end - 1)
            if name == "body_base64":
                end = yield from _decode_base64(text, start, end)
        return bytes(memoryview(text)[start:end])


def check_utf8(text: bytearray, start: int, end: int, name: str) -> Generator[None, None, None]:
    """Raise RequestError if the text is not UTF-8. It says so of ``name``."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(start, end, PIECE):
            decoder.decode(text[at : min(end, at + PIECE)], final=at + PIECE >= end)
            yield
    except UnicodeDecodeError:
        raise bad_request(Public(f"{name} is not UTF-8.")) from None


def _decode_base64(text: bytearray, start: int, end: int) -> Generator[None, None, int]:
    """Decode base64 in place, and return its new end."""
    written = start
    for at in range(start, end, PIECE):  # of whole groups of four characters
        stop = min(end, at + PIECE)
        try:
            piece = base64.b64decode(text[at:stop], validate=True)
        except (binascii.Error, ValueError):
            raise bad_request(items.NOT_BASE64) from None
        if stop < end and len(piece) < PIECE // 4 * 3:  # it ends before its end
            raise bad_request(items.NOT_BASE64)
        text[written : written + len(piece)] = piece
        written += len(piece)
        yield
    return written
