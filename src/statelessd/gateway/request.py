"""Converts the head and body of a publish request to a message."""

import functools
import re
from collections.abc import Generator, Mapping
from typing import Any, Final

from ..amqp import encode
from ..amqp.errors import EncodeError
from ..message import FieldValue, Message, Mistake, Public, bad_request
from ..parsing.decoding import Coding, coding_of, decompress
from ..parsing.forms import (
    CHEAP,
    PERCENT,
    PLUS,
    Pairs,
    Spans,
    decode_urlencoded,
    decode_value,
    divide,
    is_costly,
    multipart_steps,
    urlencoded_steps,
)
from . import cloud_events, properties
from .defaults import Defaults, Stamps, idempotency_key, inherits, stamps_of
from .slices import at_once
from .target import Target
from .trace_context import MessageSpan

URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data"
FORMS = (URLENCODED, MULTIPART)
# Parts of names that only forms have: "application/x-www-form-encoded", "multipart/formdata".
FORM_NAMES = (b"www-form", b"www_form", b"form-data", b"form_data", b"formdata", b"form-url")
NDJSONS = {  # names of it that are in use; batches take the first
    b"application/x-ndjson", b"application/ndjson", b"application/jsonl",
    b"application/jsonlines", b"application/x-jsonlines", b"application/x-jsonl",
    b"application/json-lines", b"application/x-json-lines", b"application/x-ldjson",
    b"text/x-ndjson", b"text/ndjson",
}  # fmt: skip

# The meaning of forms without their body is cached: for so many, each of at most so many bytes.
REMEMBERED_SIZE: Final = 512
REMEMBERED_FORMS = 1024

# Of the properties in a large form: ``headers`` as JSON, and all others.
MAX_PROPERTIES = properties.MAX_HEADERS_TEXT + 64 * 1024
IS_A_BATCH = Public(
    "A body of this Content-Type is a batch. Send it to /virtual-host/exchange, without a "
    "slash at the end."
)
EVENT_IN_A_FORM = Public(
    "A CloudEvent (ce-specversion) cannot be a form. Send its data as the body, with the "
    "Content-Type of the data."
)

COMMA = ord(",")  # a number, because a search for bytes in bytes is slower

# Text between commas. A comma in a quoted string is part of the text. A quote that is not
# closed runs to the end, which keeps the search linear.
_MEMBER = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.?)*+"?)++', re.DOTALL)


def wait_seconds(prefer: bytes) -> float | None:
    """Return the seconds of the first ``Prefer: wait`` (RFC 7240 section 4.3), or None."""
    for preference in _MEMBER.findall(prefer):
        name, _, value = preference.partition(b";")[0].partition(b"=")
        if name.strip().lower() == b"wait":
            value = value.strip()
            if len(value) > 1 and value[:1] == value[-1:] == b'"':
                value = value[1:-1]
            return float(value) if value.isdigit() else None
    return None


