"""CloudEvents 1.0 in request headers: binary mode of the HTTP binding, section 3.1.

A request with the header ``ce-specversion`` is an event. Its attributes become message headers
with the prefix of the settings, as RabbitMQ's binding for CloudEvents has them.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from ..message import Mistake, Public, bad_request
from .properties import shown

PREFIX = b"ce-"
MARK = b"ce-specversion"
FORMATS = b"application/cloudevents"  # media types of events, and batches, in structured mode
BATCH = b"application/cloudevents-batch+json"
SPECVERSION = "1.0"
REQUIRED = ("specversion", "id", "source", "type")

_NAME = re.compile(r"[a-z0-9]+")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)  # RFC 9110 section 5.6.4
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")


def is_event(headers: Mapping[bytes, bytes], content_type: bytes) -> bool:
    """Return whether the request is an event in binary mode."""
    return MARK in headers and not content_type.lower().startswith(FORMATS)


def attributes_of(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the attributes of an event in binary mode. Raise RequestError if it is not valid."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers.items():
        if not raw_name.startswith(PREFIX):
            continue
        header = raw_name.decode("ascii", "replace")
        name = header[len(PREFIX) :]
        if not _NAME.fullmatch(name) or name in ("data", "datacontenttype"):
            raise bad_request(
                f"{shown(header)} is not an attribute of a CloudEvent. Their names are letters and "
                "digits; datacontenttype is the Content-Type, and data is the body.",
                Mistake.CLOUD_EVENT,
            )
        if value := _decoded(header, raw_value):
            found[name] = value
    check(found)
    return found


def check(attributes: Mapping[str, object]) -> None:
    """Raise RequestError if a required attribute is missing, or the version is another one."""
    for name in REQUIRED:
        value = attributes.get(name)
        if not value:
            raise bad_request(Public(f"The CloudEvent has no {name}."))
        if not isinstance(value, str):
            raise bad_request(Public(f"The CloudEvent's {name} is not a string."))
    if attributes["specversion"] != SPECVERSION:
        raise bad_request(Public(f"The CloudEvent's specversion is not {SPECVERSION}."))


def _decoded(header: str, raw: bytes) -> str:
    """Return the attribute's value (sections 3.1.3.2 and, for its characters, the core's 3.1)."""
    if quoted := _QUOTED.fullmatch(raw):
        raw = _ESCAPE.sub(rb"\1", quoted[1])
    try:
        value = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise bad_request(f"{shown(header)} is not UTF-8.", Mistake.CLOUD_EVENT) from None
    if _CONTROL.search(value):
        raise bad_request(f"{shown(header)} has a control character.", Mistake.CLOUD_EVENT)
    return value
