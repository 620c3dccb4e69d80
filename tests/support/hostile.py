"""Bodies that are made to cost the gateway more than their size.

``BODIES`` has for each name the path, the header fields without the length, and what makes
a body of about so many bytes.
"""

import gzip
from collections.abc import Callable
from typing import NamedTuple

import brotli
from codings import MIB, deflate_bomb, zstd

SIZE = 10 * 1024 * 1024  # bytes, which is the default of HTTPServer.max_body_bytes
SINGLE, BATCH = b"/v/e/k", b"/v/e"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
MULTIPART = b"Content-Type: multipart/form-data; boundary=bound\r\n"
JSON = b"Content-Type: application/json\r\n"
NDJSON = b"Content-Type: application/x-ndjson\r\n"


class Hostile(NamedTuple):
    """A kind of request: ``make(size)`` returns its body."""

    path: bytes
    headers: bytes
    make: Callable[..., bytes]


def around(before, unit, after=b""):
    """Return what makes a body of one unit again and again, between two texts."""

    def make(size=SIZE):
        return before + unit * ((size - len(before) - len(after)) // len(unit)) + after

    return make


def numbered(before, unit, after=b"", joint=b""):
    """Return what makes a body of units, each with a number of its own in place of ``%d``."""

    def make(size=SIZE):
        # Each number gets seven digits, so that their count is known.
        count = (size - len(before) - len(after)) // (len(unit) + len(joint) + 5)
        units = joint.join([unit.replace(b"%d", b"%07d" % n) for n in range(max(1, count))])
        return before + units + after

    return make


def within_limits(before, unit, after=b"", count=999, joint=b""):
    """Return what makes a body of at most so many units, whose filling %b grows with the size."""

    def make(size=SIZE):
        room = max(1, (size - len(before) - len(after)) // count - len(unit) - len(joint))
        units = joint.join([unit.replace(b"%d", b"%d" % n, 1) for n in range(count)])
        return before + units.replace(b"%b", b"x" * room) + after

    return make


def _headers_fields(size=SIZE):
    table = b"[" + b"[]," * (170 * 1024) + b"[]]"
    fields = max(1, size // (len(table) + 9))
    return b"body=x" + (b'&headers={"a":' + table + b"}") * fields


def _part(name, value=b""):
    return b'--bound\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name, value)


def _item(rest):
    return b'{"routing_key":"k","body":"x",' + rest


PART = _part(b"body")[:-2]
NO_PART = b"\r\n--bound--\r\n"


def coded(name, compress, headers, make):
    """Return a compressed body. Its size is that of what it becomes."""
    headers += b"Content-Encoding: %b\r\n" % name

    def compressed(size=SIZE):
        return compress(make(size))

    return Hostile(SINGLE if headers.startswith((FORM, MULTIPART)) else BATCH, headers, compressed)


def _bomb(unit):
    """Return what makes a body that becomes a hundred times as many bytes as any may have."""
    return lambda size=SIZE: deflate_bomb(unit, max(1, 100 * size // MIB))


DEFLATE = b"Content-Encoding: deflate\r\n"


def _fast(data):
    return gzip.compress(data, 1)


def _brotli(data):
    return brotli.compress(data, quality=1)


BODIES = {
    # Urlencoded forms
    "form of percents": Hostile(SINGLE, FORM, around(b"body=", b"%")),
    "form of escapes": Hostile(SINGLE, FORM, around(b"body=", b"%41")),
    "form of broken escapes": Hostile(SINGLE, FORM, around(b"body=", b"%4")),
    "form of mixed escapes": Hostile(SINGLE, FORM, around(b"body=", b"%%41%4g+=")),
    "form of pluses": Hostile(SINGLE, FORM, around(b"body=", b"+")),
    "form of equals signs": Hostile(SINGLE, FORM, around(b"body=%00", b"=")),
    "form of quoted line ends": Hostile(SINGLE, FORM, around(b"body=+", b"\r\n")),
    "form of ampersands": Hostile(SINGLE, FORM, around(b"body=", b"&")),
    "form of names": Hostile(SINGLE, FORM, numbered(b"body=", b"&n%d=")),
    "form with a huge name": Hostile(SINGLE, FORM, around(b"body=&", b"%6e", b"=1")),
    "form with a huge app_id": Hostile(SINGLE, FORM, around(b"body=&app_id=", b"%c3%a9")),
    "form with a huge priority": Hostile(SINGLE, FORM, around(b"body=&priority=", b"9")),
    "form with a huge flag": Hostile(SINGLE, FORM, around(b"body=&mandatory=", b"T")),
    "form with many huge fields": Hostile(SINGLE, FORM, within_limits(b"body=", b"&app_id=%b%41")),
    "form with many bodies": Hostile(SINGLE, FORM, within_limits(b"a=", b"&body=%41%b")),
    "form with many headers fields": Hostile(SINGLE, FORM, _headers_fields),
    "form with huge headers": Hostile(
        SINGLE, FORM, around(b'body=&headers={"a":[', b"[],", b"[]]}")
    ),
    "form with escaped headers": Hostile(
        SINGLE, FORM, around(b'body=&headers={"a":[', b"%31%2c", b"1]}")
    ),
    "form with headers paths": Hostile(
        SINGLE, FORM, around(b"body=", b"&headers" + b"[a]" * 31 + b"=1", b"")
    ),
    "form with long headers paths": Hostile(
        SINGLE, FORM, within_limits(b"body=", b"&headers[%d][" + b"%b" + b"]=1")
    ),
    "form with deep headers paths": Hostile(
        SINGLE, FORM, lambda size=SIZE: b"body=" + (b"&headers" + b"[a]" * (size // 3000)) * 999
    ),
    "form with wide headers paths": Hostile(
        SINGLE, FORM, within_limits(b"body=", b"&headers[a][%d][b][%d]=%b")
    ),
    # Multipart forms
    "multipart of parts": Hostile(SINGLE, MULTIPART, around(PART, b"\r\n" + PART, NO_PART)),
    "multipart of near boundaries": Hostile(
        SINGLE, MULTIPART, around(PART, b"\r\n--boun", NO_PART)
    ),
    "multipart of carriage returns": Hostile(SINGLE, MULTIPART, around(PART, b"\r", NO_PART)),
    "multipart of broken boundaries": Hostile(
        SINGLE, MULTIPART, around(PART, b"\r\n--bound\n", NO_PART)
    ),
    "multipart of part headers": Hostile(
        SINGLE, MULTIPART, numbered(PART[:-2], b"x%d: y\r\n", b"\r\n" + NO_PART)
    ),
    "multipart with a huge part header": Hostile(
        SINGLE, MULTIPART, around(PART[:-2] + b"x: ", b"y", b"\r\n\r\n" + NO_PART)
    ),
    "multipart of many part headers": Hostile(
        SINGLE,
        MULTIPART,
        lambda size=SIZE: (
            (PART[:-2] + b"a: %b\r\n" % (b";=" * 2000) * 6 + b"\r\n\r\n") * min(999, size // 25_000)
            + NO_PART
        ),
    ),
    "multipart with a huge name": Hostile(
        SINGLE,
        MULTIPART,
        around(b'--bound\r\nContent-Disposition: form-data; name="', b"\\", b'"\r\n\r\n' + NO_PART),
    ),
    "multipart without a boundary": Hostile(SINGLE, MULTIPART, around(b"", b"x")),
    "multipart with a preamble of line ends": Hostile(SINGLE, MULTIPART, around(b"", b"\r\n-")),
    "multipart with an epilogue": Hostile(SINGLE, MULTIPART, around(PART + NO_PART, b"\r\n--")),
    "multipart with huge headers": Hostile(
        SINGLE, MULTIPART, around(_part(b"headers", b"%b")[:-4] + b'{"a":[', b"[],", NO_PART)
    ),
    # Batches in one array
    "array of numbers": Hostile(BATCH, JSON, around(b"[", b"0,", b"0]")),
    "array of strings": Hostile(BATCH, JSON, around(b"[", b'"",', b'""]')),
    "array of objects": Hostile(BATCH, JSON, around(b"[", b"{},", b"{}]")),
    "array of arrays": Hostile(BATCH, JSON, around(b"[", b"[],", b"[]]")),
    "array of broken items": Hostile(BATCH, JSON, around(b"[", b'{"a":,', b"{}]")),
    "array of brackets": Hostile(BATCH, JSON, around(b"", b"[")),
    "array of braces": Hostile(BATCH, JSON, around(b"", b'{"a":')),
    "array of white space": Hostile(BATCH, JSON, around(b"", b" ", b"[]")),
    "array of white space and items": Hostile(BATCH, JSON, around(b"[", b"0 , ", b"0]")),
    "array of commas": Hostile(BATCH, JSON, around(b"[", b",")),
    "array with a huge string": Hostile(BATCH, JSON, around(b'["', b"\\u00e9", b'"]')),
    "array with a string of quotes": Hostile(BATCH, JSON, around(b'["', b'\\"', b'"]')),
    "array with a string of brackets": Hostile(
        BATCH, JSON, around(b'[{"routing_key":"k","body":"', b"[{", b'"}]')
    ),
    "array with a huge number": Hostile(BATCH, JSON, around(b"[", b"9", b"]")),
    "array that is a string": Hostile(BATCH, JSON, around(b'"', b"x", b'"')),
    "array of large items": Hostile(
        BATCH,
        JSON,
        within_limits(b"[", b'{"routing_key":"k","id":%d,"body":"%b"}', b"]", 100, b","),
    ),
    "messages of numbers": Hostile(BATCH, JSON, around(b'{"messages":[', b"0,", b"0]}")),
    "messages again and again": Hostile(
        BATCH, JSON, around(b"{", b'"messages":[0],', b'"messages":[]}')
    ),
    "messages among many keys": Hostile(
        BATCH, JSON, numbered(b"{", b'"k%d":0', b',"messages":[]}', b",")
    ),
    "messages under a huge key": Hostile(BATCH, JSON, around(b'{"', b"\\n", b'":[]}')),
    # Items. An item of an array and a line cost the same, so both are tried for some only.
    "item with a headers array": Hostile(
        BATCH, JSON, around(b"[" + _item(b'"headers":{"a":['), b"1,", b"1]}}]")
    ),
    "item with many headers": Hostile(
        BATCH, JSON, numbered(b"[" + _item(b'"headers":{'), b'"h%d":0', b"}}]", b",")
    ),
    "item with the same headers": Hostile(
        BATCH, JSON, around(b"[" + _item(b'"headers":{'), b'"a":[],', b'"a":0}}]')
    ),
    "item with headers again and again": Hostile(
        BATCH, JSON, around(b"[" + _item(b""), b'"headers":{"a":[1,1,1]},', b'"id":1}]')
    ),
    "item with nested headers": Hostile(
        BATCH, JSON, around(b"[" + _item(b'"headers":{"a":['), b"[[[[]]]],", b"1]}}]")
    ),
    "item of unknown keys": Hostile(
        BATCH, JSON, numbered(b"[" + _item(b""), b'"k%d":0', b"}]", b",")
    ),
    "item with a huge unknown key": Hostile(
        BATCH, JSON, around(b"[" + _item(b'"'), b"\\u0041", b'":0}]')
    ),
    "line with a headers array": Hostile(
        BATCH, NDJSON, around(_item(b'"headers":{"a":['), b"1,", b"1]}}\n")
    ),
    "line with spaced headers": Hostile(
        BATCH, NDJSON, around(_item(b'"headers" : {"a":['), b"null , ", b"1]}}\n")
    ),
    "line with escaped headers": Hostile(
        BATCH, NDJSON, around(_item(b'"h\\u0065aders":{"a":['), b"1,", b"1]}}\n")
    ),
    "line with a string of escapes": Hostile(
        BATCH, NDJSON, around(b'{"routing_key":"k","body":"', b"\\ud83d\\ude00", b'"}\n')
    ),
    "line with a string of quotes": Hostile(
        BATCH, NDJSON, around(b'{"routing_key":"k","body":"', b'\\"', b'"}\n')
    ),
    "line with a huge json": Hostile(
        BATCH, NDJSON, around(b'{"routing_key":"k","json":[', b"[],", b"0]}\n")
    ),
    "line with a json of many keys": Hostile(
        BATCH, NDJSON, numbered(b'{"routing_key":"k","json":{', b'"k%d":0', b"}}\n", b",")
    ),
    "line with a json of UTF-8": Hostile(
        BATCH, NDJSON, around(b'{"routing_key":"k","json":"', b"\xc3\xa9", b'"}\n')
    ),
    "line with a huge number": Hostile(BATCH, NDJSON, around(_item(b'"id":'), b"9", b"}\n")),
    "line with a huge fraction": Hostile(
        BATCH, NDJSON, around(_item(b'"id":0.'), b"1", b"e-99}\n")
    ),
    "line with a huge exponent": Hostile(BATCH, NDJSON, around(_item(b'"id":1e'), b"9", b"}\n")),
    "line with a huge priority": Hostile(
        BATCH, NDJSON, around(_item(b'"priority":'), b"1", b"}\n")
    ),
    "line with a huge expiration": Hostile(
        BATCH, NDJSON, around(_item(b'"expiration":"'), b"1", b'x"}\n')
    ),
    "line with a huge id": Hostile(BATCH, NDJSON, around(_item(b'"id":"'), b"\\u00e9", b'"}\n')),
    "line with a huge routing key": Hostile(
        BATCH, NDJSON, around(b'{"body":"x","routing_key":"', b"k", b'"}\n')
    ),
    "line with base64": Hostile(
        BATCH, NDJSON, around(b'{"routing_key":"k","body_base64":"', b"QUFB", b'"}\n')
    ),
    "line with broken base64": Hostile(
        BATCH, NDJSON, around(b'{"routing_key":"k","body_base64":"', b"QUFB", b'!"}\n')
    ),
    "line with base64 of equals signs": Hostile(
        BATCH, NDJSON, around(b'{"routing_key":"k","body_base64":"', b"=", b'"}\n')
    ),
    "line of white space": Hostile(BATCH, NDJSON, around(b"{", b" ", b"}\n")),
    "line of ids": Hostile(BATCH, NDJSON, around(b"{", b'"id":1,', b'"x"\n')),
    "line of brackets": Hostile(BATCH, NDJSON, around(b"", b"[", b"\n")),
    "line of quotes": Hostile(BATCH, NDJSON, around(b"", b'"', b"\n")),
    "line of braces in json": Hostile(
        BATCH, NDJSON, around(b'{"routing_key":"k","json":', b'{"a":', b"\n")
    ),
    "lines that are empty": Hostile(BATCH, NDJSON, around(b"", b"\n")),
    "lines of white space": Hostile(BATCH, NDJSON, around(b"", b" \r\n")),
    "lines of numbers": Hostile(BATCH, NDJSON, around(b"", b"0\n")),
    "lines of objects": Hostile(BATCH, NDJSON, around(b"", b"{}\n")),
    "line without an end": Hostile(BATCH, NDJSON, around(b"", b"x")),
    # Compressed
    "gzip of escapes": coded(b"gzip", _fast, FORM, around(b"body=", b"%41")),
    "gzip of parts": coded(b"gzip", _fast, MULTIPART, around(PART, b"\r\n" + PART, NO_PART)),
    "gzip of brackets": coded(b"gzip", _fast, JSON, around(b"", b"[")),
    "zstd of broken escapes": coded(b"zstd", zstd.compress, FORM, around(b"body=", b"%4")),
    "zstd of a huge json": coded(
        b"zstd", zstd.compress, NDJSON, around(b'{"routing_key":"k","json":[', b"[],", b"0]}\n")
    ),
    "br of numbers": coded(b"br", _brotli, JSON, around(b"[", b"0,", b"0]")),
    "br of a line without an end": coded(b"br", _brotli, NDJSON, around(b"", b"x")),
    "gzip of members": Hostile(
        SINGLE, FORM + b"Content-Encoding: gzip\r\n", around(b"", gzip.compress(b"", mtime=0))
    ),
    "zstd of frames": Hostile(
        BATCH, NDJSON + b"Content-Encoding: zstd\r\n", around(b"", zstd.compress(b""))
    ),
    "a bomb of a form": Hostile(SINGLE, FORM + DEFLATE, _bomb(b"%00")),
    "a bomb of an array": Hostile(BATCH, JSON + DEFLATE, _bomb(b"[")),
    "a bomb of lines": Hostile(BATCH, NDJSON + DEFLATE, _bomb(b"0\n")),
    "a bomb of nothing": Hostile(BATCH, NDJSON + DEFLATE, _bomb(b"\n")),
    # Raw bodies
    "raw": Hostile(SINGLE, JSON, around(b"[", b"0,", b"0]")),
    "raw without a type": Hostile(SINGLE, b"", around(b"", b"%")),
}
