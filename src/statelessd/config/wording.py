"""Says what a setting must be, and what a wrong value is instead, in the words of YAML."""

import datetime as dt
import math
import types
import typing
from typing import Any, Literal

from msgspec import Meta

Wrong = tuple[str, str, str]
"""A setting's key path, which of its elements (or ""), and what is wrong with it."""

_WANTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_KINDS = {
    dict: "a mapping", list: "a list", str: "text", bool: "true or false",
    int: "a number", float: "a number", dt.date: "a date",
}  # fmt: skip
_LARGEST = 2**53  # numbers up to here are exact in JSON, and fit into what the kernel takes


def complaint(value: Any, hint: Any, written: str | None = None) -> str:
    """Return what a value must be, such as "must be text, not a list".

    ``written`` is how the file has the value, "" if that is not to be shown, or None if the
    value is from the environment.
    """
    if value is None:
        return "has no value"
    return f"must be {expected(hint)}" + ("" if written is None else _instead(value, hint, written))


def expected(hint: Any) -> str:
    """Return what the values of a type are, such as "a whole number from 1 to 65535"."""
    meta, base = _meta_of(hint), _base_of(hint)
    if meta is not None and meta.title:
        return meta.title
    origin, arguments = typing.get_origin(base), typing.get_args(base)
    if origin is Literal:
        return " or ".join(f'"{each}"' for each in arguments)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(expected(each) for each in arguments if each is not types.NoneType)
    if origin is tuple:
        return "a list with at least one element" if meta and meta.min_length else "a list"
    return _WANTED[base] + ("" if meta is None else _bounds(meta))


def kind(value: Any) -> str:
    """Return what a value of a file is, in the words of YAML."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf"
    return next((name for cls, name in _KINDS.items() if type(value) is cls), "nothing")


def is_bounded(value: Any) -> bool:
    """Return false for .inf, .nan, and numbers that nothing can be counted in."""
    return not isinstance(value, int | float) or -_LARGEST <= value <= _LARGEST


def _instead(value: Any, hint: Any, written: str) -> str:
    """Return what the value is and how to mend it; nothing if only its bounds are wrong."""
    wanted, found = _types_of(hint), type(value)
    if Literal in wanted or found in wanted or (found is int and float in wanted):
        if found is str and int in wanted and value.isdecimal():
            return ": remove the quotes"
        if found is float and not math.isfinite(value):
            return f", not {kind(value)}"
        return "" if is_bounded(value) else ", not that large"
    if wanted == {list} and found in (str, int):
        return f", not {kind(value)}: put it in brackets"
    if wanted == {str} and found in (bool, int, float):
        mend = f'quote it: "{written}"' if written else "put it in quotes"
        return f", not {kind(value)}: {mend}"
    if found is str and (
        (wanted <= {int, float} and _is_number(value))
        or (wanted == {bool} and value.lower() in ("true", "false"))
    ):
        return ", not text: remove the quotes"
    if found is float and int in wanted and math.isfinite(value):
        return ", not a fraction"
    return f", not {kind(value)}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _types_of(hint: Any) -> set[Any]:
    base = _base_of(hint)
    origin, arguments = typing.get_origin(base), typing.get_args(base)
    if origin in (typing.Union, types.UnionType):
        return {found for each in arguments for found in _types_of(each)} - {types.NoneType}
    return {list} if origin is tuple else {origin or base}


def _base_of(hint: Any) -> Any:
    return typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def _meta_of(hint: Any) -> Meta | None:
    return next((each for each in getattr(hint, "__metadata__", ()) if type(each) is Meta), None)


def _bounds(meta: Meta) -> str:
    if meta.min_length:
        return f" of at least {meta.min_length} character"
    if meta.max_length is not None:
        return f" of at most {meta.max_length} characters"
    if meta.ge is not None:
        return f" of at least {meta.ge}" if meta.le is None else f" from {meta.ge} to {meta.le}"
    if meta.gt is not None:
        return f" above {meta.gt}" + ("" if meta.le is None else f" and at most {meta.le}")
    return "" if meta.le is None else f" of at most {meta.le}"
