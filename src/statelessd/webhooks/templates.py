"""Templates of routing keys and message ids, which a delivery's parts fill in.

``{header.x-github-event}``, ``{query.name}`` and ``{form.name}`` insert a value, and
``{json.pull_request.labels.0.name}`` a scalar of the JSON: a string, a number as it is written,
or true or false. What is null, empty, an object or an array counts as missing. A header's name may
be written in any case. JSON is the body, or a form's field ``payload``.

- ``{json.action|none}`` inserts ``none`` if the member is missing. ``{json.action|}`` inserts
  nothing then. Without a default, the request is refused.
- ``{json.type|word}`` makes one word of a topic of what it inserts: each dot and each white space
  becomes ``_``. Otherwise the text is kept as it is.
- ``{json.type|none|word}`` does both; ``word`` is last, and applies to the default as well. So
  the last part is always ``word`` if there are two, and ``{json.type|word|word}`` has the
  default ``word``.
- ``{{`` and ``}}`` are braces.
"""

import re
from collections.abc import Generator, Iterator

import msgspec

from ..config.header_names import LONGEST, TOKEN, is_secret
from ..message import Public, RequestError, bad_request
from .source import Source

MAX_PATH = 32  # members of a path

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NOT_A_WORD = re.compile(r"[.\s]")
_WORD = "word"


class Place(msgspec.Struct, frozen=True):
    """Where a part of a delivery is inserted."""

    kind: str
    name: str
    default: str | None
    is_word: bool


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Yield what a template is made of: a text, and whether it stood between braces.

    Raise ValueError, with the end of a sentence, for a brace that has no other.
    """
    for match in _PIECE.finditer(text):
        found = match[0]
        if match[1] is not None:
            yield match[1], True
        elif found in ("{{", "}}"):
            yield found[0], False
        elif found in "{}":
            raise ValueError(f"has a single {found}, and a brace is written {found}{found}.")
        else:
            yield found, False


def one_word(text: str) -> str:
    """Return what is one word of a topic: dots and white space become ``_``."""
    return _NOT_A_WORD.sub("_", text)


class Template:
    """A template; ``setting`` is its name in the configuration.

    Raise ValueError, with a sentence that begins with the setting, if it cannot be read.
    """

    def __init__(self, text: str, setting: str, what: str) -> None:
        self._what = what
        self._parts: list[str | Place] = []
        try:
            for piece, is_place in pieces(text):
                self._parts.append(_place(piece) if is_place else piece)
        except ValueError as error:
            raise ValueError(f"{setting} {error}") from None
        fixed = "".join(part for part in self._parts if isinstance(part, str))
        if len(fixed.encode()) > LONGEST:
            raise ValueError(f"{setting} has more than {LONGEST} bytes, besides what it inserts.")

    def headers(self) -> list[str]:
        """Return the names of the headers that the template inserts, in lower case."""
        return [
            each.name for each in self._parts if isinstance(each, Place) and each.kind == "header"
        ]

    def render(self, source: Source) -> Generator[None, None, str]:
        """Return the text for a delivery, in steps.

        Raise RequestError if a part is missing or not UTF-8, or if the text has more than
        255 bytes.
        """
        text = ""
        for part in self._parts:
            text += part if isinstance(part, str) else (yield from self._insert(part, source))
        size = len(text.encode())
        if size > LONGEST:
            raise bad_request(Public(f"The {self._what} has {size} bytes; at most {LONGEST} fit."))
        return text

    def _insert(self, place: Place, source: Source) -> Generator[None, None, str]:
        """Return what is to be inserted at the place."""
        text = yield from _value(place, source)
        if not text:
            if place.default is None:
                raise self._missing(place, source)
            text = place.default
        return one_word(text) if place.is_word else text

    def _missing(self, place: Place, source: Source) -> RequestError:
        """Return the error that says what the delivery does not have."""
        name = f"{place.kind}.{place.name}"
        why = ""
        if place.kind == "json" and source.not_json:
            why = f" The body is not JSON that can be read: {source.not_json}."
        return bad_request(Public(f"The request has no {name}, which its {self._what} needs.{why}"))


def _place(text: str) -> Place:
    """Return what a template has between braces. Raise ValueError if it is not understood."""
    expression, *options = text.split("|")
    kind, _, name = expression.partition(".")
    if kind not in ("header", "query", "form", "json") or not name:
        raise ValueError(
            f"has {{{text}}}; it can have {{header.name}}, {{query.name}}, {{form.name}} and "
            "{json.path.to.member}."
        )
    if len(options) > 2 or (len(options) == 2 and options[1] != _WORD):
        raise ValueError(f"has {{{text}}}; a name is followed by |default, |word or |default|word.")
    is_word = options[-1:] == [_WORD]
    default = options[0] if len(options) > is_word else None
    if kind == "header":
        if not TOKEN.fullmatch(name):
            raise ValueError(f"has {{{text}}}, and no header has such a name.")
        if is_secret(name):
            raise ValueError(f"has {{{text}}}, which would publish a secret.")
        name = name.lower()
    if kind == "json":
        path = name.split(".")
        if not all(path) or len(path) > MAX_PATH:
            raise ValueError(f"has {{{text}}}; a path is 1 to {MAX_PATH} names between dots.")
    return Place(kind, name, default, is_word)


def _value(place: Place, source: Source) -> Generator[None, None, str | None]:
    """Return what the delivery has for the place, or None."""
    value: bytes | None
    if place.kind == "json":
        return (yield from source.json(tuple(place.name.split("."))))
    if place.kind == "header":
        value = source.header(place.name.encode())
    elif place.kind == "query":
        value = source.query(place.name.encode())
    else:
        form = yield from source.form()
        value = form.value(place.name.encode())
    return None if value is None else as_text(value, f"{place.kind}.{place.name}")


def as_text(value: bytes, name: str) -> str:
    """Return the text of a header or field. Raise RequestError if it is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise bad_request(Public(f"The request's {name} is not UTF-8.")) from None
