"""Loads the YAML file and the environment, or says all that is wrong with them at once."""

import difflib
import importlib
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import yaml

from ..tls.client import SECTION as BROKER_TLS
from ..tls.client import make_context
from ..tls.files import TlsError
from ..tls.server import check
from .checks import wrong_with
from .hosts import Host, parse
from .settings import AMQPS_PORT, SECTIONS, Application, BrokerTls, Config, RabbitMQ, Route, Tls

# A list in brackets. It may contain other brackets, but must not end before the text does.
ENCLOSED = re.compile(r"\[(?:[^][]|\[[^][]*\])*\]")
IPV6 = re.compile(r"\[[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*\]", re.IGNORECASE | re.ASCII)

ENVIRONMENT_PREFIX = "STATELESSD_"
PUBLISHER = "statelessd.Publisher"
# The names that files of 2013 use -> the classes.
ROUTE_CLASSES = {
    f"statelessd.{name}": f"statelessd.pages.{name}" for name in ("Publisher", "Stats", "Dashboard")
}
TOP_LEVEL = (*SECTIONS, "Routes", "Logging")

# What the original's frameworks (Tornado, tinman, clihelper) took and what has no
# meaning here: named in a warning, for such a file has to start.
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
LEAST_FRAME_MAX = 8192  # bytes, of RabbitMQ from 4.1 on
TLS_OF_TORNADO = frozenset({"ssl_options", "certfile", "keyfile"})


_AnyTls = TypeVar("_AnyTls", Tls, BrokerTls)


class ConfigError(Exception):
    """Everything that is wrong, one entry each."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Loaded(msgspec.Struct, frozen=True):
    """A configuration; ``sources`` says of each key path whether file or environment set it."""

    config: Config
    sources: dict[str, str]
    warnings: list[str]


def load(path: Path | None, environment: Mapping[str, str]) -> Loaded:
    """Read ``path`` (None: defaults only) and what ``environment`` overrides.

    Raises ConfigError.
    """
    reader = _Reader(str(path) if path is not None else "")
    document = _read_yaml(path) if path is not None else {}
    if path is not None:
        # The original listened on all interfaces, and its users' balancers are elsewhere.
        reader.defaults["HTTPServer.address"] = ""
    reader.overrides = _overrides(environment, reader)
    config = reader.config(document)
    if reader.errors:
        raise ConfigError(reader.errors)
    if config.logging is not None and config.application.log != "auto":
        reader.warnings.append("Application.log has no effect: the section Logging rules.")
    if config.application.xsrf_cookies:
        reader.warnings.append(
            "Application.xsrf_cookies: publishes that do not say which site they come from "
            "(Origin, Sec-Fetch-Site) are refused, and so all that no browser sends."
        )
    if config.application.rabbitmq.frame_max < LEAST_FRAME_MAX:
        reader.warnings.append(
            f"Application.rabbitmq.frame_max: RabbitMQ 4.1 and later refuse frames below "
            f"{LEAST_FRAME_MAX} bytes; there frames of {LEAST_FRAME_MAX} bytes are used."
        )
    return Loaded(_absolute(config), reader.sources, reader.warnings)


def _absolute(config: Config) -> Config:
    """Make paths relative to the current directory absolute, because a daemon moves to /."""
    daemon, paths = config.daemon, config.application.paths
    server, rabbitmq = config.http_server, config.application.rabbitmq
    base = Path.cwd() / (paths.base or "")
    replace = msgspec.structs.replace
    return replace(
        config,
        daemon=replace(daemon, pidfile=daemon.pidfile and str(Path.cwd() / daemon.pidfile)),
        application=replace(
            config.application,
            paths=replace(
                paths,
                base=paths.base and str(base),
                static=paths.static and str(base / paths.static),
                templates=paths.templates and str(base / paths.templates),
            ),
            rabbitmq=replace(
                rabbitmq, tls=_with_absolute(rabbitmq.tls, "ca", "certificate", "key")
            ),
        ),
        http_server=replace(server, tls=_with_absolute(server.tls, "certificate", "key")),
    )


def _with_absolute(settings: _AnyTls, *files: str) -> _AnyTls:
    named = {name: path for name in files if (path := getattr(settings, name)) is not None}
    absolute = {name: str(Path.cwd() / path) for name, path in named.items()}
    return msgspec.structs.replace(settings, **absolute)


def leaves(cls: type[msgspec.Struct], path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each setting below a section: key path, type with bounds and help, default."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in msgspec.structs.fields(cls):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from leaves(hint, f"{path}.{field.name}")
        else:
            yield f"{path}.{field.name}", hint, field.default


def environment_name(key_path: str) -> str:
    """Return the variable of a setting, such as ``STATELESSD_APPLICATION_RABBITMQ_PORT``."""
    return ENVIRONMENT_PREFIX + key_path.replace(".", "_").upper()


def load_class(dotted: str) -> type:
    """Return the class of ``package.Class``. Raise ImportError, which names what is missing."""
    module, _, name = ROUTE_CLASSES.get(dotted, dotted).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (AttributeError, ValueError, TypeError) as error:
        raise ImportError(f"there is no class {dotted}") from error
    except ImportError:
        raise
    except Exception as error:  # whatever a module of somebody else's does when imported
        raise ImportError(f"{module} cannot be imported: {error!r}") from error
    if not isinstance(found, type):
        raise ImportError(f"{dotted} is no class")  # noqa: TRY004 - one error for all of it
    return found


def nearest(name: str, candidates: list[str]) -> str:
    """Return a hint at the most similar candidate, with a space before it, or nothing."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.lower(), by_lower, 1, 0.5)
    return f" (did you mean {by_lower[found[0]]}?)" if found else ""


