"""Converts the CloudEvents of a batch (HTTP binding, section 3.3) to messages.

Each message is its event in structured mode, with the bytes that the batch has, so that no
attribute loses its JSON type. The routing key is the event's type, or what a template makes of
its attributes.
"""

import re
from collections.abc import Generator, Mapping

import msgspec
from msgspec import Raw

from ..amqp import encode
from ..amqp.errors import EncodeError
from ..message import Message, Mistake, Public, bad_request
from ..parsing import json_steps
from ..parsing.forms import decode_urlencoded
from ..parsing.json_steps import BLANK, LONGEST_PIECE, MalformedError, TooDeepError
from ..webhooks.templates import one_word, pieces
from . import cloud_events
from .defaults import Defaults, Stamps
from .large_items import LARGE, MAX_DEPTH, NAME, TOO_DEEP, check_utf8
from .properties import shown, text
from .request import Options, from_query, options

CONTENT_TYPE = "application/cloudevents+json"
BY_TYPE = "{json.type}"
MOST_PARTS = 40
MOST_MEMBERS = 1000
ITS_OWN = Public("The message_id of each event in a batch is its id, so the query cannot have one.")
NO_TEMPLATE = Public(
    "routing_key is not a template of a CloudEvent's attributes, such as {json.type}, "
    "{json.subject|none} or {json.source|word}."
)

_PLACEHOLDER = re.compile(r"json\.([a-z0-9]+)(?:\|([^|]*))??(\|word)?")

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_value = msgspec.json.Decoder().decode


class Placeholder(msgspec.Struct, frozen=True):
    """The place of an attribute in a routing key."""

    name: str
    default: str | None
    is_word: bool

    def value_in(self, attributes: Mapping[str, object]) -> str:
        """Return the attribute, or the default. Raise RequestError if there is neither."""
        value = attributes.get(self.name)
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int):
            value = str(value)
        if not isinstance(value, str) or not value:
            if self.default is None:
                raise bad_request(
                    f"The CloudEvent has no {shown(self.name)} for its routing key.",
                    Mistake.CLOUD_EVENT,
                )
            value = self.default
        return one_word(value) if self.is_word else value


def parse_template(template: str) -> list[str | Placeholder]:
    """Return the parts of a template. Raise RequestError if it is not one."""
    parts: list[str | Placeholder] = []
    try:
        for piece, is_place in pieces(template):
            if not is_place:
                parts.append(piece)
            elif (named := _PLACEHOLDER.fullmatch(piece)) and named[1] != "data":
                parts.append(Placeholder(named[1], named[2], named[3] is not None))
            else:
                raise bad_request(NO_TEMPLATE)
    except ValueError:
        raise bad_request(NO_TEMPLATE) from None
    if len(parts) > MOST_PARTS:
        raise bad_request(NO_TEMPLATE)
    return parts


class Events:
    """How the events of one request become messages, as its query says.

    The query has a template of the routing key, and properties for all messages.
    """

    def __init__(self, query: bytes) -> None:
        """Raise RequestError if the query has a template or property that is not valid."""
        template = ""
        for name, value in decode_urlencoded(query):
            if name == b"routing_key":
                template = text("routing_key", value)
        self._parts = parse_template(template or BY_TYPE)
        self._fields = from_query(query)
        if "message_id" in self._fields:
            raise bad_request(ITS_OWN)
        options({**self._fields}, Defaults(), None)  # one that is wrong is wrong in all messages
        placeholders = (part.name for part in self._parts if isinstance(part, Placeholder))
        self.names = frozenset({*cloud_events.REQUIRED, *placeholders})

    def read(
        self, event: bytes, exchange: str, index: int, defaults: Defaults, stamps: Stamps | None
    ) -> tuple[str | int | None, Message]:
        """Return the event's id and its message. Raise RequestError, which says what is wrong."""
        event = event.strip(BLANK)
        try:
            members = _decode(event)
            event.decode()  # the JSON decoder has not checked all of it
        except msgspec.ValidationError:
            raise bad_request(Public("The CloudEvent is not a JSON object.")) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bad_request(f"The CloudEvent is not valid JSON: {error}.", Mistake.JSON) from None
        attributes = attributes_in(members, self.names)
        key, made = self.options(attributes, index, defaults, stamps)
        return str(attributes["id"]), made.message(exchange, key, event)

    def options(
        self,
        attributes: Mapping[str, object],
        index: int,
        defaults: Defaults,
        stamps: Stamps | None,
    ) -> tuple[str, Options]:
        """Return the routing key and the properties of an event. Raise RequestError."""
        cloud_events.check(attributes)
        key = "".join(
            part if isinstance(part, str) else part.value_in(attributes) for part in self._parts
        )
        try:
            encode.short_string(key)
        except EncodeError as error:
            raise bad_request(f"The routing key {error}.", Mistake.CLOUD_EVENT) from None
        fields = {**self._fields, "content_type": CONTENT_TYPE}
        if stamps is None or stamps.key is None:  # an Idempotency-Key wins
            fields["message_id"] = attributes["id"]
        return key, options(fields, defaults, stamps, index)


class LargeEvent:
    """An event whose text is ``text[start:end]``. ``id`` is known as soon as it was read."""

    def __init__(self, events: Events, event: bytearray, start: int, end: int) -> None:
        self.id: str | int | None = None
        self._events = events
        self._event, self._start, self._end = event, start, end

    def read(
        self, exchange: str, index: int, defaults: Defaults, stamps: Stamps | None
    ) -> Generator[None, None, Message]:
        """Return the message in steps. Raise RequestError."""
        event, start, end = self._event, self._start, self._end
        if json_steps.first_byte(event, start, end) != b"{":
            raise bad_request(Public("The CloudEvent is not a JSON object."))
        try:
            members = yield from json_steps.elements(
                event, start, end, most=MOST_MEMBERS, depth=MAX_DEPTH
            )
        except TooDeepError:
            raise bad_request(TOO_DEEP) from None
        except MalformedError as error:
            raise bad_request(f"The CloudEvent is not valid JSON: {error}.", Mistake.JSON) from None
        yield from check_utf8(event, start, end, "The CloudEvent")
        attributes = attributes_in(self._found(members), self._events.names)
        found = attributes.get("id")
        self.id = found if isinstance(found, str) and len(found) <= 255 else None
        key, made = self._events.options(attributes, index, defaults, stamps)
        head = bytes(event[start : start + LONGEST_PIECE])
        tail = bytes(event[max(start, end - LONGEST_PIECE) : end])
        start += len(head) - len(head.lstrip(BLANK))
        end -= len(tail) - len(tail.rstrip(BLANK))
        body = bytes(memoryview(event)[start:end])
        return made.message(exchange, key, body)

    def _found(self, members: json_steps.Spans) -> dict[str, bytes]:
        """Return the text of the attributes that count. What is larger is never one."""
        found: dict[str, bytes] = {}
        for start, end in members:
            named = NAME.match(self._event, start, end) if end - start <= LARGE else None
            if named is not None and (name := named[1].decode()) in self._events.names:
                found[name] = bytes(self._event[named.end() : end])
        return found


def attributes_in(members: Mapping[str, Raw | bytes], names: frozenset[str]) -> dict[str, object]:
    """Return the values of the members that have these names. Raise RequestError."""
    try:
        return {name: _decode_value(members[name]) for name in names if name in members}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"The CloudEvent is not valid JSON: {error}.", Mistake.JSON) from None
