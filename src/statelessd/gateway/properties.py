"""Converts names and values as clients write them to the properties of a message.

Values over which RabbitMQ would close a channel or a connection are refused here, before
anything is sent.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ..message import FieldValue, Mistake, Properties, Public, bad_request
from ..parsing.nesting import deeper, more_values

MAX_DEPTH = 32  # of nested tables and arrays in ``headers``
# The table has to fit one frame, of 128 KiB unless the broker says otherwise. With escapes
# the text can be a few times longer. Parsing more would only take time. A table has
# more values only if somebody wants it to take long.
MAX_HEADERS_TEXT = 512 * 1024  # bytes
MAX_HEADERS_VALUES = 4096
LONGEST_SHOWN = 100  # characters of a name
MAX_EXPIRATION = 315_360_000_000  # milliseconds: ten years, RabbitMQ's own bound
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"  # only a consumer on the same channel may use it

_TOO_DEEP = Public(f"headers is nested more than {MAX_DEPTH} levels deep.")
NAMES = frozenset(Properties.__annotations__)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_ALIASES = {"expire": "expiration"}  # the original's name for it


def name_of(raw: str) -> str:
    """Return the property or option that a client means: ``content-type`` is ``content_type``."""
    name = raw.replace("-", "_").lower()
    return _ALIASES.get(name, name)


def shown(name: str) -> str:
    """Return a name that a client gave, short enough for a sentence."""
    return name if len(name) <= LONGEST_SHOWN else name[:LONGEST_SHOWN] + "…"


def check(fields: dict[str, Any]) -> Properties:
    """Return typed values for text, or raise RequestError, which names the field out of range."""
    return {  # type: ignore[return-value]  # NAMES are the keys of Properties
        name: _CHECKS[name](value) if name in _CHECKS else value for name, value in fields.items()
    }


def text(name: str, value: bytes) -> str:
    """Return the value of the field or header ``name`` as text, or raise RequestError."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise bad_request(f"{shown(name)} is not UTF-8.", Mistake.TEXT) from None


def parse_headers(text: bytes) -> dict[str, FieldValue]:
    """Return the table that the field ``headers`` holds as a JSON object, or raise RequestError."""
    if len(text) > MAX_HEADERS_TEXT:
        raise bad_request(Public(f"headers is longer than {MAX_HEADERS_TEXT} bytes."))
    if more_values(text, MAX_HEADERS_VALUES):
        raise bad_request(
            Public(f"headers has more than {MAX_HEADERS_VALUES} commas and opening brackets.")
        )
    if any(deeper(text, MAX_DEPTH)):
        raise bad_request(_TOO_DEEP)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"headers is not valid JSON: {error}.", Mistake.JSON) from error
    if not isinstance(value, dict):
        raise bad_request(Public('headers must be a JSON object, such as {"name": "value"}.'))
    return value


def bracket_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, FieldValue]:
    """Return ``{"a": {"b": "c"}}`` for PHP's ``headers[a][b]=c``, or raise RequestError.

    Numbered keys from 0 make an array: ``http_build_query`` writes a PHP list with the
    keys 0, 1, …; ``[]`` means the next number. Later values replace earlier ones.
    """
    table = _Level()
    for name, value in pairs:
        *path, last = bracket_path(name)
        node = table
        for raw_key in path:
            key = node.key(raw_key)
            child = node.get(key)
            if not isinstance(child, _Level):
                child = node[key] = _Level()
            node = child
        node[node.key(last)] = value
    return {name: _lists(value) for name, value in table.items()}


class _Level(dict[str, Any]):
    """The values that one pair of brackets chooses from; as a PHP array it knows its next key."""

    def __init__(self) -> None:
        super().__init__()
        self.next = 0

    def key(self, raw: str) -> str:
        if not raw:
            raw = str(self.next)
        # Not longer than PHP's integers. 007 is text in PHP, so it is not a number here.
        if len(raw) <= 18 and raw.isascii() and raw.isdigit() and (raw == "0" or raw[0] != "0"):
            self.next = max(self.next, int(raw) + 1)
        return raw


