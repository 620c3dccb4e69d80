"""Form bodies; tests/property has what is to be said of all bytes."""

import contextlib
import gc
import tracemalloc
from urllib.parse import unquote_to_bytes

import pytest
import requests
from decoding import decode_multipart
from hypothesis import given
from hypothesis import strategies as st

from statelessd.message import RequestError
from statelessd.parsing.forms import MAX_FIELDS, decode_urlencoded


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"body=hi&content-type=text/plain", [(b"body", b"hi"), (b"content-type", b"text/plain")]),
        (b"a=1+2%203", [(b"a", b"1 2 3")]),
        (b"a=%2B", [(b"a", b"+")]),
        (b"body=", [(b"body", b"")]),
        (b"body", [(b"body", b"")]),
        (b"a=b=c", [(b"a", b"b=c")]),
        (b"&&a=1&", [(b"a", b"1")]),
        (b"", []),
        (b"a=%zz%4", [(b"a", b"%zz%4")]),  # as browsers and PHP have it
        (b"a=%zz%41%%42", [(b"a", b"%zzA%B")]),
        (b"a=1&b=%3D=%26", [(b"a", b"1"), (b"b", b"==&")]),
        (b"a=%41\r\n=\n%0a", [(b"a", b"A\r\n=\n\n")]),
        (b"a=1;b=2", [(b"a", b"1;b=2")]),
        (b"a=%00%FF", [(b"a", b"\x00\xff")]),
        (b"%61=1", [(b"a", b"1")]),
        (b"a=\x00\xff", [(b"a", b"\x00\xff")]),
    ],
)
def test_urlencoded(data, expected):
    assert decode_urlencoded(data) == expected


@given(st.lists(st.sampled_from([b"%", b"=", b"4", b"f", b"z", b"\r", b"\n", b"_", b"\xff"])))
def test_escapes_are_read_as_urllib_reads_them(pieces):
    value = b"".join(pieces)
    assert decode_urlencoded(b"body=" + value) == [(b"body", unquote_to_bytes(value))]


def test_too_many_fields_are_refused():
    assert len(decode_urlencoded(b"&".join([b"a=1"] * MAX_FIELDS))) == MAX_FIELDS
    with pytest.raises(RequestError):
        decode_urlencoded(b"&".join([b"a=1"] * (MAX_FIELDS + 1)))


def multipart(*parts, boundary=b"XX"):
    body = b"".join(
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (boundary, how, value)
        for how, value in parts
    )
    return body + b"--" + boundary + b"--\r\n"


CONTENT_TYPE = b"multipart/form-data; boundary=XX"


def test_a_malformed_form_leaves_nothing_in_memory():
    data = multipart((b'name="body"', b"x" * 1024 * 1024))
    bodies = [data[:-20], data.replace(b"form-data", b"form-date")]
    gc.collect()
    gc.disable()  # what is in no circle is freed without it, and at once
    tracemalloc.start()
    try:
        for body in bodies * 3:
            with contextlib.suppress(RequestError):
                decode_multipart(body, CONTENT_TYPE)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < 512 * 1024


def test_a_file_may_be_the_body():
    data = multipart((b'name="body"; filename="x.bin"\r\nContent-Type: image/png', b"\x89PNG"))
    assert decode_multipart(data, CONTENT_TYPE) == [(b"body", b"\x89PNG")]


@pytest.mark.parametrize("encoding", [b"binary", b"8bit", b"7BIT"])
def test_a_part_may_say_that_its_bytes_are_as_they_are(encoding):
    part = b'name="body"\r\nContent-Transfer-Encoding: ' + encoding
    assert decode_multipart(multipart((part, b"x")), CONTENT_TYPE) == [(b"body", b"x")]


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable", b"x-other"])
def test_an_encoded_part_is_not_published_as_it_is(encoding):
    part = b'name="body"\r\nContent-Transfer-Encoding: ' + encoding
    with pytest.raises(RequestError, match="Content-Transfer-Encoding"):
        decode_multipart(multipart((part, b"aGk=")), CONTENT_TYPE)


def test_an_error_quotes_nothing_of_the_form():
    data = multipart((b'name="secret\xff"', b"1"))
    with pytest.raises(RequestError) as error:
        decode_multipart(data, CONTENT_TYPE)
    assert "secret" not in error.value.detail


def test_a_quoted_boundary():
    assert decode_multipart(
        multipart((b'name="a"', b"1")), b'multipart/form-data; boundary="XX"'
    ) == [(b"a", b"1")]


@given(st.binary(max_size=300))
def test_what_requests_encodes_is_read_back(body):
    request = requests.Request(
        "POST", "http://x/", files={"body": ("f", body)}, data={"type": "ü"}
    ).prepare()
    got = decode_multipart(request.body, request.headers["Content-Type"].encode())
    assert got == [(b"type", "ü".encode()), (b"body", body)]


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"", CONTENT_TYPE),
        (b"garbage", CONTENT_TYPE),
        (multipart((b'name="a"', b"1"))[:-8], CONTENT_TYPE),  # cut short
        (multipart((b'name="a"', b"1")), b"multipart/form-data"),
        (multipart((b'name="a"', b"1")), b"multipart/form-data; boundary="),
        (b"--XX\r\n\r\nno name\r\n--XX--\r\n", CONTENT_TYPE),
        (multipart(*[(b'name="a"', b"1")] * (MAX_FIELDS + 1)), CONTENT_TYPE),
    ],
)
def test_a_malformed_multipart_form_is_refused(data, content_type):
    with pytest.raises(RequestError):
        decode_multipart(data, content_type)
