"""Configures Python's logging from the file's Logging section, as the original did."""

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
    """Removes credentials in URLs and headers from log lines.

    No code logs a secret on purpose. This is a second line of defence.
    """

    _SECRETS = re.compile(
        r"(?<=://)[^/\s@:]+:\S*(?=@)|(?<=\bBasic )[\w+/=-]{4,}|(?<=\bBearer )[\w.+/=~-]{4,}"
    )

    def filter(self, record: logging.LogRecord) -> bool:
        """Remove secrets from the record's text and traceback. Return True."""
        text = record.getMessage()
        redacted = self._SECRETS.sub("…", text)
        if redacted != text:
            record.msg, record.args = redacted, ()
        if record.exc_info:
            # Formatters use this text if it is there already.
            traceback = record.exc_text or _PLAIN.formatException(record.exc_info)
            record.exc_text = self._SECRETS.sub("…", traceback)
        return True


class JsonFormatter(logging.Formatter):
    """Formats each record as one line of JSON, with the fields that ``extra`` added.

    A Logging section can use it with ``"()": statelessd.process.logs.JsonFormatter``.
    """

    _KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
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
    """Set up logging for the whole process.

    If ``section`` is None, ``form`` says how; ``auto`` means plain lines on standard error,
    or syslog for a daemon. Raise LoggingError if the section cannot be used.
    """
    warnings: list[str] = []
    if section is None:
        settings = _ready_made(form, foreground)
    else:
        settings = _prepared(copy.deepcopy(section), warnings, debug=debug and foreground)
    _apply(settings, warnings)
    if debug:
        logging.getLogger("statelessd").setLevel(logging.DEBUG)
    # A handler that fails later, such as a restarted syslog, would print a traceback each time.
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
    """Return the warnings that ``configure`` would log, without opening a file.

    Raise LoggingError if the section cannot be used.
    """
    warnings: list[str] = []
    if section is None:
        _ready_made(form, foreground)
    else:
        settings = _prepared(copy.deepcopy(section), warnings, debug=debug and foreground)
        for name, handler in settings["handlers"].items():
            if "filename" in handler:
                handler["delay"] = True  # it is opened for the first record, and there is none
                directory = Path(str(handler["filename"])).absolute().parent
                if not directory.is_dir():
                    warnings.append(
                        f"the log handler {name!r} is left out: {directory} is no directory"
                    )
        _apply(settings, warnings)
    return warnings


def _contain(handler: logging.Handler) -> None:
    """Let a handler report its errors and not raise them.

    A WatchedFileHandler raises if it may not reopen its file, for example. That must not
    end a request.
    """
    emit = handler.emit

    def contained(record: logging.LogRecord) -> None:
        try:
            emit(record)
        except Exception:
            handler.handleError(record)

    handler.emit = contained  # type: ignore[method-assign]


def open_files() -> list[Any]:
    """Return the files and sockets that the handlers hold open, for a daemon to keep."""
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
        # The syslog daemon adds the time itself.
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
    """Return the section without the original's extensions and without unusable handlers."""
    for key in ("formatters", "filters", "handlers", "loggers"):
        # The original's file has "filters: []", which its Python accepted.
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
    # At this point every logger is ours or one of our libraries'.
    settings["disable_existing_loggers"] = False
    _include_libraries(settings)
    return settings


def _missing_socket(handler: dict[str, Any]) -> str:
    """Return why a SysLogHandler's socket cannot be used, or an empty text.

    The handler itself would be made without an error, and fail for each record.
    """
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
    """Send the libraries' warnings where our records go, because files of 2013 omit them."""
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
    """Return the handler whose file or socket is missing; "" if the section itself is wrong."""
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
