"""Find the worst patterns of hard prose in documents, texts and docstrings.

    prose.py [FILE …]      check the files, or all files of the project

It prints a line for each find and exits with 1. A sentence may have 30 words: a piece of code
counts as one word, and a link as its text. The terms are in docs/reference/glossary.md.
"""

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
MOST_WORDS = 30
PATTERNS = {  # with what to write in its place
    re.compile(r"(?<!\bthere )\b(?:is|are|was|be) no\b(?! (?:longer|more|less)\b)"): "is not a",
    re.compile(r"\b(?:tell|tells|telling|told) of\b"): "show, report",
    re.compile(r"\bwhat (?:it )?(?:cannot|can't)\b"): "name the noun",
    re.compile(r"\bwhoever\b"): "the operator, the client",
}
# Sentences that stay as they are, each with its reason.
EXCEPTIONS: dict[str, str] = {}
FENCED = re.compile(r"^ *(```|~~~|:::).*?^ *\1", re.MULTILINE | re.DOTALL)
NOT_PROSE = re.compile(r"^(?: *\||#|!\[|    |<|\[[^\]]+\]:).*$", re.MULTILINE)
INLINE = re.compile(r"``[^`]+``|`[^`]+`|https?://\S+")
LINKED = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
ITEM = re.compile(r"\n\s*(?:[-*]|\d+\.) |\n\s*\n|:\n")
JAVASCRIPT = re.compile(r'/\*.*?\*/|(?://[^\n]*\n *)+|"[^"\n]*"|`[^`\n]*`|\'[^\'\n]*\'', re.DOTALL)
SENTENCE = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[A-Z`*\"(\[\d])")


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of plain or Markdown text, each as one line."""
    text = LINKED.sub(r"\1", INLINE.sub("CODE", text))
    for paragraph in ITEM.split("\n" + text):
        for sentence in SENTENCE.split(" ".join(paragraph.split())):
            if sentence:
                yield sentence


def faults(text: str) -> Iterator[str]:
    """Yield what is wrong with each sentence of a text."""
    for sentence in sentences(text):
        if sentence in EXCEPTIONS:
            continue
        if len(sentence.split()) > MOST_WORDS:
            yield f"{len(sentence.split())} words: {sentence}"
        for pattern, better in PATTERNS.items():
            if found := pattern.search(sentence.lower()):
                yield f'"{found[0]}" ({better}): {sentence}'


def markdown(path: Path) -> Iterator[str]:
    """Yield the prose of a document, and each cell of its tables."""
    text = FENCED.sub("", path.read_text())
    yield NOT_PROSE.sub("", text)
    for row in re.findall(r"^ *\|(.*)\|$", text, re.MULTILINE):
        yield from row.split(" | ")


def python(path: Path) -> Iterator[str]:
    """Yield the texts of a module: its docstrings and other strings, without those of one word."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Indented lines are examples, and a tree is not prose.
            yield re.sub(r"\n(?: {4}|.*──).*", "\n", inspect.cleandoc(node.value))


def data(path: Path) -> Iterator[str]:
    """Yield the texts of a YAML file, and its comments."""
    text = path.read_text()
    scalars = [event.value for event in yaml.parse(text) if isinstance(event, yaml.ScalarEvent)]
    yield from (value for value in scalars if "statelessd_" not in value)  # those are PromQL
    yield from comments(path)


def comments(path: Path) -> Iterator[str]:
    """Yield each comment of a file in which they begin with a number sign."""
    text = re.sub(r"^(?! *#( |$)).*$", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^ *#(?: |$)", "", text, flags=re.MULTILINE)
    # Indented lines are examples. A line of code between two comments parts them.
    yield re.sub(r"^ {2,}(?![-*] ).*$", "", text, flags=re.MULTILINE)


def script(path: Path) -> Iterator[str]:
    """Yield the comments and the strings of a script for browsers."""
    for found in JAVASCRIPT.finditer(path.read_text()):
        text = re.sub(r"^ *(?:/\*\*|//|\*/|\*) ?", "", found[0], flags=re.MULTILINE)
        text = re.sub(r"@\w+ .*$|\$?{[^{}]*}", "CODE", text, flags=re.MULTILINE)
        if " " in text:
            yield text.strip("\"'`*/ ")


def panels(path: Path) -> Iterator[str]:
    """Yield the titles and descriptions of a Grafana dashboard."""
    found: list[str] = []

    def keep(pairs: list[tuple[str, object]]) -> None:
        found.extend(str(value) for name, value in pairs if name in ("title", "description"))

    json.loads(path.read_text(), object_pairs_hook=keep)
    yield from found


def page(path: Path) -> Iterator[str]:
    """Yield the texts between the tags of a template."""
    bare = re.sub(r"{[{%#].*?[}%#]}", "CODE", path.read_text(), flags=re.DOTALL)
    bare = re.sub(r"<(script|style).*?</\1>", "", bare, flags=re.DOTALL)
    bare = re.sub(r"<(code|kbd)\b.*?</\1>", "CODE", bare, flags=re.DOTALL)
    for text in re.split(r"<(?!/?(?:a|em|strong|b|span)\b)[^>]*>", bare):
        yield re.sub(r"<[^>]*>", "", text)


READERS = {
    ".md": markdown, ".py": python, ".yaml": data, ".yml": data, ".html": page, ".js": script,
    ".json": panels, ".conf": comments, ".cfg": comments, ".service": comments, ".socket": comments,
    ".sh": comments,
}  # fmt: skip
FOLDERS = ("docs", "src", "deploy", "examples", "scripts")


def files() -> list[Path]:
    """Return the files of the project whose texts people read."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split() if Path(name).suffix in READERS]


def main() -> int:
    """Print the faults of every file, or of those that are named. Return 1 if there are any."""
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or files()
    found = 0
    for path in chosen:
        for text in READERS[path.suffix](path):
            for fault in faults(text):
                found += 1
                print(f"{path.relative_to(ROOT)}: {fault}")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
