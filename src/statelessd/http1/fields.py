"""Header fields that decide how a request is read: repeated ones, coding, length, upgrade."""

from collections.abc import Mapping, Sequence

from ..message import Public, bad_request

Fields = list[tuple[bytes, bytes]]

# Fields whose lines are one list. Content-Type is not a list, but proxies join its lines to
# one, so several lines have to mean the same as that.
LISTS = (
    b"prefer", b"tracestate", b"baggage", b"expect", b"content-type", b"content-encoding",
    b"transfer-encoding",
)  # fmt: skip
# Fields that decide about a request. Two values would leave open which one does.
SINGLE = (b"authorization", b"origin", b"sec-fetch-site", b"idempotency-key")
# Fields that are ignored if they come more than once, as W3C Trace Context has it.
IGNORED_IF_REPEATED = (b"traceparent",)
UPGRADE = frozenset({b"upgrade", b"http2-settings"})


def merge_repeated(fields: Fields, headers: dict[bytes, bytes], version: str) -> Fields:
    """Return ``fields`` with one line for each list, and put the lists into ``headers``.

    Leave out of both what is ignored. Raise RequestError unless there is one Host (RFC 9112
    section 3.2), or if one of SINGLE has several values.
    """
    hosts = sum(name == b"host" for name, _ in fields)
    if hosts > 1 or (not hosts and version != "1.0"):
        raise bad_request(Public("There must be one Host header."))
    for single in SINGLE:
        if single in headers and len({value for name, value in fields if name == single}) > 1:
            raise bad_request(Public(f"There must be one {single.decode().title()} header."))
    lists = [name for name in LISTS if name in headers]
    for name in lists:  # RFC 9110 section 5.3
        headers[name] = b", ".join(v for n, v in fields if n == name)
    ignored = [n for n in IGNORED_IF_REPEATED if sum(name == n for name, _ in fields) > 1]
    for name in ignored:
        del headers[name]
    # A page makes its own mapping of the fields, in which the last line counts.
    left_out = {*lists, *ignored}
    others = [(name, value) for name, value in fields if name not in left_out]
    return others + [(name, headers[name]) for name in lists]


def check_coding(coding: bytes, version: str) -> None:
    """Raise RequestError for any coding but chunked, and for HTTP/1.0 (RFC 9112 section 6.1)."""
    if coding.lower() != b"chunked" or version == "1.0":
        raise bad_request(Public("The request's Transfer-Encoding is not supported."))


def expects_continue(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the client waits for a 100 before it sends its body (RFC 9110 10.1.1)."""
    expected = headers.get(b"expect", b"").lower().split(b",")
    return any(each.strip() == b"100-continue" for each in expected)


def announces_body(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the headers make sense with a body only (RFC 9110 sections 8, 10.1.1)."""
    return b"expect" in headers or any(name.startswith(b"content-") for name in headers)


def without_upgrade(
    method: bytes, url: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """Return the head as if the client had not asked for another protocol (RFC 9110 7.8)."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    for name, value in headers:
        if name == b"connection":
            options = (option.strip() for option in value.split(b","))
            kept = b", ".join(option for option in options if option.lower() not in UPGRADE)
            lines.append(b"connection: " + kept)
        elif name not in UPGRADE:
            lines.append(name + b": " + value)
    return b"\r\n".join((*lines, b"", b""))
