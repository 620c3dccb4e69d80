"""The file's Logging section -> Python's logging, as the original took it."""

import copy
import datetime as dt
import logging
import logging.config
import logging.handlers
import re
import socket
from pathlib import Path
from typing import Any

import msgspec

LIBRARIES = ("uvicorn", "asyncio", "starlette")
SYSLOG_SOCKET = "/dev/log"

DEFAULT_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"

logger = logging.getLogger(__name__)


class LoggingError(Exception):
    """The section is not what dictConfig takes."""


_PLAIN = logging.Formatter()


class Redaction(logging.Filter):
    """A net under the rule that no secret is ever logged: credentials in URLs and headers."""

    _SECRETS = re.compile(
        r"(?<=://)[^/\s@:]+:\S*(?=@)|(?<=\bBasic )[\w+/=-]{4,}|(?<=\bBearer )[\w.+/=~-]{4,}"
    )

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true; the record's text may change, and that of its traceback."""
        text = record.getMessage()
        redacted = self._SECRETS.sub("…", text)
        if redacted != text:
            record.msg, record.args = redacted, ()
        if record.exc_info:
            # Formatters take this text where it is there already.
            traceback = record.exc_text or _PLAIN.formatException(record.exc_info)
            record.exc_text = self._SECRETS.sub("…", traceback)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object in each line: what the record says, and what was added to it by ``extra``.

    For a section Logging of one's own: ``"()": statelessd.logs.JsonFormatter``.
    """

    _KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        document: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        document |= {k: v for k, v in vars(record).items() if k not in self._KNOWN}
        if record.exc_info:
            document["exception"] = record.exc_text or self.formatException(record.exc_info)
        return msgspec.json.encode(document, enc_hook=str).decode()


def configure(
    section: dict[str, Any] | None, *, debug: bool, foreground: bool, form: str = "auto"
) -> None:
    """Set logging up for the whole process. Raises LoggingError.

    ``section`` None: in the ready-made ``form``; ``auto`` is plain lines on
    standard error, or syslog for a daemon.
    """
    warnings: list[str] = []
    if section is None:
        settings = _ready_made(form, foreground)
    else:
        settings = _prepared(copy.deepcopy(section), warnings, debug=debug and foreground)
    _apply(settings, warnings)
    if debug:
        logging.getLogger("statelessd").setLevel(logging.DEBUG)
    # A handler that fails later (a restarted syslog) must not print a traceback for each record.
    logging.raiseExceptions = False
    redaction = Redaction()
    for handler in _all_handlers():
        handler.addFilter(redaction)
        _contain(handler)
    for warning in warnings:
        logger.warning("%s", warning)


def check(
    section: dict[str, Any] | None, *, debug: bool, foreground: bool, form: str = "auto"
) -> list[str]:
    """What ``configure`` would say, without opening a file. Raises LoggingError."""
    warnings: list[str] = []
    if section is None:
        _ready_made(form, foreground)
    else:
        settings = _prepared(copy.deepcopy(section), warnings, debug=debug and foreground)
        for name, handler in settings["handlers"].items():
            if "filename" in handler:
                handler["delay"] = True  # opened with the first record, which will not come
                directory = Path(str(handler["filename"])).absolute().parent
                if not directory.is_dir():
                    warnings.append(
                        f"the log handler {name!r} is left out: {directory} is no directory"
                    )
        _apply(settings, warnings)
    return warnings


def _contain(handler: logging.Handler) -> None:
    """Some handlers raise, such as a WatchedFileHandler that may not reopen its file.

    A log that cannot be written must never be the end of a request.
    """
    emit = handler.emit

    def contained(record: logging.LogRecord) -> None:
        try:
            emit(record)
        except Exception:
            handler.handleError(record)

    handler.emit = contained  # type: ignore[method-assign]


def open_files() -> list[Any]:
    """What the handlers hold open, for a daemon to keep."""
    held = []
    for handler in _all_handlers():
        for attribute in ("stream", "socket"):
            file = getattr(handler, attribute, None)
            if file is not None and hasattr(file, "fileno"):
                held.append(file)
    return held


def _ready_made(form: str, foreground: bool) -> dict[str, Any]:
    formatter: dict[str, Any] = {"format": DEFAULT_FORMAT}
    handler: dict[str, Any] = {"class": "logging.StreamHandler", "formatter": "line"}
    if form == "json":
        formatter = {"()": JsonFormatter}
    elif form == "syslog" or (form == "auto" and not foreground and Path(SYSLOG_SOCKET).exists()):
        # The syslog daemon has the time and the process id of its own.
        formatter = {"format": "statelessd[%(process)d]: %(levelname)s %(name)s: %(message)s"}
        handler = {
            "class": "logging.handlers.SysLogHandler",
            "address": SYSLOG_SOCKET,
            "facility": "daemon",
            "formatter": "line",
        }
        if missing := _missing_socket(handler):
            raise LoggingError(f"there is no syslog: {missing}")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"default": handler},
        "loggers": {"statelessd": {"level": "INFO"}},
        "root": {"level": "WARNING", "handlers": ["default"]},
    }


def _prepared(settings: dict[str, Any], warnings: list[str], *, debug: bool) -> dict[str, Any]:
    """The section without what is the original's own, and without what cannot work here."""
    for key in ("formatters", "filters", "handlers", "loggers"):
        # The original's file says "filters: []", which its Python took.
        if settings.get(key) in ([], None):
            settings[key] = {}
        if not isinstance(settings[key], dict):
            raise LoggingError(f"{key} must be a mapping")
    for name, handler in list(settings["handlers"].items()):
        if not isinstance(handler, dict):
            raise LoggingError(f"handlers.{name} must be a mapping")
        if handler.pop("debug_only", False) and not debug:
            _drop_handler(settings, name)
        elif missing := _missing_socket(handler):
            warnings.append(f"the log handler {name!r} is left out: {missing}")
            _drop_handler(settings, name)
    # At this point every logger is ours or a library's of ours.
    settings["disable_existing_loggers"] = False
    _include_libraries(settings)
    return settings


