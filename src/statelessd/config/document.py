"""The YAML of the configuration file: read within bounds, and refused in plain words."""

import re
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 128 * 1024  # some seconds of PyYAML's work, at worst
MAX_DEPTH = 50
TOO_DEEP = f"more than {MAX_DEPTH} levels"
# What aliases stand for counts each time: ten levels of ten aliases are 10,000,000,000 values.
MAX_SIZE = 2 * MAX_BYTES

_PART = re.compile(r"[^.\[\]]+")  # of a key path: a key, or the number of an element
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_TAGS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
# The numbers of YAML 1.1, but without base 60: 10:00 is not 600. Dates are text as well.
_NUMBERS = {
    "int": r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)",
    "float": (
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
# PyYAML's texts -> ours. None of ours quotes the file, whose passwords may need quotes.
_REASONS = (
    ("found undefined alias", "an alias (*) without its anchor; text that begins with * needs "
     "quotes"),
    ("second occurrence", "an anchor (&) that was given before; text that begins with & needs "
     "quotes"),
    ("undefined tag handle", "a tag; text that begins with ! needs quotes"),
    ("found character '\\t'", "a tab; YAML is indented with spaces"),
    ("found another document", "a second document (---); the file must have one"),
    ("mapping values are not allowed", "a colon that is not expected here; text that contains one "
     "and a space needs quotes, and keys of a section have the same indentation"),
    ("could not find expected ':'", "a key without a colon after it"),
    ("that cannot start any token", "text that begins with this character needs quotes"),
    ("unknown escape character", "a backslash in double quotes; use single quotes"),
    ("expected <block end>", "wrong indentation, or a quote or bracket that is not expected"),
    ("'<stream end>'", "a bracket without its end"),
    ("unexpected end of stream", "a quote without its end"),
)  # fmt: skip


class DocumentError(Exception):
    """The file cannot be read, or is not YAML that can be used. The text says why."""


class Document:
    """What a file says: ``value`` as Python has it, and how its scalars are written."""

    def __init__(self, value: Any, node: yaml.Node | None) -> None:
        self.value = value
        self._node = node

    def written(self, path: str) -> str:
        """Return the text of the scalar at a key path such as ``a.b[0].c``, or "" without one."""
        node = self._node
        for name in _PART.findall(path):
            if isinstance(node, yaml.SequenceNode):
                node = node.value[int(name)]
                continue
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            node = next((value for key, value in pairs if key.value == name), None)
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def read(path: Path) -> Document:
    """Read the file. Raise DocumentError, which quotes no value of it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise DocumentError(f"is larger than {MAX_BYTES} bytes")
    try:
        return _parsed(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise DocumentError("cannot be read: is not UTF-8") from None
    except yaml.reader.ReaderError as error:
        line = content.decode("utf-8-sig").count("\n", 0, error.position) + 1
        raise DocumentError(f"not valid YAML at line {line}: a control character") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise DocumentError(f"not valid YAML{where}: {_reason(str(error.problem))}") from None


def _parsed(text: str) -> Document:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(None, None)
        _Bounds().measure(node)
        return Document(loader.construct_document(node), node)
    finally:
        loader.dispose()


def _reason(problem: str) -> str:
    return next((ours for theirs, ours in _REASONS if theirs in problem), problem)


def _refuse(node: yaml.Node, what: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


class _Loader(yaml.SafeLoader):
    """A loader of the plain types only, which does not look further than it has to."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's interface

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Scan a bracket."""
        self._check_depth(self.flow_level)
        super().fetch_flow_collection_start(token_class)

    def add_indent(self, column: int) -> bool:
        """Scan an indentation."""
        self._check_depth(len(self.indents))
        return bool(super().add_indent(column))

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise yaml.scanner.ScannerError(None, None, TOO_DEEP, self.get_mark())

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct a value. Its text may be none of its type, such as ``!!bool maybe``."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, OverflowError):
            raise _refuse(node, f"not a valid {node.tag.removeprefix(_TAG)}") from None


for _first, _resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
    for _tag, _regexp in _resolvers:
        if _tag.removeprefix(_TAG) in ("bool", "null", "merge"):
            _Loader.add_implicit_resolver(_tag, _regexp, [_first])
for _name, _number in _NUMBERS.items():
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(f"(?:{_number})$"), list("-+.0123456789")
    )


class _Bounds:
    """Checks a document before it becomes Python values: its size, depth, keys and tags."""

    def __init__(self) -> None:
        self._measured: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def measure(self, node: yaml.Node) -> tuple[int, int]:
        """Return size and depth, with aliases as often as they are used. Raise YAMLError."""
        if (known := self._measured.get(id(node))) is not None:
            return known
        if id(node) in self._open:
            raise _refuse(node, "an alias (*) that contains itself")
        if node.tag not in _TAGS:
            raise _refuse(node, "tags are not supported; text that begins with ! needs quotes")
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        self._open.add(id(node))
        size, depth = self._below(node)
        self._open.discard(id(node))
        if depth > MAX_DEPTH:
            raise _refuse(node, TOO_DEEP)
        if size > MAX_SIZE:
            raise _refuse(node, "aliases (*) that expand to too much")
        self._measured[id(node)] = size, depth
        return size, depth

    def _below(self, node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            return 1 + len(node.value), 0
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [each for pair in node.value for each in pair]
        size, depth = 1, 0
        for child in children:
            more, deeper = self.measure(child)
            size, depth = size + more, max(depth, deeper + 1)
        return size, depth


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise YAMLError for a key that is given twice. YAML forbids it, PyYAML does not."""
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refuse(key, "a key that is not a single value")
        if key.tag == _MERGE:
            continue
        if (key.tag, key.value) in seen:
            raise _refuse(key, f"the key {key.value!r} is given twice")
        seen.add((key.tag, key.value))
