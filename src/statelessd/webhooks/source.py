"""Reads the parts of a delivery that signatures and templates ask for, when they ask.

What may take long is a generator, which yields after some milliseconds at most. Each part is
decoded once for all who ask.
"""

import re
from collections.abc import Generator

import msgspec

from ..message import Public, bad_request
from ..parsing import forms, json_steps
from .delivery import Delivery

MAX_DEPTH = 512  # levels of JSON, as in batches
MOST_ELEMENTS = 100_000  # of an object or array on the path to a value; they take memory
LONGEST = 8192  # bytes of a value in JSON or a form, which is far more than any property takes
MOST_BRACKETS = 2_000_000  # of the JSON; each takes about a microsecond
_NAMES_IN_A_STEP = 1000
_STRIDE = 1024 * 1024  # bytes; counting brackets in them takes less than a millisecond or two

_NAME = re.compile(rb'[ \t\r\n]*"((?:[^"\\]|\\.){0,1024})"[ \t\r\n]*:')
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_decode_string = msgspec.json.Decoder(str).decode

Span = tuple[int, int]
"""Where something begins and ends."""


class Form(msgspec.Struct):
    """The decoded fields of a form, in the order in which they were sent."""

    data: bytearray
    spans: forms.Spans

    def last(self, name: bytes) -> Span | None:
        """Return where the last value of the field is, or None."""
        for each, start, end in reversed(self.spans):
            if each == name:
                return start, end
        return None

    def value(self, name: bytes) -> bytes | None:
        """Return the last value of the field, or None. Raise RequestError if it is too long."""
        span = self.last(name)
        if span is None:
            return None
        start, end = span
        if end - start > LONGEST:
            raise bad_request(Public("A field of the form is too long for a property."))
        return bytes(self.data[start:end])


class Source:
    """What one delivery has."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self._query: list[tuple[bytes, bytes]] | None = None
        self._form: Form | None = None
        self._text: bytes | bytearray | None = None  # the JSON
        self._root: Span = (0, 0)
        self._elements: dict[Span, list[Span]] = {}
        self.not_json = ""  # why there is no JSON, once it was asked for

    def header(self, name: bytes) -> bytes:
        """Return a header's value without white space around it, or nothing."""
        return self.delivery.headers.get(name, b"").strip(b" \t")

    def media_type(self) -> bytes:
        """Return the media type of the body in lower case, without parameters."""
        return self.header(b"content-type").partition(b";")[0].strip(b" \t").lower()

    def query(self, name: bytes) -> bytes | None:
        """Return the last value of a parameter of the query, or None."""
        if self._query is None:
            _, _, query = self.delivery.target.partition(b"?")
            self._query = forms.decode_urlencoded(query)
        return next((value for each, value in reversed(self._query) if each == name), None)

    def form(self) -> Generator[None, None, Form]:
        """Return the body's fields: none if it is not a form. Raise RequestError if malformed."""
        if self._form is None:
            media_type, spans = self.media_type(), []
            data = bytearray()
            if media_type in (b"application/x-www-form-urlencoded", b"multipart/form-data"):
                data = bytearray(self.delivery.body)
            if media_type == b"multipart/form-data":
                content_type = self.header(b"content-type")
                spans = yield from forms.multipart_steps(data, content_type)
            elif data:
                spans = yield from forms.urlencoded_steps(data)
            self._form = Form(data, spans)
        return self._form

    def json(self, path: tuple[str, ...]) -> Generator[None, None, str | None]:
        """Return the scalar at the path as text: strings decoded, numbers as they are written.

        Return None if there is none, if it is null, an object or an array, or if the body is
        not JSON. Raise RequestError for a value that is too long or cannot be a text.
        """
        text, (start, end) = yield from self._json()
        for name in path:
            found = yield from self._child(text, start, end, name)
            if found is None:
                return None
            start, end = found
        return _scalar(text, start, end)

    def _json(self) -> Generator[None, None, tuple[bytes | bytearray, Span]]:
        """Return the JSON: the body, or the form's field ``payload``."""
        if self._text is None:
            form = yield from self.form()
            span = form.last(b"payload")
            # GitHub and Slack send their JSON in forms, too, in a field of this name.
            text = form.data if span else self.delivery.body
            root = span or (0, len(text))
            if (yield from _brackets(text, *root)) > MOST_BRACKETS:
                self.not_json = "it has too many objects and arrays"
                root = 0, 0
            self._text, self._root = text, root
        return self._text, self._root

    def _child(
        self, text: bytes | bytearray, start: int, end: int, name: str
    ) -> Generator[None, None, Span | None]:
        """Return where the member or element of that name is in an object or array."""
        opening = json_steps.first_byte(text, start, end)
        if opening not in (b"{", b"["):
            self.not_json = self.not_json or ("" if start else "it is not an object or array")
            return None
        spans = yield from self._spans(text, start, end)
        if opening == b"[":
            is_index = _INDEX.fullmatch(name) and int(name) < len(spans)
            return spans[int(name)] if is_index else None
        return (yield from _member(text, spans, name))

    def _spans(
        self, text: bytes | bytearray, start: int, end: int
    ) -> Generator[None, None, list[Span]]:
        """Return where the members or elements of an object or array are."""
        known = self._elements.get((start, end))
        if known is None:
            known = []
            try:
                known = yield from json_steps.elements(
                    text, start, end, most=MOST_ELEMENTS, depth=MAX_DEPTH
                )
            except json_steps.MalformedError as error:
                self.not_json = str(error)
            self._elements[start, end] = known
        return known


def _brackets(text: bytes | bytearray, start: int, end: int) -> Generator[None, None, int]:
    """Return how many brackets open in the text, those in strings included."""
    number = 0
    for at in range(start, end, _STRIDE):
        stop = min(at + _STRIDE, end)
        number += text.count(b"[", at, stop) + text.count(b"{", at, stop)
        yield
    return number


def _member(
    text: bytes | bytearray, spans: list[Span], name: str
) -> Generator[None, None, Span | None]:
    """Return where the value of an object's member is; the last one of a name counts."""
    wanted = name.encode()
    found = None
    for number, (start, end) in enumerate(spans):
        match = _NAME.match(text, start, end)
        if match is not None and _is_name(match[1], wanted):
            found = match.end(), end
        if number % _NAMES_IN_A_STEP == 0:
            yield
    return found


def _is_name(raw: bytes, wanted: bytes) -> bool:
    """Return whether a member's name, as it stands in the JSON, is the wanted one."""
    if b"\\" not in raw:
        return raw == wanted
    try:
        return _decode_string(b'"%b"' % raw).encode() == wanted
    except (msgspec.DecodeError, UnicodeError):
        return False


def _scalar(text: bytes | bytearray, start: int, end: int) -> str | None:
    """Return the text of a string, number or boolean, or None for any other value."""
    kind = json_steps.first_byte(text, start, end)
    if kind in (b"", b"{", b"[", b"n"):
        return None
    raw = bytes(text[start:end]).strip(json_steps.BLANK)
    if len(raw) > LONGEST:
        raise bad_request(Public("A member of the JSON is too long for a property."))
    try:
        return _decode_string(raw) if kind == b'"' else raw.decode()
    except (msgspec.DecodeError, UnicodeError):
        raise bad_request(Public("A string in the JSON cannot be written in UTF-8.")) from None
