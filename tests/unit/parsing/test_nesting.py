"""The depth of JSON text, beside a parser's own."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statelessd.parsing import nesting

AWKWARD = st.text(st.sampled_from('[]{}"\\ a\n'), max_size=20)
VALUES = st.recursive(
    st.none() | st.integers() | AWKWARD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(AWKWARD, inner, max_size=3),
)


def depth(value):
    children = value.values() if isinstance(value, dict) else value
    inside = max(map(depth, children), default=0) if isinstance(value, (dict, list)) else -1
    return inside + 1


@pytest.fixture(autouse=True, params=[1, 2, 3, 8192])
def piece(request, monkeypatch):
    """Cut the text anywhere, in strings and in escapes too."""
    monkeypatch.setattr(nesting, "PIECE", request.param)


@given(VALUES)
def test_the_depth_is_that_of_the_value(value):
    text = json.dumps(value).encode()
    found = depth(value)
    assert not any(nesting.deeper(text, found))
    assert found == 0 or any(nesting.deeper(text, found - 1))


@given(st.binary(max_size=200) | AWKWARD.map(str.encode))
def test_any_bytes_get_an_answer(text):
    list(nesting.deeper(text, 1))


def test_a_string_may_have_any_number_of_brackets():
    text = json.dumps(["[" * 20_000, '\\"]}' * 1000, {"}]": "{"}]).encode()
    assert not any(nesting.deeper(text, 2))
    assert any(nesting.deeper(text, 1))
