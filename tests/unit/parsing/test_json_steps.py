"""JSON text in steps: the same verdict and the same elements as from a parser."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statelessd.gateway.slices import at_once
from statelessd.parsing import json_steps
from statelessd.parsing.json_steps import MalformedError, TooDeepError, TooManyError

FEW = settings(max_examples=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
TEXTS = st.builds(
    lambda document, is_ascii, indent: json.dumps(
        document, ensure_ascii=is_ascii, indent=indent
    ).encode(errors="replace"),
    DOCUMENTS,
    st.booleans(),
    st.none() | st.integers(0, 2),
)
FRAGMENTS = [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b'"a"', b"0", b"1", b" ", b"\\u00e9",
             b"null", b'"":', b"-", b"\xc3\xa9", b"\\ud83d", b"\\ude00", b"\n"]  # fmt: skip


@pytest.fixture(params=[2, 11], autouse=True, scope="module")
def _piece(request):
    patch = pytest.MonkeyPatch()
    patch.setattr(json_steps, "PIECE", request.param)
    yield
    patch.undo()


def elements(text, most=10**6, depth=100):
    data = bytearray(text)
    spans = at_once(json_steps.elements(data, 0, len(data), most=most, depth=depth))
    return [bytes(data[start:end]) for start, end in spans]


def is_valid(text):
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


@FEW
@given(st.lists(TEXTS, max_size=6))
def test_it_finds_the_elements_of_an_array(texts):
    assert elements(b" [" + b",".join(texts) + b" ] ") == [
        text + b" " * (number == len(texts) - 1) for number, text in enumerate(texts)
    ]


@FEW
@given(st.dictionaries(st.text(), TEXTS, max_size=6))
def test_it_finds_the_members_of_an_object(members):
    texts = [json.dumps(name).encode() + b": " + text for name, text in members.items()]
    assert elements(b"{" + b",".join(texts) + b"}") == texts


@FEW
@given(st.data(), TEXTS)
def test_it_takes_what_a_parser_takes(data, text):
    text = b"[%b]" % text
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 2)))
        text = text[:at] + data.draw(st.sampled_from([b"", *FRAGMENTS])) + text[end:]
    _agrees(text)


@FEW
@given(st.lists(st.sampled_from(FRAGMENTS)).map(b"".join))
def test_it_refuses_what_a_parser_refuses(text):
    _agrees(b"[%b]" % text)


def _agrees(text):
    try:
        elements(text)
    except MalformedError:
        # An escape may be cut where a character that is not UTF-8 follows.
        assert not is_valid(text) or not _is_utf8(text)
    else:
        assert is_valid(text)


def _is_utf8(text):
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@FEW
@given(st.text())
def test_it_decodes_a_string_in_place(text):
    for is_ascii in (True, False):
        data = bytearray(json.dumps(text, ensure_ascii=is_ascii).encode(errors="replace"))
        expected = json.loads(data).encode()
        end = at_once(json_steps.string(data, 1, len(data) - 1))
        assert data[1:end] == expected


def test_it_bounds_depth_and_number():
    deep = b"[" * 10 + b"]" * 10
    assert elements(deep, depth=10)
    with pytest.raises(TooDeepError):
        elements(deep, depth=9)
    assert len(elements(b"[1,2,3]", most=3)) == 3
    with pytest.raises(TooManyError):
        elements(b"[1,2,3]", most=2)
