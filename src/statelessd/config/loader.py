"""Loads the YAML file and the environment, or says all that is wrong with them at once."""

import contextlib
import difflib
import functools
import importlib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from . import document
from .checks import warnings_of, wrong_with
from .secrets import redacted
from .service_links import is_service_link
from .settings import AMQPS_PORT, SECTIONS, Config, Route
from .webhook_checks import wrong_with_webhooks
from .webhook_files import SECTION as WEBHOOKS
from .webhook_files import path_of
from .webhooks import Webhook
from .wording import Wrong, complaint, is_bounded, kind

# A list in brackets. It may contain other brackets, but must not end before the text does.
ENCLOSED = re.compile(r"\[(?:[^][]|\[[^][]*\])*\]")
IPV6 = re.compile(r"\[[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*\]", re.IGNORECASE | re.ASCII)

ENVIRONMENT_PREFIX = "STATELESSD_"
PUBLISHER = "statelessd.Publisher"
# The names that files of 2013 use -> the classes.
ROUTE_CLASSES = {
    f"statelessd.{name}": f"statelessd.pages.{name}" for name in ("Publisher", "Stats", "Dashboard")
}
TOP_LEVEL = (*SECTIONS, WEBHOOKS, "Routes", "Logging")
NOTHING: tuple[object, ...] = (None, "", {}, [])
ONLY_IN_A_FILE = "webhook endpoints can be set in the file only"
EMPTY = (
    "the file is empty. It needs at least one setting, such as "
    'HTTPServer: {address: ""} to listen on all interfaces'
)

# Settings of the original's frameworks (Tornado, tinman, clihelper) that have no meaning
# here. They only cause a warning, because a file of 2013 has to work.
MEANINGLESS: dict[str, frozenset[str]] = {
    "Daemon": frozenset({"group", "prevent_core"}),
    "HTTPServer": frozenset(
        {
            "ssl_options", "certfile", "keyfile", "max_buffer_size", "chunk_size",
            "max_header_size", "max_body_size", "idle_connection_timeout",
            "decompress_request", "protocol", "backlog",
        }
    ),
    "Application": frozenset(
        {
            "autoescape", "autoreload", "compiled_template_cache", "compress_response",
            "cookie_secret", "default_host", "default_handler_class", "gzip", "key_version",
            "log_function", "login_url", "serve_traceback", "session", "static_handler_args",
            "static_handler_class", "static_hash_cache", "static_path", "static_url_prefix",
            "template_loader", "template_path", "transforms", "translation", "ui_methods",
            "ui_modules", "websocket_ping_interval", "whitelabel", "whitelist",
            "xsrf_cookie_kwargs", "xsrf_cookie_version",
        }
    ),
    "Application.paths": frozenset({"translations"}),
    "Application.rabbitmq": frozenset({"username", "password", "virtual_host"}),
}  # fmt: skip
TLS_OF_TORNADO = frozenset({"ssl_options", "certfile", "keyfile"})
# Paths that are relative to the working directory. They become absolute, because a daemon
# moves to /.
FILES = (
    "Daemon.pidfile",
    "HTTPServer.tls.certificate",
    "HTTPServer.tls.key",
    "Application.rabbitmq.tls.ca",
    "Application.rabbitmq.tls.certificate",
    "Application.rabbitmq.tls.key",
    "Application.paths.base",
)
FILES_OF_A_WEBHOOK = ("password_file", "verify.secrets_file")
# A wrong value of these is not quoted.
SECRETS = ("password", "verify_token", "public_url", "path")
FILES_BELOW_BASE = ("Application.paths.static", "Application.paths.templates")


