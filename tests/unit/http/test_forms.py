from urllib.parse import quote_from_bytes, urlencode

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from statelessd.http.errors import RequestError
from statelessd.http.forms import MAX_FIELDS, decode_multipart, decode_urlencoded

pairs = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=6)


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
        (b"a=1;b=2", [(b"a", b"1;b=2")]),
        (b"a=%00%FF", [(b"a", b"\x00\xff")]),
        (b"%61=1", [(b"a", b"1")]),
        (b"a=\x00\xff", [(b"a", b"\x00\xff")]),
    ],
)
def test_urlencoded(data, expected):
    assert decode_urlencoded(data) == expected


@given(pairs)
def test_what_python_encodes_is_read_back(fields):
    data = urlencode(fields).encode()
    assert decode_urlencoded(data) == [f for f in fields if f != (b"", b"") or b"=" in data]


@given(st.binary(max_size=200))
def test_a_body_of_any_bytes_survives(body):
    data = b"body=" + quote_from_bytes(body, safe="").encode()
    assert decode_urlencoded(data) == [(b"body", body)]


@given(st.binary(max_size=200))
def test_any_bytes_are_some_form(data):
    decode_urlencoded(data)


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


@pytest.mark.parametrize(
    "value", [b"", b"\r\n", b"\r\nx\r\n", b"--", b"\r\n--", b"\r\n--X", b"\x00\xff" * 50_000]
)
def test_multipart_values_keep_every_byte(value):
    data = multipart((b'name="a"', b"1"), (b'name="body"', value), (b'name="z"', b"2"))
    assert decode_multipart(data, CONTENT_TYPE) == [(b"a", b"1"), (b"body", value), (b"z", b"2")]


def test_a_file_may_be_the_body():
    data = multipart((b'name="body"; filename="x.bin"\r\nContent-Type: image/png', b"\x89PNG"))
    assert decode_multipart(data, CONTENT_TYPE) == [(b"body", b"\x89PNG")]


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


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_garbage_raises_nothing_but_a_request_error(data, content_type):
    for body in (data, b"--XX\r\n" + data, b"--XX\r\nContent-Disposition: form-data; " + data):
        for kind in (CONTENT_TYPE, b"multipart/form-data; boundary=" + content_type):
            try:
                decode_multipart(body, kind)
            except RequestError:
                continue