def bracket_path(name: str) -> list[str]:
    """Return ``["a", "b"]`` for ``headers[a][b]``, or raise RequestError."""
    inner = name[len("headers") :]
    if not (inner.startswith("[") and inner.endswith("]")) or inner.startswith("[]"):
        raise bad_request(
            f"{shown(name)!a} is not a header field: write headers[name].", Mistake.PROPERTY
        )
    path = inner[1:-1].split("][")
    if len(path) > MAX_DEPTH:
        raise bad_request(_TOO_DEEP)
    return path


def _lists(value: Any) -> FieldValue:
    if not isinstance(value, dict):
        return value  # type: ignore[no-any-return]  # text, as the form had it
    inner = {key: _lists(item) for key, item in value.items()}
    if list(inner) == [str(i) for i in range(len(inner))]:
        return list(inner.values())
    return inner


def flag(name: str, text: str) -> bool:
    """Return what ``true``, ``false``, ``1`` or ``0`` means, or raise RequestError."""
    value = _FLAGS.get(text.lower())
    if value is None:
        raise bad_request(Public(f"{name} must be true or false."))
    return value


def _integer(name: str, low: int, high: int, unit: str = "") -> Callable[[str], int]:
    """Return what reads an integer of that range."""

    def convert(text: str) -> int:
        # The length is checked first, because converting a million digits is slow.
        if len(text) <= 20 and text.isascii() and text.isdigit() and low <= int(text) <= high:
            return int(text)
        raise bad_request(Public(f"{name} must be an integer{unit} from {low} to {high}."))

    return convert


_milliseconds = _integer("expiration", 0, MAX_EXPIRATION, " of milliseconds")


def _reply_to(text: str) -> str:
    if text.startswith(DIRECT_REPLY_TO):
        raise bad_request(
            Public(f"reply_to must not be {DIRECT_REPLY_TO}: the gateway cannot receive replies.")
        )
    return text


def _headers(table: dict[str, FieldValue]) -> dict[str, FieldValue]:
    for name in ("CC", "BCC"):  # RabbitMQ's sender-selected distribution
        value = table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise bad_request(Public(f"The header {name} must be an array of strings."))
        if any(len(item.encode(errors="replace")) > 255 for item in value if isinstance(item, str)):
            raise bad_request(
                Public(f"A routing key in the header {name} is longer than 255 bytes.")
            )
    for name, (is_valid, must) in _POISON.items():
        if name in table and not is_valid(table[name]):
            raise bad_request(Public(f"The header {name} must be {must}"))
    return table


def _is_integer(value: FieldValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_filter_value(value: FieldValue) -> bool:
    """Return whether RabbitMQ can use it for a stream. Since 3.13 not every string is valid."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return len(value.encode(errors="replace")) <= 4096


def _is_history(value: FieldValue) -> bool:
    """Return whether RabbitMQ before 4.0 can read it as x-death. It replaces other types."""
    return not isinstance(value, list) or all(
        isinstance(death, dict) and _is_integer(death.get("count", 0)) for death in value
    )


# A value of another kind in these headers crashes a process of RabbitMQ, and with it other
# users of the connection or queue. They are refused for every target, because the gateway
# does not know which queues an exchange has.
_POISON: dict[str, tuple[Callable[[FieldValue], bool], str]] = {
    "x-delay": (
        _is_integer,
        "an integer, because a delayed-message exchange crashes on any other value. A form "
        "field and a request header are text: send the header in a JSON object.",
    ),
    "x-stream-filter-value": (
        _is_filter_value,
        "a string of at most 4096 bytes without NUL, because a stream crashes on any other value.",
    ),
    "x-death": (
        _is_history,
        "an array of tables, in which count is an integer, because a queue that dead-letters "
        "crashes on any other array.",
    ),
}


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "priority": _integer("priority", 0, 255),
    "delivery_mode": _integer("delivery_mode", 1, 2),
    "timestamp": _integer("timestamp", 0, 2**64 - 1, " of seconds"),
    "expiration": lambda text: str(_milliseconds(text)),
    "reply_to": _reply_to,
    "headers": _headers,
}