class ConfigError(Exception):
    """The configuration cannot be used. ``errors`` has one entry for each reason."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Loaded(msgspec.Struct, frozen=True):
    """A configuration.

    ``sources`` names the file or the environment for each key path. ``file`` is the file's
    path, or "", and ``sections`` are those that it has something in.
    """

    config: Config
    sources: dict[str, str]
    warnings: list[str]
    file: str = ""
    sections: tuple[str, ...] = ()

    def told(self, wrong: Wrong) -> str:
        """Return what is wrong with a setting, after the place where it is given."""
        return _told(self.file, self.sources, wrong)


def load(path: Path | None, environment: Mapping[str, str]) -> Loaded:
    """Read ``path`` and what ``environment`` overrides. Raise ConfigError with all errors."""
    reader = _Reader("" if path is None else str(path))
    reader.environment(environment)
    if path is not None:
        # The original listened on all interfaces, and its users' balancers are elsewhere.
        reader.values.setdefault("HTTPServer.address", "")
        reader.file()
    config = reader.config()
    webhooks = zip(reader.webhooks, config.webhooks, strict=True)
    for setting, element, what in (
        *wrong_with(config, reader.sources),
        *wrong_with_webhooks(webhooks),
    ):
        reader.error(setting, what, element)
    if reader.errors:
        raise ConfigError(reader.errors)
    warnings = [*reader.warnings, *warnings_of(config, reader.sources)]
    return Loaded(config, reader.sources, warnings, reader.name, reader.sections)


def _told(file: str, sources: Mapping[str, str], wrong: Wrong) -> str:
    setting, element, what = wrong
    if sources.get(setting, "").startswith("environment"):
        place = f"environment: {environment_name(setting)}{element}"
    else:
        place = ": ".join(part for part in (file, redacted(setting + element)) if part)
    return f"{place}: {redacted(what)}"


def leaves(cls: type[msgspec.Struct], path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each setting below a section: key path, type with bounds and help, default."""
    hints = _hints_of(cls)
    for field in msgspec.structs.fields(cls):
        hint = hints[field.name]
        if _is_section(hint):
            yield from leaves(hint, f"{path}.{field.name}")
        else:
            yield f"{path}.{field.name}", hint, field.default


def environment_name(key_path: str) -> str:
    """Return the variable of a setting, such as ``STATELESSD_APPLICATION_RABBITMQ_PORT``."""
    return ENVIRONMENT_PREFIX + key_path.replace(".", "_").upper()


def load_class(dotted: str) -> type:
    """Return the class ``package.Class``. Raise ImportError, which names what is missing."""
    module, _, name = ROUTE_CLASSES.get(dotted, dotted).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (AttributeError, ValueError, TypeError) as error:
        raise ImportError(f"unknown class {dotted}") from error
    except ImportError:
        raise
    except Exception as error:  # whatever a module of somebody else's does when imported
        raise ImportError(f"{module} cannot be imported: {error!r}") from error
    if not isinstance(found, type):
        raise ImportError(f"{dotted} is not a class")  # noqa: TRY004 - one error for all of it
    return found


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a hint at the most similar candidate, with a space before it, or nothing."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.lower(), by_lower, 1, 0.5)
    return f" (did you mean {by_lower[found[0]]}?)" if found else ""


