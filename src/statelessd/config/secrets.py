"""Hides passwords and their like, in settings that are shown and in texts about them."""

import re
from typing import Any

import msgspec

from .settings import Config
from .webhooks import Webhook

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
    """Return the configuration without passwords, and without what webhooks keep secret."""
    replace = msgspec.structs.replace
    logging = None if config.logging is None else hidden(config.logging)
    webhooks = tuple(map(_without_secrets, config.webhooks))
    config = replace(config, logging=logging, webhooks=webhooks)
    probe = config.application.rabbitmq.probe
    if not probe.password:
        return config
    rabbitmq = replace(config.application.rabbitmq, probe=replace(probe, password=HIDDEN))
    return replace(config, application=replace(config.application, rabbitmq=rabbitmq))


def _without_secrets(webhook: Webhook) -> Webhook:
    """Return the endpoint without what only its sender and the broker may know."""
    replace = msgspec.structs.replace
    return replace(
        webhook,
        path=HIDDEN,
        password=HIDDEN if webhook.password else "",
        public_url=None if webhook.public_url is None else HIDDEN,  # the path is a part of it
        verify_token=None if webhook.verify_token is None else HIDDEN,
        verify=replace(webhook.verify, secrets=(HIDDEN,) * len(webhook.verify.secrets)),
    )
