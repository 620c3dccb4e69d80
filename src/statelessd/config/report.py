"""The settings as people read them: ``--print-config``, and docs/configuration.md."""

import typing
from pathlib import Path
from typing import Any

import msgspec
import yaml

from .loader import ENVIRONMENT_PREFIX, Loaded, environment_name, leaves
from .settings import AMQPS_PORT, SECTIONS, Config, Listener, without_secrets

HEADING = """\
# Configuration

This page is written by `make docs` from the settings' declarations.

statelessd reads one YAML file, `statelessd -c FILE`; without one it listens on
`127.0.0.1:8000` and publishes to the RabbitMQ on `localhost:5672`. Every key is
optional. An unknown key, a wrong type or a value out of bounds stops the start,
with all errors at once and exit status 2; `--check-config` does only that.

Each setting can be overridden by an environment variable: `{prefix}`, then its
key path in capitals with underscores, such as
`STATELESSD_APPLICATION_RABBITMQ_PORT=5673`. Lists are separated by commas,
with or without brackets around.
`statelessd --print-config` shows the effective values and where each comes from.
"""

ENDING = """\
## Routes

A list of `[regular expression, class]`, matched in order against the raw
(percent-encoded) path, which they have to match as a whole. Without this section:

```yaml
Routes:
  - ['/([^/]+)/([^/]*)/([^/]*)', statelessd.Publisher]
  - [/stats, statelessd.Stats]
  - [/, statelessd.Dashboard]
```

`statelessd.Publisher` takes three groups: virtual host, exchange, routing key.
Other classes are ASGI applications that are called as `Class(scope, receive,
send)` and awaited, as Starlette's `HTTPEndpoint` is; HTTPServer.pages does not
restrict them. Built-in pages such as `/static/` come after the routes of the file.

## Logging

What Python's
[`logging.config.dictConfig`](https://docs.python.org/3/library/logging.config.html)
takes, with these differences:

- A handler may have `debug_only: true`: it is used only in the foreground with
  `Application.debug`.
- A handler that cannot be made, because its socket or directory is missing, is
  left out with a warning.
- `disable_existing_loggers: true` does not silence this program or its libraries.

Without this section, lines go to standard error.
"""


def print_config(loaded: Loaded) -> str:
    """The effective configuration as YAML, each value with its source."""
    lines: list[str] = []
    config = without_secrets(loaded.config)
    for section, (attribute, _) in SECTIONS.items():
        lines.append(f"{section}:")
        lines += _mapping(getattr(config, attribute), section, loaded.sources, "  ")
    lines += _tail(config)
    return "\n".join(lines) + "\n"


def _mapping(struct: msgspec.Struct, path: str, sources: dict[str, str], indent: str) -> list[str]:
    lines = []
    for name in struct.__struct_fields__:
        value, here = getattr(struct, name), f"{path}.{name}"
        if isinstance(value, msgspec.Struct):
            lines.append(f"{indent}{name}:")
            lines += _mapping(value, here, sources, indent + "  ")
        else:
            lines.append(f"{indent}{name}: {_inline(value)}  # {sources.get(here, 'default')}")
    return lines


def _tail(config: Config) -> list[str]:
    lines = []
    if config.routes:
        lines.append("Routes:  # file")
        lines += [f"  - {_inline([route.pattern, route.endpoint])}" for route in config.routes]
    if config.logging is not None:
        lines.append("Logging:  # file")
        dumped = yaml.safe_dump(config.logging, sort_keys=False)
        lines += [f"  {line}" for line in dumped.splitlines()]
    return lines


def _inline(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    dumped = yaml.safe_dump(value, default_flow_style=True, width=1_000_000)
    return str(dumped).removesuffix("\n").removesuffix("\n...")


def reference() -> str:
    """docs/configuration.md."""
    parts = [HEADING.format(prefix=ENVIRONMENT_PREFIX)]
    for section, (_, cls) in SECTIONS.items():
        parts.append(f"## {section}\n\n{_paragraph(cls)}\n\n{_table(cls, section)}\n")
    return "\n".join([*parts, ENDING])


def _paragraph(cls: type) -> str:
    return (cls.__doc__ or "").strip()


def _table(cls: type[msgspec.Struct], section: str) -> str:
    rows = ["| key | default | allowed | |", "|---|---|---|---|"]
    for path, hint, default in leaves(cls, section):
        base, *metas = typing.get_args(hint)
        meta = metas[0]
        rows.append(
            f"| `{path}` | {_default(path, default)} | {_allowed(base, meta)} "
            f"| {meta.description} |"
        )
    return "\n".join(rows)


def _default(path: str, default: Any) -> str:
    if path == "HTTPServer.address":
        return "`127.0.0.1`; all with a file"
    if path == "Application.rabbitmq.port":
        return f"`{default}`; `{AMQPS_PORT}` with TLS"
    return "" if default is None else f"`{_inline(default)}`"


def _allowed(base: Any, meta: msgspec.Meta) -> str:
    words = {bool: "`true` or `false`", int: "integer", float: "number", str: "text"}
    if typing.get_origin(base) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(base))
    if base == Listener | None:
        return "integer ≥ 1 ≤ 65535, or text"
    kind = words.get(base) or ("list" if typing.get_origin(base) is tuple else "text")
    bounds = [
        f"{sign} {bound:g}" if bound < 10_000 else f"{sign} {bound}"
        for sign, bound in (("≥", meta.ge), (">", meta.gt), ("≤", meta.le))
        if bound is not None
    ]
    return " ".join([kind, *bounds])


if __name__ == "__main__":
    target = Path(__file__).parents[3] / "docs" / "configuration.md"
    target.write_text(reference(), encoding="utf-8")
    print(f"wrote {target}")  # noqa: T201 - a command

__all__ = ["environment_name", "print_config", "reference"]
