"""The texts with which each family of brokers refuses a login or a message.

Read in the sources of RabbitMQ 3.10 to 4.3 (rabbit_reader, rabbit_channel,
rabbit_access_control), LavinMQ 2.0 to 2.9 (connection_factory, client, channel) and
amqproxy 3.1 (client, upstream). All rows are tried, because amqproxy hides which
broker is behind it, and no two texts collide.

The texts carry the users' own names, which may contain anything, and are cut at 252
bytes (of newer RabbitMQs: characters) with "..." behind. So a text is compared from
its start, with the names filled in that the message or login has. ``amqp`` makes texts
printable, and so are the names that they are compared with.
"""

import enum
from typing import NamedTuple

from ..message import printable

# Section 1.2, and RabbitMQ's own.
CONTENT_TOO_LARGE = 311
CONNECTION_FORCED = 320
ACCESS_REFUSED = 403
NOT_FOUND = 404
PRECONDITION_FAILED = 406
PROXY_ERROR = 503  # amqproxy's, for a broker that it cannot reach
NOT_ALLOWED = 530
INTERNAL_ERROR = 541

# amqproxy passes every refused login on with 403, and the broker's text with it.
_CODES = {
    "CONNECTION_FORCED": CONNECTION_FORCED,
    "ACCESS_REFUSED": ACCESS_REFUSED,
    "NOT_ALLOWED": NOT_ALLOWED,
    "INTERNAL_ERROR": INTERNAL_ERROR,
}


class Reason(enum.Enum):
    """Why the broker refused something."""

    LOGIN_REFUSED = "login refused"
    NO_VIRTUAL_HOST = "no virtual host"
    VIRTUAL_HOST_REFUSED = "virtual host refused"
    BACK_END_FAILED = "authorisation back end failed"
    CHANNEL_LIMIT = "channel limit"
    NODE_SHUTDOWN = "node shutdown"
    PROXY_LOST_BROKER = "proxy lost broker"
    NO_EXCHANGE = "no exchange"
    REFUSED = "refused"  # in words that are not known here
    EXCHANGE_REFUSED = "exchange refused"
    TOPIC_REFUSED = "topic refused"
    FOREIGN_USER_ID = "foreign user_id"
    TOO_LARGE = "too large"
    LOW_ON_DISK = "low on disk"
    PRECONDITION = "precondition"


class Names(NamedTuple):
    """What a text may name. ``keys``: a message's routing key, then those of CC and BCC."""

    virtual_host: str
    exchange: str = ""
    keys: tuple[str, ...] = ("",)
    size: int = 0  # bytes of the message's body


class _Row(NamedTuple):
    code: int
    start: str  # of the text, without the code's name
    reason: Reason


_RESOURCE = "'{exchange}' in vhost '{virtual_host}' refused for user"
_VIRTUAL_HOST = "access to vhost '{virtual_host}' refused for user"

_ROWS = (
    # RabbitMQ.
    _Row(NOT_ALLOWED, "vhost {virtual_host} not found", Reason.NO_VIRTUAL_HOST),
    _Row(NOT_ALLOWED, _VIRTUAL_HOST, Reason.VIRTUAL_HOST_REFUSED),
    _Row(NOT_ALLOWED, "number of channels opened ", Reason.CHANNEL_LIMIT),
    _Row(CONNECTION_FORCED, "broker forced connection closure", Reason.NODE_SHUTDOWN),
    _Row(ACCESS_REFUSED, "access to exchange " + _RESOURCE, Reason.EXCHANGE_REFUSED),
    _Row(ACCESS_REFUSED, "access to topic '{key}' in exchange " + _RESOURCE, Reason.TOPIC_REFUSED),
    # From 3.12 on with a word more.
    _Row(ACCESS_REFUSED, "write access to exchange " + _RESOURCE, Reason.EXCHANGE_REFUSED),
    _Row(
        ACCESS_REFUSED,
        "write access to topic '{any_key}' in exchange " + _RESOURCE,
        Reason.TOPIC_REFUSED,
    ),
    _Row(CONTENT_TOO_LARGE, "", Reason.TOO_LARGE),
    _Row(PRECONDITION_FAILED, "message size {size} ", Reason.TOO_LARGE),
    _Row(PRECONDITION_FAILED, "user_id property set to '", Reason.FOREIGN_USER_ID),
    # LavinMQ.
    _Row(NOT_ALLOWED, "vhost not found", Reason.NO_VIRTUAL_HOST),
    _Row(NOT_ALLOWED, "'", Reason.VIRTUAL_HOST_REFUSED),  # 'bob' doesn't have access to 'test'
    _Row(PRECONDITION_FAILED, "Message's user_id property '", Reason.FOREIGN_USER_ID),
    _Row(PRECONDITION_FAILED, "Server low on disk space", Reason.LOW_ON_DISK),
    # amqproxy.
    _Row(PROXY_ERROR, "", Reason.PROXY_LOST_BROKER),
)