def _missing_socket(handler: dict[str, Any]) -> str:
    """SysLogHandler takes a missing socket without a word, and fails at each record."""
    address = handler.get("address")
    if not str(handler.get("class", "")).endswith("SysLogHandler") or not isinstance(address, str):
        return ""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as probe:
            try:
                probe.connect(address)
            except OSError as error:
                reason = error.strerror
            else:
                return ""
    return f"{address}: {reason}"


def _drop_handler(settings: dict[str, Any], name: str) -> None:
    del settings["handlers"][name]
    for owner in [*settings["loggers"].values(), settings.get("root") or {}]:
        if isinstance(owner, dict) and name in (owner.get("handlers") or []):
            owner["handlers"] = [other for other in owner["handlers"] if other != name]


def _include_libraries(settings: dict[str, Any]) -> None:
    """A file of 2013 knows nothing of uvicorn: what it warns of goes where our records go."""
    ours = settings["loggers"].get("statelessd")
    root = settings.get("root") or {}
    for name in LIBRARIES:
        library = settings["loggers"].setdefault(name, {"level": "WARNING"})
        if isinstance(ours, dict) and not root.get("handlers") and "handlers" not in library:
            library["handlers"] = list(ours.get("handlers") or [])
            library["propagate"] = False


def _apply(settings: dict[str, Any], warnings: list[str]) -> None:
    while True:
        try:
            logging.config.dictConfig(settings)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            name = _unusable_handler(error)
            if name not in settings["handlers"]:
                raise LoggingError(_reason(error)) from error
            warnings.append(f"the log handler {name!r} is left out: {_reason(error)}")
            _drop_handler(settings, name)
        else:
            return


def _unusable_handler(error: BaseException) -> str:
    """The handler whose file or socket is not there; "" when it is the section that is wrong."""
    match = re.search(r"handler '([^']*)'", str(error))
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and match:
            return match[1]
        cause = cause.__cause__
    return ""


def _reason(error: BaseException) -> str:
    reasons = []
    cause: BaseException | None = error
    while cause is not None:
        reasons.append(str(cause))
        cause = cause.__cause__
    return ": ".join(reasons)


def _all_handlers() -> list[logging.Handler]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    handlers: dict[logging.Handler, None] = {}
    for each in loggers:
        if isinstance(each, logging.Logger):
            handlers.update(dict.fromkeys(each.handlers))
    return list(handlers)