def _overrides(environment: Mapping[str, str], reader: "_Reader") -> dict[str, str]:
    """Return the texts of the environment's variables that name a setting, by key path."""
    names = {
        environment_name(path): path
        for section, (_, cls) in SECTIONS.items()
        for path, _, _ in leaves(cls, section)
    }
    found = {}
    for name, text in environment.items():
        if name in names:
            found[names[name]] = text
        elif name.startswith(ENVIRONMENT_PREFIX):
            reader.errors.append(f"environment: {name} is no setting{nearest(name, list(names))}")
    return found


class _Reader:
    """Collects what is wrong on its way through the document."""

    def __init__(self, file: str) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.sources: dict[str, str] = {}
        self.defaults: dict[str, Any] = {}
        self.overrides: dict[str, str] = {}
        self._file = file

    def config(self, document: Any) -> Config:
        """Return what could be read. It has no meaning if ``errors`` is not empty."""
        values: dict[str, Any] = {}
        document = {} if document is None else document
        if not isinstance(document, dict):
            self._error("", "the file must be a mapping of sections")
            document = {}
        for key in document:
            if key not in TOP_LEVEL:
                self._error(str(key), f"unknown section{nearest(str(key), list(TOP_LEVEL))}")
        for section, (attribute, cls) in SECTIONS.items():
            values[attribute] = self._section(cls, document.get(section), section)
        values["routes"] = self._routes(document.get("Routes"))
        logging = document.get("Logging")
        if logging is not None and not isinstance(logging, dict):
            self._error("Logging", "must be a mapping, as logging.config.dictConfig takes it")
        values["logging"] = logging
        values["application"] = self._with_port(values["application"])
        self._check_together(values)
        return Config(**values)

    def _error(self, path: str, what: str) -> None:
        place = ": ".join(part for part in (self._file, path) if part)
        self.errors.append(f"{place}: {what}" if place else what)

    def _error_of(self, path: str, element: str, what: str) -> None:
        """Note an error of a setting that may have come from the environment."""
        if path in self.overrides:
            self.errors.append(f"environment: {environment_name(path)}{element}: {what}")
        else:
            self._error(path + element, what)

    def _section(self, cls: type[msgspec.Struct], given: Any, path: str) -> Any:
        """Read a section. ``given`` is what the file has under ``path``, or None."""
        if given is None:
            given = {}
        if not isinstance(given, dict):
            self._error(path, f"must be a mapping, not {_kind(given)}")
            given = {}
        hints = typing.get_type_hints(cls, include_extras=True)
        values = {}
        for name, hint in hints.items():
            here = f"{path}.{name}"
            if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
                values[name] = self._section(hint, given.get(name), here)
            elif here in self.overrides:
                self._override(values, name, hint, here)
            elif name in given and (given[name] is not None or _optional(hint)):
                self._convert(values, name, hint, given[name], here)
            elif name in given:
                self._error(here, "has no value")
            elif here in self.defaults:
                values[name] = self.defaults[here]
        self._unknown(set(given) - set(hints), list(hints), path)
        return cls(**values)

    def _unknown(self, names: set[Any], known: list[str], path: str) -> None:
        meaningless = sorted(str(n) for n in names if n in MEANINGLESS.get(path, ()))
        if meaningless:
            self.warnings.append(
                f"{self._file}: without a meaning here and ignored: "
                + ", ".join(f"{path}.{name}" for name in meaningless)
                + (" (TLS is HTTPServer.tls)" if TLS_OF_TORNADO & set(meaningless) else "")
            )
        for name in sorted(str(n) for n in names if str(n) not in meaningless):
            self._error(f"{path}.{name}", f"unknown key{nearest(name, known)}")

    def _convert(self, values: dict[str, Any], name: str, hint: Any, value: Any, path: str) -> None:
        self.sources[path] = "file"
        if isinstance(value, float) and typing.get_origin(typing.get_args(hint)[0]) is Literal:
            value = str(value)  # 1.2 without quotes is a number to YAML
        errors = len(self.errors)
        item = _item_type(hint)
        if item is not None and isinstance(value, list):
            for i, element in enumerate(value):  # one by one: all errors are wanted, not one
                self._checked(element, item, f"{path}[{i}]")
        if len(self.errors) == errors:
            converted = self._checked(value, hint, path)
            if len(self.errors) == errors:
                values[name] = converted

    def _checked(self, value: Any, hint: Any, path: str) -> Any:
        try:
            return msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            self._error(*_explained(error, path))
            return None

    def _override(self, values: dict[str, Any], name: str, hint: Any, path: str) -> None:
        text: Any = self.overrides[path]
        variable = environment_name(path)
        item = _item_type(hint)
        if item is not None:
            text = _listed(text)
            text = [_number_or_text(part, item) for part in text]
        elif typing.get_args(hint)[0] is bool:
            text = text.lower()
        else:
            text = _number_or_text(text, typing.get_args(hint)[0])
        try:
            values[name] = msgspec.convert(text, hint, strict=False)
            self.sources[path] = f"environment ({variable})"
        except msgspec.ValidationError as error:
            where, what = _explained(error, variable)
            self.errors.append(f"environment: {where}: {what}")

    def _with_port(self, application: Application) -> Application:
        """Use the usual port of AMQP over TLS, if TLS is enabled and no port is set."""
        rabbitmq = application.rabbitmq
        if not rabbitmq.tls.enabled or "Application.rabbitmq.port" in self.sources:
            return application
        replace = msgspec.structs.replace
        return replace(application, rabbitmq=replace(rabbitmq, port=AMQPS_PORT))

    def _routes(self, given: Any) -> tuple[Route, ...]:
        if given is None:
            return ()
        if not isinstance(given, list):
            self._error("Routes", f"must be a list, not {_kind(given)}")
            return ()
        self.sources["Routes"] = "file"
        routes = []
        for i, entry in enumerate(given):
            path = f"Routes[{i}]"
            if not (
                isinstance(entry, list)
                and len(entry) in (2, 3)
                and all(isinstance(part, str) for part in entry[:2])
            ):
                self._error(path, "must be [regular expression, class]")
                continue
            if len(entry) == 3:
                self.warnings.append(f"{self._file}: {path}: its third element is ignored")
            self._check_route(path, entry[0], entry[1])
            routes.append(Route(entry[0], entry[1]))
        return tuple(routes)

    def _check_route(self, path: str, pattern: str, endpoint: str) -> None:
        try:
            groups = re.compile(pattern.encode()).groups  # as bytes: paths are matched raw
        except (re.error, ValueError) as error:
            self._error(path, f"{pattern!r} is no regular expression for paths: {error}")
            groups = 3
        publishes = endpoint == PUBLISHER
        if endpoint not in ROUTE_CLASSES:
            try:
                publishes = load_class(endpoint) is load_class(PUBLISHER)
            except ImportError as error:
                self._error(path, f"{error}{nearest(endpoint, list(ROUTE_CLASSES))}")
        if publishes and groups != 3:
            self._error(
                path,
                f"{pattern!r} has {groups} groups; statelessd.Publisher takes three: "
                "virtual host, exchange, routing key",
            )

    def _check_together(self, values: dict[str, Any]) -> None:
        """Check what depends on more than one setting."""
        server, rabbitmq = values["http_server"], values["application"].rabbitmq
        for path, element, what in wrong_with(server):
            self._error_of(path, element, what)
        self._check_hosts(rabbitmq)
        if rabbitmq.probe.password and not rabbitmq.probe.username:
            self._error("Application.rabbitmq.probe.password", "is of no use without a username")
        self._check_tls(server.tls, rabbitmq.tls)

    def _check_tls(self, ours: Tls, brokers: BrokerTls) -> None:
        """Check the files of TLS by loading them; those who use them load them again."""
        enabled = f"{BROKER_TLS}.enabled"
        if enabled not in self.sources and brokers != BrokerTls():
            # Plain text would be the opposite of what the other settings ask for.
            self._error(enabled, "is needed, for there are other settings of TLS: true or false")
        try:
            check(ours)
        except TlsError as error:
            self._error(error.setting, error.reason)
        try:
            if brokers.enabled:
                make_context(brokers)
        except TlsError as error:
            self._error(error.setting, error.reason)

    def _check_hosts(self, broker: RabbitMQ) -> None:
        path = "Application.rabbitmq.hosts"
        known: set[Host] = set()
        for i, text in enumerate(broker.hosts):
            try:
                host = parse(text, broker.port)
            except ValueError as error:
                self._error_of(path, f"[{i}]", f"{error}")
                continue
            if host in known:
                self._error_of(path, "", f"has {host} more than once")
            known.add(host)
        if broker.hosts and "Application.rabbitmq.host" in self.sources:
            self.warnings.append(f"Application.rabbitmq.host has no effect: {path} rules.")


