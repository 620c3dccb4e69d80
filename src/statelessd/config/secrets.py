"""Hides passwords and their like, in settings that are shown and in texts about them."""

import re
from typing import Any

import msgspec

from .settings import Config

HIDDEN = "…"

_SECRET_NAMES = re.compile(
    r"pass|pwd|secret|token|credential|auth|cookie|dsn|webhook|signature"
    r"|(?:^|api|access|private|shared|account)[_-]?key$",
    re.IGNORECASE,
)
_IN_TEXT = re.compile(
    # A URL up to its last @: an unencoded password may contain any character. A setting that
    # names a file has one slash left of two.
    r"(?:(?<=//)|(?<=amqp:/)|(?<=amqps:/)|(?<=http:/)|(?<=https:/)).*(?=@)"
    # The same without a scheme. A format such as "%(name)s:%(lineno)d@%(process)d" is not one.
    r"|(?<![^\s'\"/])(?!\S*(?:%\(|\{))[^\s:/@'\"]+:\S*(?=@)"
    r"|(?<=\bBasic )[\w+/=-]{4,}|(?<=\bBearer )[\w.+/=~-]{4,}"
    r"|(?:(?<=pass=)|(?<=password=)|(?<=secret=)|(?<=token=)|(?<=key=)|(?<=signature=))"
    r"[^\s&;,'\"%{$][^\s&;,'\"]*",
    re.DOTALL | re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Return the text without the passwords of URLs, queries and HTTP's Authorization."""
    return _IN_TEXT.sub(HIDDEN, text)


def hidden(value: Any) -> Any:
    """Return a copy of a value from YAML without secrets.

    These are the values below a key such as ``password`` or ``credentials``, at any depth,
    and what ``redacted`` removes from texts.
    """
    match value:
        case str():
            return redacted(value)
        case dict():
            return {
                hidden(key): _covered(each) if _SECRET_NAMES.search(str(key)) else hidden(each)
                for key, each in value.items()
            }
        case list() | tuple():
            return [hidden(each) for each in value]
    return value


def _covered(value: Any) -> Any:
    """Hide all of a value but its form."""
    if isinstance(value, dict):
        return {key: _covered(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_covered(each) for each in value]
    return value if value is None or value == "" else HIDDEN


def without_secrets(config: Config) -> Config:
    """Return the configuration without passwords."""
    replace = msgspec.structs.replace
    logging = None if config.logging is None else hidden(config.logging)
    probe = config.application.rabbitmq.probe
    if not probe.password:
        return replace(config, logging=logging)
    rabbitmq = replace(config.application.rabbitmq, probe=replace(probe, password=HIDDEN))
    application = replace(config.application, rabbitmq=rabbitmq)
    return replace(config, application=application, logging=logging)