class _Reader:
    """Collects the values of settings by key path, their sources, and what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.sources: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self.name = file
        self.sections: tuple[str, ...] = ()
        self.webhooks: list[str] = []  # the key paths of those whose settings have the right types
        self._document = document.Document(None, None)
        self._hints = {
            path: hint
            for section, (_, cls) in SECTIONS.items()
            for path, hint, _ in leaves(cls, section)
        }
        self._routes: tuple[Route, ...] = ()
        self._logging: dict[str, Any] | None = None

    def error(self, path: str, what: str, element: str = "") -> None:
        """Add what is wrong with a setting, or with an element of it such as ``[0]``."""
        self.errors.append(_told(self.name, self.sources, (path, element, what)))

    def environment(self, environment: Mapping[str, str]) -> None:
        """Take the variables that name a setting; they come before the file, and win."""
        paths = {environment_name(path): path for path in self._hints}
        for name, text in environment.items():
            path = paths.get(name)
            if is_service_link(name, text):
                if path:
                    what = f"ignored as {path}, because it is a service link of Kubernetes"
                    self.warnings.append(f"environment: {name}: {what}")
            elif path:
                self.sources[path] = f"environment ({name})"
                self._convert(path, _parsed(text, self._hints[path]), strict=False)
            elif name.startswith(environment_name(WEBHOOKS)):
                self.errors.append(f"environment: {name}: {ONLY_IN_A_FILE}")
            elif name.startswith(ENVIRONMENT_PREFIX):
                self.errors.append(f"environment: unknown setting {name}{nearest(name, paths)}")

    def file(self) -> None:
        """Take the settings of the file. Raise ConfigError if it cannot be read or is empty."""
        try:
            self._document = document.read(Path(self.name))
        except document.DocumentError as error:
            raise ConfigError([f"{self.name}: {error}"]) from error
        given = self._document.value
        parts = given.values() if isinstance(given, dict) else (given,)
        if all(part in NOTHING for part in parts):
            # With all defaults it would listen on all interfaces, which nobody has asked for.
            raise ConfigError([f"{self.name}: {EMPTY}"])
        if not isinstance(given, dict):
            self.error("", "the file must be a mapping of sections")
            return
        for key in given:
            if key not in TOP_LEVEL:
                self.error(str(key), f"unknown section{nearest(str(key), TOP_LEVEL)}")
        self.sections = tuple(name for name in TOP_LEVEL if given.get(name))
        for section, (_, cls) in SECTIONS.items():
            self._section(cls, given.get(section), section)
        self._take_webhooks(given.get(WEBHOOKS))
        self._take_routes(given.get("Routes"))
        self._logging = given.get("Logging")
        if self._logging is not None and not isinstance(self._logging, dict):
            self.error("Logging", "must be a mapping, as logging.config.dictConfig takes it")

    def config(self) -> Config:
        """Return what could be read. It has no meaning if there are ``errors``."""
        if self.values.get("Application.rabbitmq.tls.enabled"):
            self.values.setdefault("Application.rabbitmq.port", AMQPS_PORT)
        base = self.values.get("Application.paths.base") or ""
        own = [f"{path}.{name}" for path in self.webhooks for name in FILES_OF_A_WEBHOOK]
        for places, paths in ((Path.cwd(), (*FILES, *own)), (Path.cwd() / base, FILES_BELOW_BASE)):
            for path in paths:
                if given := self.values.get(path):
                    self.values[path] = str(places / given)
        sections = {name: self._built(cls, path) for path, (name, cls) in SECTIONS.items()}
        webhooks = tuple(self._built(Webhook, path) for path in self.webhooks)
        return Config(**sections, webhooks=webhooks, routes=self._routes, logging=self._logging)

    def _built(self, cls: type[msgspec.Struct], path: str) -> Any:
        values = {}
        for name, hint in _hints_of(cls).items():
            here = f"{path}.{name}"
            if _is_section(hint):
                values[name] = self._built(hint, here)
            elif here in self.values:
                values[name] = self.values[here]
        return cls(**values)

    def _section(self, cls: type[msgspec.Struct], given: Any, path: str) -> None:
        """Take a section of the file. ``given`` is None if the file does not have it."""
        if given is None:
            return
        if not isinstance(given, dict):
            self.error(path, f"must be a mapping, not {kind(given)}")
            return
        hints = _hints_of(cls)
        for name, value in given.items():
            here = f"{path}.{name}"
            if name not in hints:
                continue
            if _is_section(hints[name]):
                self._section(hints[name], value, here)
            elif here in self.sources:  # of the environment, which wins
                continue
            elif value is None and type(None) not in typing.get_args(
                typing.get_args(hints[name])[0]
            ):
                self.error(here, "has no value")
            else:
                self.sources[here] = "file"
                self._convert(here, value, strict=True)
        names = sorted(map(str, set(given) - set(hints)))
        meaningless = [name for name in names if name in MEANINGLESS.get(path, ())]
        if meaningless:
            self.warnings.append(
                f"{self.name}: ignored, because they have no effect: "
                + ", ".join(f"{path}.{name}" for name in meaningless)
                + (" (for TLS, set HTTPServer.tls)" if TLS_OF_TORNADO & set(meaningless) else "")
            )
        for name in names:
            if name not in meaningless:
                self.error(f"{path}.{name}", f"unknown setting{nearest(name, hints)}")

    def _convert(self, path: str, value: Any, *, strict: bool) -> None:
        """Keep a value of the setting's type; the elements of a list have an error each."""
        hint = self._hints[path]
        if isinstance(value, float) and typing.get_origin(typing.get_args(hint)[0]) is Literal:
            value = str(value)  # 1.2 without quotes is a number to YAML
        errors = len(self.errors)
        item = _item_type(hint)
        if item is not None and isinstance(value, list):
            for i, element in enumerate(value):
                self._checked(path, element, item, f"[{i}]", strict=strict)
        if len(self.errors) == errors:
            converted = self._checked(path, value, hint, "", strict=strict)
            if len(self.errors) == errors:
                self.values[path] = converted

    def _checked(self, path: str, value: Any, hint: Any, element: str, *, strict: bool) -> Any:
        converted = None
        with contextlib.suppress(msgspec.ValidationError):
            converted = msgspec.convert(value, hint, strict=strict)
            if isinstance(converted, str) and "\0" in converted:
                self.error(path, "has a NUL character", element)
                return None
            if is_bounded(converted):
                return converted
        self.error(path, complaint(value, hint, self._written(path, element, strict)), element)
        return None

    def _written(self, path: str, element: str, strict: bool) -> str | None:
        """Return how the file has a value, "" if it is not to be shown, or None."""
        if not strict:
            return None
        is_secret = element or path.rpartition(".")[2] in SECRETS
        return "" if is_secret else self._document.written(path)

    def _take_webhooks(self, given: Any) -> None:
        if given is None:
            return
        if not isinstance(given, list):
            self.error(WEBHOOKS, f"must be a list, not {kind(given)}")
            return
        for i, entry in enumerate(given):
            path = path_of(i)
            if not isinstance(entry, dict):
                self.error(path, f"must be a mapping, not {kind(entry)}")
                continue
            before = len(self.errors)
            declared = list(leaves(Webhook, path))
            self._hints |= {setting: hint for setting, hint, _ in declared}
            self._section(Webhook, entry, path)
            for setting, _, default in declared:
                if default is msgspec.NODEFAULT and setting not in self.sources:
                    self.error(setting, "is required")
            if len(self.errors) == before:
                self.webhooks.append(path)

    def _take_routes(self, given: Any) -> None:
        if given is None:
            return
        if not isinstance(given, list):
            self.error("Routes", f"must be a list, not {kind(given)}")
            return
        self.sources["Routes"] = "file"
        for i, entry in enumerate(given):
            path = f"Routes[{i}]"
            match entry:
                case [str(pattern), str(endpoint), *rest] if len(rest) < 2:
                    if rest:
                        self.warnings.append(f"{self.name}: {path}: its third element is ignored")
                    for what in _wrong_with_route(pattern, endpoint):
                        self.error(path, what)
                    self._routes += (Route(pattern, endpoint),)
                case _:
                    self.error(path, "must be [regular expression, class]")


