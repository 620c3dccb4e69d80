"""Writes docs/reference/configuration.md from the declarations of the settings."""

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from markdown_table import table
from statelessd.config.loader import ENVIRONMENT_PREFIX, leaves
from statelessd.config.report import inline
from statelessd.config.settings import AMQPS_PORT, SECTIONS, Listener
from statelessd.config.webhooks import Webhook

HEADING = """\
# Configuration

This page is written by `make docs` from the settings' declarations.

statelessd reads one YAML file, `statelessd -c FILE`; without one it listens on
`127.0.0.1:8000` and publishes to the RabbitMQ on `localhost:5672`. Every key is
optional. An unknown key, a wrong type or a value out of bounds stops the start,
with all errors at once and exit status 2. `--check-config` does only that, and looks
at the machine as well: an unknown group, or a missing directory of a Unix socket, is
an error there. What does not end a start, such as a missing directory of your own
pages, is a warning.

A file that is empty, or has nothing but empty sections, is an error. All defaults would
apply, and the gateway would listen on all interfaces. `HTTPServer: {{address: ""}}` says
the same on purpose.

Each setting can be overridden by an environment variable: `{prefix}`, then its
key path in capitals with underscores, such as
`STATELESSD_APPLICATION_RABBITMQ_PORT=5673`. Lists are separated by commas,
with or without brackets around.
`statelessd --print-config` shows the effective values and where each comes from. It
shows no passwords: neither those in URLs nor what has a name such as `password`,
`credentials` or `token` in the section Logging.

The variables that Kubernetes sets for a Service named `statelessd` are not settings,
and are ignored.

The file is YAML 1.1 with these differences: times such as `10:00` and dates are text,
tags such as `!!binary` are refused, a file has at most 128 KiB and 50 levels, and
aliases may not multiply it. Text that YAML takes for something else needs quotes, such
as `"0660"`, `"no"` or `"*"`.
"""

WEBHOOKS = """\
## Webhooks

A list of endpoints for services that sign what they send; [webhooks.md](../how-to/webhooks.md) says
how to set up each of them. `Webhooks[]` stands for any of them, such as `Webhooks[0]`.
These settings cannot be given by environment variables, because they are a list. For
what must not be in the file, use `password_file` and `secrets_file`.

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


def reference() -> str:
    """Return the text of docs/reference/configuration.md."""
    parts = [HEADING.format(prefix=ENVIRONMENT_PREFIX)]
    for section, (_, cls) in SECTIONS.items():
        help_text = (cls.__doc__ or "").strip()
        rows = table(("key", "default", "allowed", ""), _rows(cls, section))
        parts.append(f"## {section}\n\n{help_text}\n\n{rows}")
    rows = table(("key", "default", "allowed", ""), _rows(Webhook, "Webhooks[]"))
    return "\n".join([*parts, WEBHOOKS + rows, ENDING])


def _rows(cls: type[msgspec.Struct], section: str) -> Iterator[tuple[str, ...]]:
    for path, hint, default in leaves(cls, section):
        base, meta = typing.get_args(hint)[:2]
        yield f"`{path}`", _default(path, default), _allowed(base, meta), meta.description


def _default(path: str, default: Any) -> str:
    if path == "HTTPServer.address":
        return "`127.0.0.1`; all with a file"
    if path == "Application.rabbitmq.port":
        return f"`{default}`; `{AMQPS_PORT}` with TLS"
    if default is msgspec.NODEFAULT:
        return "needed"
    return "" if default is None else f"`{inline(default)}`"


def _allowed(base: Any, meta: msgspec.Meta) -> str:
    words = {bool: "`true` or `false`", int: "integer", float: "number", str: "text"}
    if typing.get_origin(base) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(base))
    if base == Listener | None:
        return "integer ≥ 1 ≤ 65535, or text"
    first = next(iter(typing.get_args(base)), None)
    if type(None) in typing.get_args(base) and hasattr(first, "__metadata__"):
        base, meta = typing.get_args(first)[:2]  # a number or text that may be left out
    kind = words.get(base) or ("list" if typing.get_origin(base) is tuple else "text")
    bounds = [
        f"{sign} {bound:g}" if bound < 10_000 else f"{sign} {bound}"
        for sign, bound in (("≥", meta.ge), (">", meta.gt), ("≤", meta.le))
        if bound is not None
    ]
    return " ".join([kind, *bounds])


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "docs/reference/configuration.md"
    target.write_text(reference(), encoding="utf-8")
    print(f"wrote {target}")
