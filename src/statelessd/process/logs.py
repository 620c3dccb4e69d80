"""Python's logging: from the section Logging as the original had it, or a ready-made form."""

import copy
import logging
import logging.config
import logging.handlers
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config.settings import Config
from .log_records import Flood, JsonFormatter, cleaned

LIBRARIES = ("asyncio", "starlette")
SYSLOG_SOCKET = "/dev/log"

DEFAULT_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"

logger = logging.getLogger(__name__)
_floods: list[Flood] = []  # of this process


class LoggingError(Exception):
    """The section is not what dictConfig takes."""


def configure(config: Config, *, foreground: bool) -> None:
    """Set logging up, by the section or ``Application.log``. Raise LoggingError."""
    warnings: list[str] = []
    settings = _settings(config, warnings, foreground=foreground)
    _apply(settings, warnings)
    if config.application.debug:
        logging.getLogger("statelessd").setLevel(logging.DEBUG)
    # A handler that fails later, such as a restarted syslog, would print a traceback each time.
    logging.raiseExceptions = False
    for handler in _all_handlers():
        _contain(handler)
    for warning in warnings:
        logger.warning("%s", warning)


def check(config: Config, *, foreground: bool) -> list[str]:
    """Return the warnings of ``configure``, without opening a file. Raise LoggingError."""
    warnings: list[str] = []
    settings = _settings(config, warnings, foreground=foreground)
    if config.logging is None:
        return []
    for name, handler in settings["handlers"].items():
        if "filename" in handler:
            handler["delay"] = True  # opened with the first record, which will not come
            directory = Path(str(handler["filename"])).absolute().parent
            if not directory.is_dir():
                warnings.append(_left_out(name, f"{directory} is not a directory"))
    _apply(settings, warnings)
    return warnings


def _settings(config: Config, warnings: list[str], *, foreground: bool) -> dict[str, Any]:
    if config.logging is None:
        return _ready_made(config.application.log, foreground)
    debug = config.application.debug and foreground
    return _prepared(copy.deepcopy(config.logging), warnings, debug=debug)


def _left_out(handler: str, reason: str) -> str:
    return f"the log handler {handler!r} is not used: {reason}"


def bound_lines(clock: Callable[[], float] = time.monotonic) -> None:
    """Bound the lines of each kind from now on, because clients and brokers can cause them.

    ``write_left_out`` has to be called often.
    """
    _floods[:] = [Flood(handler, clock) for handler in _all_handlers()]


def write_left_out(*, at_once: bool = False) -> None:
    """Write how many lines of a kind were left out; ``at_once``: although more may follow."""
    for flood in _floods:
        flood.write_due(at_once=at_once)


def _contain(handler: logging.Handler) -> None:
    """Let the handler write clean records, and report its errors, which must not end a request."""
    emit = handler.emit

    def contained(record: logging.LogRecord) -> None:
        try:
            emit(cleaned(record, keep_lines=isinstance(handler.formatter, JsonFormatter)))
        except Exception:
            handler.handleError(record)

    handler.emit = contained  # type: ignore[method-assign]


def open_files() -> list[Any]:
    """Return what the handlers hold open, for a daemon to keep."""
    held = [getattr(each, name, None) for each in _all_handlers() for name in ("stream", "socket")]
    return [file for file in held if hasattr(file, "fileno")]


def _ready_made(form: str, foreground: bool) -> dict[str, Any]:
    formatter: dict[str, Any] = {"format": DEFAULT_FORMAT}
    handler: dict[str, Any] = {"class": "logging.StreamHandler"}
    if form == "json":
        formatter = {"()": JsonFormatter}
    elif form == "syslog" or (form == "auto" and not foreground and Path(SYSLOG_SOCKET).exists()):
        # The syslog daemon adds the time itself.
        formatter = {"format": "statelessd[%(process)d]: %(levelname)s %(name)s: %(message)s"}
        handler = {
            "class": "logging.handlers.SysLogHandler",
            "address": SYSLOG_SOCKET,
            "facility": "daemon",
        }
        if missing := _missing_socket(handler):
            raise LoggingError(f"there is no syslog: {missing}")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"default": handler | {"formatter": "line"}},
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
            warnings.append(_left_out(name, missing))
            _drop_handler(settings, name)
    # At this point every logger is ours or one of our libraries'.
    settings["disable_existing_loggers"] = False
    _include_libraries(settings)
    return settings


def _missing_socket(handler: dict[str, Any]) -> str:
    """Return why a syslog socket cannot be used, or "": SysLogHandler fails only at each record."""
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
    """Configure logging, without the handlers whose file or socket is not there."""
    while True:
        try:
            logging.config.dictConfig(settings)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            causes: list[BaseException] = [error]
            while (cause := causes[-1].__cause__) is not None:
                causes.append(cause)
            reason = ": ".join(map(str, causes))
            handler = re.search(r"handler '([^']*)'", str(error))
            is_missing = any(isinstance(cause, OSError) for cause in causes)
            if not handler or not is_missing or handler[1] not in settings["handlers"]:
                raise LoggingError(reason) from error
            warnings.append(_left_out(handler[1], reason))
            _drop_handler(settings, handler[1])
        else:
            return


def _all_handlers() -> set[logging.Handler]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    return {handler for each in loggers for handler in getattr(each, "handlers", ())}