def _wrong_with_route(pattern: str, endpoint: str) -> Iterator[str]:
    try:
        groups = re.compile(pattern.encode()).groups  # as bytes: paths are matched raw
    except (re.error, ValueError) as error:
        yield f"{pattern!r} is not a regular expression for paths: {error}"
        groups = 3
    publishes = endpoint == PUBLISHER
    if endpoint not in ROUTE_CLASSES:
        try:
            publishes = load_class(endpoint) is load_class(PUBLISHER)
        except ImportError as error:
            yield f"{error}{nearest(endpoint, ROUTE_CLASSES)}"
    if publishes and groups != 3:
        yield (
            f"{pattern!r} has {groups} groups; statelessd.Publisher takes three: "
            "virtual host, exchange, routing key"
        )


def _parsed(text: str, hint: Any) -> Any:
    """Convert a variable's text to the form that msgspec accepts for the setting."""
    base = typing.get_args(hint)[0]
    if (item := _item_type(hint)) is not None:
        return [_number_or_text(part, item) for part in _listed(text)]
    return text.lower() if base is bool else _number_or_text(text, base)


def _listed(text: str) -> list[str]:
    """Split a list: ``8000, 8001``, or ``[8000, 8001]`` as ``--print-config`` shows it."""
    bare = text.strip()
    if ENCLOSED.fullmatch(bare) and not IPV6.fullmatch(bare):
        bare = bare[1:-1]
    return [part for each in bare.split(",") if (part := each.strip(" '\""))]


@functools.cache
def _hints_of(cls: type[msgspec.Struct]) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _item_type(hint: Any) -> Any:
    """Return the type and bounds of a list's items; None if the setting is not a list."""
    base = typing.get_args(hint)[0]
    return typing.get_args(base)[0] if typing.get_origin(base) is tuple else None


def _number_or_text(text: str, hint: Any) -> int | str:
    """Convert digits to a number if the setting may be either, which msgspec does not do."""
    either = int in (getattr(each, "__origin__", each) for each in typing.get_args(hint))
    return int(text) if either and text.isdecimal() and len(text) < 20 else text