def _listed(text: str) -> list[str]:
    """Split a list: ``8000, 8001``, or ``[8000, 8001]`` as ``--print-config`` shows it."""
    bare = text.strip()
    if ENCLOSED.fullmatch(bare) and not IPV6.fullmatch(bare):
        bare = bare[1:-1]
    return [part for each in bare.split(",") if (part := each.strip(" '\""))]


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError([f"{path}: cannot be read: {reason}"]) from error
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, with one check more
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError([f"{path}: no valid YAML{where}: {error.problem}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: no valid YAML: {error}"]) from error


class _Loader(yaml.SafeLoader):
    """A loader that refuses duplicate keys. YAML forbids them, but PyYAML does not."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            try:
                twice = key in seen
                seen.add(key)
            except TypeError:
                twice = False  # not a valid key; the base class raises the error
            if twice:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
        return super().construct_mapping(node, deep)


def _item_type(hint: Any) -> Any:
    """Return the type and bounds of a list's items; None if the setting is not a list."""
    base = typing.get_args(hint)[0]
    return typing.get_args(base)[0] if typing.get_origin(base) is tuple else None


def _number_or_text(text: str, hint: Any) -> int | str:
    """Convert text to a number if the setting may be either, which msgspec does not do."""
    either = int in (getattr(each, "__origin__", each) for each in typing.get_args(hint))
    return int(text) if either and text.isdecimal() else text


def _optional(hint: Any) -> bool:
    return type(None) in typing.get_args(typing.get_args(hint)[0])


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value"}
    return names.get(type(value), type(value).__name__)


def _explained(error: msgspec.ValidationError, path: str) -> tuple[str, str]:
    """Split msgspec's "Expected `int`, got `str` - at `$[2]`" into key path and reason."""
    reason, _, place = str(error).partition(" - at `$")
    return path + place.rstrip("`"), reason.replace("`", "")
