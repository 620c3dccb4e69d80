"""Converts an item of a batch from JSON to a Message. /openapi.json describes ``Item``."""

import base64
import binascii
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from ..amqp import encode
from ..amqp.errors import EncodeError
from ..message import Message, Mistake, Public, bad_request
from . import properties
from .defaults import Defaults, Stamps
from .request import Options, options

JSON = "application/json"
NDJSON = "application/x-ndjson"
MAX_ID = 2**53 - 1  # integers that every JSON reader keeps exactly (RFC 8259 section 6)

BODIES = ("body", "body_base64", "json")
NOT_BASE64 = Public("body_base64 is not valid base64.")
LONGEST_REASON = 300  # characters

Id = Annotated[
    Annotated[str, Meta(max_length=255)] | Annotated[int, Meta(ge=-MAX_ID, le=MAX_ID)] | None,
    Meta(description="Any name or number of yours, which the item's result repeats."),
]


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message of a batch, and its name in the answer."""

    routing_key: Annotated[str, Meta(description="At most 255 bytes; may be empty.")]
    body: Annotated[str | None, Meta(description="The message's body as text, sent as UTF-8.")] = (
        None
    )
    body_base64: Annotated[
        str | None, Meta(description="The message's body as base64, for any bytes.")
    ] = None
    json: Annotated[
        Raw | UnsetType,
        Meta(
            description="The message's body as any JSON value, published as it is written. The "
            "content_type is application/json unless the item has another."
        ),
    ] = UNSET
    id: Id = None
    mandatory: Annotated[
        bool | None, Meta(description="true: the item fails if no queue takes the message.")
    ] = None
    headers: Annotated[
        Raw | UnsetType,
        Meta(
            description="The message's headers; JSON's types become AMQP's.",
            extra_json_schema={"anyOf": [{"type": "object"}, {"type": "null"}], "default": None},
        ),
    ] = UNSET
    app_id: str | None = None
    content_encoding: str | None = None
    content_type: str | None = None
    correlation_id: str | None = None
    delivery_mode: Annotated[
        Annotated[int, Meta(ge=1, le=2)] | None,
        Meta(description="2: the message survives a restart of the broker; 1: it may not."),
    ] = None
    expiration: Annotated[
        Annotated[int, Meta(ge=0, le=properties.MAX_EXPIRATION)]
        | Annotated[str, Meta(pattern="^[0-9]+$")]
        | None,
        Meta(description="Milliseconds for which the message may wait in a queue."),
    ] = None
    message_id: str | None = None
    priority: Annotated[int, Meta(ge=0, le=255)] | None = None
    reply_to: str | None = None
    timestamp: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Seconds of Unix time.")
    ] = None
    type: str | None = None
    user_id: Annotated[str | None, Meta(description="Must be the user name of the login.")] = None


class _Identity(msgspec.Struct):
    """The id of an item that is not valid otherwise."""

    id: Id = None


_decode = msgspec.json.Decoder(Item).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode


def read_item(
    text: bytes | Raw, exchange: str, index: int, defaults: Defaults, stamps: Stamps | None
) -> tuple[str | int | None, Message]:
    """Return the item's id and its message. Raise RequestError, which says what is wrong."""
    item = decode(text)
    made = properties_of(item, index, defaults, stamps)
    return item.id, made.message(exchange, item.routing_key, body_of(item))


def decode(text: bytes | Raw) -> Item:
    """Return the item. Raise RequestError if it is not one."""
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        raise bad_request(_explained(error), Mistake.ITEM) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"The item is not valid JSON: {error}.", Mistake.JSON) from None


def properties_of(item: Item, index: int, defaults: Defaults, stamps: Stamps | None) -> Options:
    """Return what the item says of its message, but the body. Raise RequestError."""
    fields: dict[str, Any] = {}
    for name in properties.NAMES:
        value = getattr(item, name)
        if value is not None and value != "" and value is not UNSET:
            fields[name] = str(value) if isinstance(value, int) else value
    if "headers" in fields:
        text = bytes(fields.pop("headers"))
        if text != b"null":
            fields["headers"] = properties.parse_headers(text)
    if item.mandatory is not None:
        fields["mandatory"] = "true" if item.mandatory else "false"
    if item.json is not UNSET:
        fields.setdefault("content_type", JSON)
    try:
        encode.short_string(item.routing_key)
    except EncodeError as error:
        raise bad_request(f"routing_key {error}.", Mistake.ITEM) from None
    return options(fields, defaults, stamps, index)


def id_of(text: bytes | Raw) -> str | int | None:
    """Return the id of an item that cannot be published, or None if it cannot be read."""
    try:
        return _decode_identity(text).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def body_name(item: Item) -> str:
    """Return which of its members is the item's body. Raise RequestError if that is not one."""
    given = [item.body is not None, item.body_base64 is not None, item.json is not UNSET]
    if sum(given) != 1:
        raise bad_request(Public("An item has exactly one of body, body_base64 and json."))
    return BODIES[given.index(True)]


def body_of(item: Item) -> bytes:
    """Return the message's body. Raise RequestError."""
    body_name(item)
    if item.body is not None:
        try:
            return item.body.encode()
        except UnicodeEncodeError:
            raise bad_request(Public("body has a character that UTF-8 cannot carry.")) from None
    if item.body_base64 is not None:
        try:
            return base64.b64decode(item.body_base64, validate=True)
        except (binascii.Error, ValueError):
            raise bad_request(NOT_BASE64) from None
    body = bytes(item.json)  # type: ignore[arg-type]  # the one of three that is set
    try:
        body.decode()  # the JSON decoder has not checked it
    except UnicodeDecodeError:
        raise bad_request(Public("json is not UTF-8.")) from None
    return body


def _explained(error: msgspec.ValidationError) -> str:
    """Turn msgspec's "Expected `str`, got `int` - at `$.type`" into a sentence of ours."""
    text = str(error)
    if len(text) > LONGEST_REASON:  # it quotes a name
        text = f"{text[:LONGEST_REASON]}…"
    reason, _, place = text.replace("`", "").partition(" - at $")
    place = place.lstrip(".")
    return f"{place}: {reason[:1].lower()}{reason[1:]}." if place else f"{reason}."