def content_type_of(headers: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return the media type in lower case, and the whole Content-Type, which may be empty.

    Proxies join two Content-Type headers with a comma. If both say the same, they are one.
    Raise RequestError if they differ, or if the type seems to mean a form and is not one: the
    fields of a form must not become the message.
    """
    value = headers.get(b"content-type", b"")
    if COMMA in value:
        value = _one_of(value)
    media_type = value.partition(b";")[0].strip().lower()
    if media_type not in FORMS and _mentions_form(media_type):
        raise bad_request(
            Public(
                f"The Content-Type seems to mean a form, but is neither {URLENCODED.decode()} nor "
                f"{MULTIPART.decode()}. Parameters follow a semicolon."
            )
        )
    return media_type, value


def _one_of(value: bytes) -> bytes:
    """Return the one Content-Type that a list repeats, or ``value`` if it is not a list."""
    found = [member.strip() for member in _MEMBER.findall(value)]
    members = [member.partition(b";") for member in found if member]
    if len({(name.strip().lower(), rest.strip()) for name, _, rest in members}) == 1:
        return b"".join(members[0])
    types = [name for name, _, _ in members if b"/" in name]
    if len(types) > 1 or any(_mentions_form(name.lower()) for name, _, _ in members[1:]):
        raise bad_request(Public("The request has several values of Content-Type."))
    return value  # a parameter has a comma without quotes


def _mentions_form(media_type: bytes) -> bool:
    # Most types have no "form" in them, and one search is cheaper than one for each name.
    return b"form" in media_type and any(name in media_type for name in FORM_NAMES)


Steps = Generator[int | None, None, Message]
"""Work that makes a message of a large form. It yields after each step of some milliseconds.

It may yield the bytes of memory that it needs from now on.
"""


class MessageReader:
    """Makes messages of the bodies that come with one head; this one has no bodies."""

    def read(self, body: bytes, span: MessageSpan | None = None) -> Message | Steps:
        """Return the message of a body, or the steps to it if the form is costly to decode.

        With a ``span``, the message carries its trace context. Raise RequestError as the broker
        would refuse the message.
        """
        raise RuntimeError("the request was decided by its head")


def message_reader(
    target: Target,
    headers: dict[bytes, bytes],
    query: bytes,
    defaults: Defaults,
    largest: int,
    *,
    traced: bool = False,
) -> MessageReader:
    """Return what makes messages of bodies. Raise RequestError if the head has an error.

    A compressed form becomes ``largest`` bytes at most. With ``traced``, each message has a span.
    """
    media_type, content_type = content_type_of(headers)
    is_form = media_type in FORMS
    if is_form and cloud_events.MARK in headers:
        raise bad_request(EVENT_IN_A_FORM)
    if not target.routing_key and (media_type in NDJSONS or media_type == cloud_events.BATCH):
        raise bad_request(IS_A_BATCH)
    reader: MessageReader
    if traced or inherits(headers, defaults) or media_type == MULTIPART:
        reader = _StampingReader(target, headers, query, defaults)
    elif is_form:
        reader = _FormReader(target, query, defaults)
    else:
        reader = _RawReader(target, headers, content_type, query, defaults)
    coding = coding_of(headers) if is_form and b"content-encoding" in headers else None
    if coding is not None:
        reader = _CodedReader(reader, coding, largest)
    return reader


class _FormReader(MessageReader):
    """Reads urlencoded forms. This is the hot path.

    The forms of one client differ in the body only, so the meaning of the other fields is
    remembered.
    """

    __slots__ = ("_defaults", "_exchange", "_key", "_options", "_others", "_query", "_target")

    def __init__(self, target: Target, query: bytes, defaults: Defaults) -> None:
        self._target = target
        self._exchange, self._key = target.exchange, target.routing_key
        self._query = query
        self._defaults = defaults
        # Of the last form: its fields without the body, and what they mean.
        self._others = b""
        self._options: Options | None = None

    def read(self, body: bytes, span: MessageSpan | None = None) -> Message | Steps:
        if len(body) > CHEAP and is_costly(body):
            return _read_in_steps(body, None, self._target, self._query, self._defaults, None)
        value, others = divide(body)
        if value is None or len(others) + len(self._query) > REMEMBERED_SIZE:
            made = None
        elif others == self._others and self._options is not None:
            made = self._options
        else:
            made = _remembered_options(others, self._query, self._defaults)
            self._others, self._options = others, made
        if made is None or value is None:
            value, made = _read_urlencoded(body, self._query, self._defaults, None)
        elif PERCENT in value or PLUS in value:
            value = decode_value(value)
        return made.message(self._exchange, self._key, value)


class _RawReader(MessageReader):
    """Reads bodies that are the message's."""

    __slots__ = ("_content_type", "_defaults", "_headers", "_options", "_query", "_target")

    def __init__(
        self,
        target: Target,
        headers: dict[bytes, bytes],
        content_type: bytes,
        query: bytes,
        defaults: Defaults,
    ) -> None:
        self._target = target
        self._headers = headers
        self._content_type = content_type
        self._query = query
        self._defaults = defaults
        self._options: Options | None = None  # it depends on the head only

    def read(self, body: bytes, span: MessageSpan | None = None) -> Message | Steps:
        made, target = self._options, self._target
        if made is None:
            fields = _of_raw(self._headers, self._content_type, self._query, self._defaults)
            made = self._options = options(fields, self._defaults, None)
        return made.message(target.exchange, target.routing_key, body)


class _StampingReader(MessageReader):
    """Reads bodies whose messages get something of the request, or of its span."""

    __slots__ = ("_defaults", "_headers", "_query", "_target")

    def __init__(
        self, target: Target, headers: dict[bytes, bytes], query: bytes, defaults: Defaults
    ) -> None:
        self._target = target
        self._headers = headers
        self._query = query
        self._defaults = defaults

    def read(self, body: bytes, span: MessageSpan | None = None) -> Message | Steps:
        headers, query, defaults, target = self._headers, self._query, self._defaults, self._target
        media_type, content_type = content_type_of(headers)
        is_form = media_type in FORMS
        # They differ from one request to the next.
        stamps = stamps_of(headers, defaults, span, is_raw=not is_form)
        if media_type == MULTIPART or (is_form and is_costly(body)):
            form = content_type if media_type == MULTIPART else None
            steps = _read_in_steps(body, form, target, query, defaults, stamps)
            return steps if len(body) > CHEAP else at_once(steps)
        if is_form:
            body, made = _read_urlencoded(body, query, defaults, stamps)
        else:
            fields = _of_raw(headers, content_type, query, defaults)
            made = options(fields, defaults, stamps)
        return made.message(target.exchange, target.routing_key, body)


class _CodedReader(MessageReader):
    """Decompresses forms, and leaves them to another reader."""

    __slots__ = ("_coding", "_largest", "_reader")

    def __init__(self, reader: MessageReader, coding: Coding, largest: int) -> None:
        self._reader = reader
        self._coding = coding
        self._largest = largest

    def read(self, body: bytes, span: MessageSpan | None = None) -> Message | Steps:
        return _read_coded(self._coding, self._largest, self._reader, body, span)


def _read_coded(
    coding: Coding, largest: int, reader: MessageReader, body: bytes, span: MessageSpan | None
) -> Steps:
    """Decompress a form, and make its message."""
    plain = yield from decompress(coding, body, largest)
    made = reader.read(plain, span)
    return made if isinstance(made, Message) else (yield from made)


def _read_in_steps(
    body: bytes,
    multipart: bytes | None,
    target: Target,
    query: bytes,
    defaults: Defaults,
    stamps: Stamps | None,
) -> Steps:
    """Make the message of a form, in the memory of its bytes.

    ``multipart`` is the Content-Type of a multipart form.
    """
    data, body = bytearray(body), b""  # so that only one of them is held
    if multipart is not None:
        spans = yield from multipart_steps(data, multipart)
    else:
        spans = yield from urlencoded_steps(data)
    pairs = _from_pairs(_pairs_that_count(data, spans))
    made = options(_merged(from_query(query), pairs), defaults, stamps)
    bodies = [(start, end) for name, start, end in spans if name == b"body"]
    start, end = bodies[-1] if bodies else (0, 0)
    if not bodies:
        raise bad_request(NO_BODY)
    value = bytes(memoryview(data)[start:end])
    return made.message(target.exchange, target.routing_key, value)


class Options:
    """A message without its body and target. ``header`` is the encoded property list."""

    __slots__ = ("header", "mandatory", "message_id", "user_id")

    def __init__(
        self, header: bytes, mandatory: bool, user_id: str | None, message_id: str | None
    ) -> None:
        self.header = header
        self.mandatory = mandatory
        self.user_id = user_id
        self.message_id = message_id  # if it was stamped here

    def message(self, exchange: str, routing_key: str, body: bytes) -> Message:
        """Return the whole message."""
        return Message(
            exchange,
            routing_key,
            self.header,
            body,
            self.mandatory,
            self.user_id,
            self.message_id,
        )


def options(
    fields: dict[str, Any], defaults: Defaults, stamps: Stamps | None, index: int | None = None
) -> Options:
    """Convert fields, which are text; ``index`` is the number in a batch. Raise RequestError."""
    mandatory = fields.pop("mandatory", None)
    stamped = None if stamps is None else stamps.add_to(fields, index)
    fields.setdefault("delivery_mode", str(defaults.delivery_mode))
    try:
        header = encode.properties(properties.check(fields))
    except EncodeError as error:
        raise bad_request(f"{error}.", Mistake.PROPERTY) from None
    return Options(
        header,
        defaults.mandatory if mandatory is None else properties.flag("mandatory", mandatory),
        fields.get("user_id"),
        stamped,
    )


def _read_urlencoded(
    data: bytes, query: bytes, defaults: Defaults, stamps: Stamps | None
) -> tuple[bytes, Options]:
    """Return the body of an urlencoded form, and what its other fields mean."""
    pairs = decode_urlencoded(data)
    made = options(_merged(from_query(query), _from_pairs(pairs)), defaults, stamps)
    return _form_body(pairs), made


@functools.lru_cache(maxsize=REMEMBERED_FORMS)
def _remembered_options(others: bytes, query: bytes, defaults: Defaults) -> Options | None:
    """Return what the fields mean. Return None if one is the body, in an encoded spelling."""
    pairs = decode_urlencoded(others)
    if any(name == b"body" for name, _ in pairs):
        return None
    return options(_merged(from_query(query), _from_pairs(pairs)), defaults, None)


def from_query(query: bytes) -> dict[str, Any]:
    """Return the fields of a query, or raise RequestError."""
    return _from_pairs(decode_urlencoded(query)) if query else {}


NO_BODY = Public(
    "The form has no field 'body'. To publish the request's body as it is, send another "
    "Content-Type with it, such as application/json (curl: -H 'Content-Type: "
    "application/json' --data-binary …)."
)


def _form_body(pairs: Pairs) -> bytes:
    for name, value in reversed(pairs):  # of several the last one wins
        if name == b"body":
            return value
    raise bad_request(NO_BODY)


def _pairs_that_count(data: bytearray, spans: Spans) -> Pairs:
    """Return the fields of a large form that make properties, without what a later one replaces.

    Raise RequestError if they are larger than any message's properties.
    """
    found: dict[str, tuple[bytes, int, int]] = {}
    for number, (raw_name, start, end) in enumerate(spans):
        name = properties.name_of(raw_name.decode(errors="replace"))
        if name.startswith("headers["):
            name += f" {number}"  # because all of these may count
        elif name not in properties.NAMES and name != "mandatory":
            continue
        found.pop(name, None)
        found[name] = raw_name, start, end
    if sum(len(name) + end - start for name, start, end in found.values()) > MAX_PROPERTIES:
        raise bad_request(Public(f"The form's properties are longer than {MAX_PROPERTIES} bytes."))
    return [(name, bytes(data[start:end])) for name, start, end in found.values()]


def _from_pairs(pairs: Pairs) -> dict[str, Any]:
    """Return the fields of one source by name.

    The last one of a name wins, and an empty value counts as none. ``headers`` and
    ``headers[name]`` add up, and of one message header the last value wins too. Values that
    do not win are not looked at, because looking at each could take long.
    """
    found: dict[str, bytes] = {}
    brackets: list[tuple[str, str]] = []
    before = 0  # how many of them come before the table
    for raw_name, raw_value in pairs:
        if raw_name == b"body":
            continue
        try:
            name = properties.name_of(raw_name.decode())
        except UnicodeDecodeError:
            continue  # an unknown field, whatever it is called
        if name.startswith("headers["):
            brackets.append((raw_name.decode(), properties.text(name, raw_value)))
        elif name in properties.NAMES or name == "mandatory":
            found[name] = raw_value
            before = len(brackets) if name == "headers" else before
    text = found.pop("headers", b"")
    table: dict[str, FieldValue] = properties.parse_headers(text) if text else {}
    fields: dict[str, Any] = {
        name: properties.text(name, value) for name, value in found.items() if value
    }
    if brackets:
        kept = [b for b in brackets[:before] if properties.bracket_path(b[0])[0] not in table]
        table = {**table, **properties.bracket_headers(kept + brackets[before:])}
    if table:
        fields["headers"] = table
    return fields


def _of_raw(
    headers: Mapping[bytes, bytes], content_type: bytes, query: bytes, defaults: Defaults
) -> dict[str, Any]:
    fields = _from_request_headers(headers, content_type)
    if cloud_events.is_event(headers, content_type):
        fields = _merged(from_event(headers, defaults), fields)
    return _merged(fields, from_query(query))


def from_event(headers: Mapping[bytes, bytes], defaults: Defaults) -> dict[str, Any]:
    """Return the fields of a CloudEvent whose attributes are request headers."""
    attributes = cloud_events.attributes_of(headers)
    prefix = defaults.cloudevents_prefix
    fields: dict[str, Any] = {"headers": {prefix + name: attributes[name] for name in attributes}}
    if idempotency_key(headers) is None:  # which wins
        fields["message_id"] = attributes["id"]
    return fields


def _from_request_headers(headers: Mapping[bytes, bytes], content_type: bytes) -> dict[str, Any]:
    """Return the fields of a raw publish; ``AMQP-*`` wins over the request's own Content-Type."""
    fields: dict[str, Any] = {}
    table: dict[str, FieldValue] = {}
    if content_type:
        fields["content_type"] = properties.text("content-type", content_type)
    if coding := headers.get(b"content-encoding"):
        fields["content_encoding"] = properties.text("content-encoding", coding)
    for raw_name, raw_value in headers.items():
        if raw_name.startswith(b"amqp-header-"):
            key = raw_name[len(b"amqp-header-") :].decode("ascii", "replace")
            table[key] = properties.text(raw_name.decode("ascii", "replace"), raw_value)
        elif raw_name.startswith(b"amqp-") and raw_value:
            name = properties.name_of(raw_name[len(b"amqp-") :].decode("ascii", "replace"))
            if name == "headers":
                table = {**properties.parse_headers(raw_value), **table}
            elif name in properties.NAMES or name == "mandatory":
                fields[name] = properties.text(name, raw_value)
    if table:
        fields["headers"] = table
    return fields


def _merged(weaker: dict[str, Any], stronger: dict[str, Any]) -> dict[str, Any]:
    """Merge two sources by field, and their message headers by name."""
    if not weaker:
        return stronger
    merged = {**weaker, **stronger}
    if "headers" in weaker and "headers" in stronger:
        merged["headers"] = {**weaker["headers"], **stronger["headers"]}
    return merged
