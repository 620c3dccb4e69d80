"""Tables for the pages of docs/ that are written from the code."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, with the end of its last line."""
    heading = " ".join(f"| {each}" if each else "|" for each in columns) + " |"
    rule = "|" + "---|" * len(columns)
    lines = [heading, rule, *(f"| {' | '.join(row)} |" for row in rows)]
    return "".join(f"{line}\n" for line in lines)