# What RabbitMQ says behind "refused for user 'bob" where it has not refused for good. The name
# is not compared: of a token only the broker knows it, and who chooses such a one fools himself.
_BACK_END_FAILED, _CONNECTION_LIMIT = "', backend ", "': connection limit "

# What the code says where no text does: every broker means these by them.
_BY_CODE = {
    ACCESS_REFUSED: Reason.REFUSED,
    NOT_FOUND: Reason.NO_EXCHANGE,
    PRECONDITION_FAILED: Reason.PRECONDITION,
}

# From 4.0 on the topic may be a key of CC or BCC as well.
_TOPICS = ("access to topic '", "write access to topic '")
_OF_SOME = {ACCESS_REFUSED: _TOPICS, PRECONDITION_FAILED: ("message size ",)}


def explanation(text: str) -> str:
    """Return the text without the code's name: "NOT_FOUND - no exchange 'x'" -> "no exchange …"."""
    name, dash, rest = text.partition(" - ")
    return rest if dash and name.isupper() else text


def shown(text: str) -> str:
    """Return the explanation as a client may read it: an error of a back end has its address."""
    said, found, _ = explanation(text).partition(_BACK_END_FAILED)
    return f"{said}'" if found else said


def login_reason(code: int, text: str, names: Names) -> Reason | None:
    """Return why the broker closed a connection before it was open; None: no lasting reason."""
    code = _CODES.get(text.partition(" - ")[0], code)
    if code == ACCESS_REFUSED:
        return Reason.LOGIN_REFUSED  # its text only says where the broker's log is
    return _find(code, text, names)


def closing_reason(code: int, text: str) -> Reason | None:
    """Return why the broker closed an open connection; None: something else."""
    return _find(code, text, Names(""))


def message_reason(code: int, text: str, names: Names) -> Reason | None:
    """Return why the broker closed a channel over this message; None: it does not tell."""
    return _find(code, text, names) or _BY_CODE.get(code)


def names_message(code: int, text: str, names: Names) -> bool:
    """Return whether the text names what only some messages have, and this one has it."""
    of_some = explanation(text).startswith(_OF_SOME.get(code, ()))
    return of_some and _find(code, text, names) is not None


def is_topic(code: int, text: str) -> bool:
    """Return whether the broker refused a topic, of whatever message."""
    return code == ACCESS_REFUSED and explanation(text).startswith(_TOPICS)


def _find(code: int, text: str, names: Names) -> Reason | None:
    said = explanation(text)
    for row in _ROWS:
        if row.code == code:
            for start in _filled_in(row.start, names):
                rest = _behind(start, said)
                if rest is not None:
                    return _ending(row, rest)
    return None


def _filled_in(start: str, names: Names) -> list[str]:
    """Return the texts that a row stands for, one for each key that it may name."""
    values = {
        "virtual_host": names.virtual_host,
        "exchange": names.exchange or "amq.default",  # as RabbitMQ calls it there
        "size": names.size,
    }
    keys = names.keys if "{any_key}" in start else names.keys[:1]
    return [printable(start.format(key=key, any_key=key, **values)) for key in keys]


def _behind(start: str, said: str) -> str | None:
    """Return what follows ``start``; "" if the text was cut before its end; None: another text."""
    if said.startswith(start):
        return said[len(start) :]
    # It may be cut within a character.
    cut = said.endswith("...") and start.startswith(said[:-3].rstrip("\ufffd"))
    return "" if cut else None


def _ending(row: _Row, rest: str) -> Reason | None:
    if row.start.endswith(" refused for user"):
        if _BACK_END_FAILED in rest:
            return Reason.BACK_END_FAILED
        if _CONNECTION_LIMIT in rest:
            return None  # there will be room again
    return row.reason
