"""Long inputs that repeat themselves: they show what costs more than its size.

An input is drawn in few parts. So its ``repr`` is short, and hypothesis has little to draw.
"""

import os
from typing import NamedTuple

from edge import post
from hypothesis import strategies as st
from mutate import mutated

SIZES = [64, 256, 1024] if "FUZZ" in os.environ else [64, 250]  # KiB

USER = b"Authorization: Basic dTpw\r\n"
URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=b"
JSON = b"application/json"
NDJSON = b"application/x-ndjson"


class Long(NamedTuple):
    """A unit that is repeated, with what comes before and after; ``end`` closes each unit."""

    before: bytes
    unit: bytes
    end: bytes
    after: bytes
    times: int

    def __bytes__(self):
        return self.before + self.unit * self.times + self.end * self.times + self.after


@st.composite
def long(draw, units, befores=(b"",), afters=(b"",), ends=(b"",), sizes=None):
    """Draw a long input of one or a few of the units, or of units with a few changes."""
    unit = st.sampled_from(units)
    several = st.lists(unit, min_size=2, max_size=3).map(b"".join)
    drawn = draw(unit | unit | several | mutated(several) | st.binary(min_size=1, max_size=6))
    if draw(st.booleans()):
        drawn *= draw(st.sampled_from([2, 3, 10, 100, 1000]))
        drawn += draw(unit)
    end = draw(st.sampled_from(ends))
    size = draw(st.sampled_from(sizes or [kib * 1024 for kib in SIZES]))
    times = max(1, size // max(1, len(drawn) + len(end)))
    return Long(draw(st.sampled_from(befores)), drawn, end, draw(st.sampled_from(afters)), times)


forms = long(
    [b"%", b"%4", b"%41", b"+", b"&", b"=", b"a=b&", b"a&", b"[", b"]", b"[a]", b"\0", b"\xff",
     b"body=&", b"&body=%26", b"headers=%7B%7D&", b"headers[a]=b&", b"headers[a][b]=c&",
     b"headers=[[],[]]&", b"expire=1&", b"x", b"%7B%22a%22:", b'"', b"\\u0041", b"1,", b"[],"],
    [b"", b"body=", b"body=a&headers=", b"body=a&headers={\"a\":[", b"body=a&headers[", b"body=x&",
     b"body=x&headers=%7B%22a%22:%5B", b"body=a&headers[a]", b"body=x&message_id="],
    [b"", b"&body=x", b"]}", b"=1&body=x"],
    [b"", b"]", b"}"],
)  # fmt: skip
PART = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n%b\r\n'
multiparts = long(
    [b"--b\r\n", b"\r\n--b", b"\r\n--", b"\r\n", b"\r", b"\n", b"-", b"x", b"; a=b", b'\\"', b'"',
     b"X: y\r\n", b"X: y\r\n z\r\n", b":", PART % (b"a", b"") + b"x\r\n",
     PART % (b"headers[a]", b"") + b"x\r\n", PART % (b"body", b"Content-Type: a; b=c\r\n")],
    [b"", PART % (b"body", b""), b"--b\r\n", b"--b\r\nContent-Disposition: form-data",
     b'--b\r\nContent-Disposition: form-data; name="', PART % (b"headers", b"") + b'{"a":[',
     b"--b\r\nX:"],
    [b"", b"\r\n--b--\r\n"],
)  # fmt: skip
ITEM = b'{"routing_key":"k","body":"x"}'
jsons = long(
    [b"[", b"{", b"]", b"0,", b"[],", b"{},", b"1e5,", b"-0.1,", b"null,", b'"', b'"",', b"\\",
     b"\\u0041", b"\\ud800", b'\\"', b" ", b"\n", b"\r\n", b"1", b"0", b'"a":1,', b'{"a":', b",",
     ITEM + b",", ITEM + b"\n", b"{}\n", b"[]\n", b"\xff", b"\xc3\xa4", b"QUJD", b'"id":1,'],
    [b"", b"[", b'{"messages":[', b"[" + ITEM[:-2], b'{"routing_key":"k","headers":{"a":[',
     b'[{"routing_key":"k","headers":{"a":[', b'[{"routing_key":"k","json":', b"[{",
     b'{"routing_key":"k","json":[', b'{"routing_key":"k","body_base64":"', b'{"routing_key":"',
     b'[{"routing_key":"k","body":"x","headers":{"a":'],
    [b"", b"]", b"]}", b"]}}]", b'"}', b'"}]', b"0]", b"0]}}", b"0]}}]"],
    [b"", b"]", b"}", b"]}"],
)  # fmt: skip
values = long(
    [b",", b";", b"=", b'"', b"\\", b'\\"', b" ", b"\t", b"a", b"a=b,", b'a="b";', b"://a:", b"@",
     b"%", b"%41", b"/", b"1", b"1.2.3.4, ", b"for=1.2.3.4;", b"::", b"wait=1,", b"[", b'{"a":',
     b"\xff", b"%2f", b"?", b"&a=b", b"+", b"#", b"headers[a]=b&", b"-", b":"],
    sizes=[2000, 7000, 15_000],
)  # fmt: skip


@st.composite
def heads(draw):
    """A request whose head is as large as it may be, or nearly."""
    value, path = bytes(draw(values)), b"/v/e/k"
    place = draw(
        st.sampled_from(
            [b"Authorization: Basic ", b"Authorization: Bearer ", b"Authorization: ", b"Prefer: ",
             b"X-Forwarded-For: ", b"Forwarded: ", b"X-Real-IP: ", b"Origin: ", b"Host: ",
             b"Content-Type: ", b"Content-Type: multipart/form-data; ", b"Content-Encoding: ",
             b"traceparent: ", b"baggage: ", b"X-Request-ID: ", b"Idempotency-Key: ",
             b"AMQP-Headers: ", b'AMQP-Headers: {"a":[', b"AMQP-Header-A: ", b"Connection: ",
             b"Upgrade: ", b"Expect: ", b"Transfer-Encoding: ", b"Accept: ", b"path", b"query",
             b"target", b"virtual host", b"lines"]
        )
    )  # fmt: skip
    headers = USER
    match place:
        case b"path":
            path += value
        case b"query":
            path += b"?" + value
        case b"target":
            path = value
        case b"virtual host":
            path = b"/" + value + b"/e/k"
        case b"lines":
            line = value[:4].strip(b": \t") + b": " + value[4:30] + b"\r\n"
            headers += line * (len(value) // len(line))
        case _:
            headers += place + value + b"\r\n"
    return post(b"body=hi", path, headers)


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: x\r\n"
BARE = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\n%b\r\n"
CHUNKED = BARE % (USER + b"Transfer-Encoding: chunked\r\n")
streams = long(
    [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"1\r\nx\r\n", b"2\r\n\r\n\r\n", b"1;a=b\r\nx\r\n", b"0",
     b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"X: y\r\n", b"X", b"10\r\n0123456789abcdef\r\n",
     post(b"hi", headers=USER), post(b"hi", headers=USER + UPGRADE),
     post(b"body=hi", headers=b""), BARE % USER, CHUNKED + b"0\r\n\r\n",
     CHUNKED + b"0\r\nConnection: close\r\n\r\n", b"HEAD /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n"],
    [b"", b"", CHUNKED, CHUNKED + b"ffffff\r\n", CHUNKED + b"0\r\n", CHUNKED + b"1;",
     BARE[:-4], post(b"hi", headers=USER)[:-2], post(b"", headers=USER)],
    [b"", GET],
)  # fmt: skip


@st.composite
def requests(draw):
    """A publish or a batch with a long body, announced by its length or in chunks."""
    kind, path, bodies = draw(
        st.sampled_from(
            [(URLENCODED, b"/v/e/k", forms), (MULTIPART, b"/v/e/k", multiparts),
             (JSON, b"/v/e", jsons), (NDJSON, b"/v/e", jsons), (NDJSON, b"/v/e", jsons),
             (JSON, b"/v/e/k", jsons)]
        )
    )  # fmt: skip
    return kind, path, draw(bodies), draw(st.sampled_from([None, None, 1, 16, 1000, 10**6]))


def request(kind, path, body, step):
    """Return the bytes of what ``requests`` draws; ``step`` is the size of its chunks."""
    headers, body = USER + b"Content-Type: " + kind + b"\r\n", bytes(body)
    if step is None:
        return post(body, path, headers)
    if step < 1000:
        body = body[: 64 * 1024]
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    head = b"POST %b HTTP/1.1\r\nHost: x\r\n%bTransfer-Encoding: chunked\r\n\r\n"
    return head % (path, headers) + chunks + b"0\r\n\r\n"
