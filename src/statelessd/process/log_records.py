"""What becomes of a log record before it is written: it is bounded, clean and on one line."""

import copy
import datetime as dt
import logging
import re
import textwrap
from collections.abc import Callable
from typing import Any

import msgspec

from ..message import printable
from ..telemetry.log_limit import Line, LogLimit

LONGEST = 16 * 1024  # characters of a text
INDENT = "    "  # of tracebacks: whatever is not indented is a line of the log's own
ACCESS = "statelessd.access"  # its setting says how many lines it has

_PLAIN = logging.Formatter()
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_WORD = re.compile(r"\S+")
_USER = re.compile(r"://[^/@:]+:")
_TOKEN = re.compile(r"(?<=\bBasic )[\w+/=-]{4,}|(?<=\bBearer )[\w.+/=~-]{4,}")


class Flood(logging.Filter):
    """Leaves lines out of a handler where too many of one kind come, and counts them."""

    def __init__(self, handler: logging.Handler, clock: Callable[[], float]) -> None:
        super().__init__()
        self._handler = handler
        self._limit = LogLimit(clock=clock)
        handler.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be written now."""
        # A record with ``left_out`` comes from a limit already.
        if record.levelno < logging.INFO or record.name == ACCESS or hasattr(record, "left_out"):
            return True
        # Ours are told apart by their text without its arguments. Libraries put those into it.
        ours = record.name.startswith("statelessd") and isinstance(record.msg, str)
        kind = record.name, record.levelno, record.msg if ours else ""
        lines = self._limit.add(kind, record)
        is_due = bool(lines) and lines[-1].content is record
        for line in lines[:-1] if is_due else lines:
            self._write(line)
        return is_due

    def write_due(self, *, at_once: bool) -> None:
        """Write the last of the lines that were left out, with their number."""
        for line in self._limit.due(at_once=at_once):
            self._write(line)

    def _write(self, line: Line) -> None:
        record = copy.copy(line.content)
        record.msg, record.args = record.getMessage() + line.suffix, ()
        record.left_out = line.left_out
        self._handler.handle(record)


class JsonFormatter(logging.Formatter):
    """Writes one JSON object in each line: the record, and what ``extra`` added to it.

    In a section Logging of your own: ``"()": statelessd.process.logs.JsonFormatter``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        document: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        document |= {k: v for k, v in vars(record).items() if k not in _KNOWN}
        if record.exc_info:
            document["exception"] = record.exc_text or self.formatException(record.exc_info)
        return msgspec.json.encode(document, enc_hook=str).decode()


def cleaned(record: logging.LogRecord, *, keep_lines: bool) -> logging.LogRecord:
    """Return a copy of the record without credentials and without what is not printable.

    Brokers and clients choose parts of many texts. With ``keep_lines``, line ends stay,
    because the handler writes them as JSON does. No code logs credentials, so their removal
    is a second defence.
    """
    clean = copy.copy(record)
    clean.msg, clean.args = _clean(record.getMessage(), keep_lines=keep_lines), ()
    for name, value in vars(record).items():
        if name not in _KNOWN and isinstance(value, str):
            setattr(clean, name, _clean(value, keep_lines=keep_lines))
    if record.exc_info:
        # Formatters use this text if it is there already.
        traceback = record.exc_text or _PLAIN.formatException(record.exc_info)
        clean.exc_text = textwrap.indent(_clean(traceback, keep_lines=True), INDENT)
    return clean


def _clean(text: str, *, keep_lines: bool) -> str:
    if "@" in text and "://" in text:
        text = _WORD.sub(_without_password, text)
    text = _TOKEN.sub("…", text)
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    if keep_lines:
        return "\n".join(printable(line, LONGEST) for line in text.split("\n"))
    return printable(text, LONGEST)


def _without_password(word: re.Match[str]) -> str:
    """Return a word without the user name and password of a URL. It takes linear time."""
    start, at, rest = word[0].rpartition("@")
    found = _USER.search(start)
    return word[0] if not at or found is None else f"{start[: found.start()]}://…@{rest}"
