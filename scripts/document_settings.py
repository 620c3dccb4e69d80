"""Writes docs/reference/configuration.md from the declarations of the settings."""

import re
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from setting_examples import EXAMPLES
from statelessd.config.loader import ENVIRONMENT_PREFIX, environment_name, leaves
from statelessd.config.report import inline
from statelessd.config.settings import AMQPS_PORT, SECTIONS, Listener
from statelessd.config.webhooks import Webhook

HEADING = """\
# Configuration

This page lists every setting, with its default, its bounds and an example. `make docs` writes
it from the declarations in the code.

## The file

`statelessd -c FILE` reads one YAML file. Every key is optional:

```yaml
Application:
  rabbitmq:
    host: rabbit.internal
HTTPServer:
  ports: [8000, 8001]
  address: 127.0.0.1
```

Without a file the gateway listens on `127.0.0.1:8000` and publishes to the RabbitMQ on
`localhost:5672`. [The file of the 2013 statelessd](../how-to/from-2013.md) works unchanged.

An unknown key, a wrong type or a value out of bounds stops the start. The gateway prints all
errors at once and exits with status 2. `statelessd --check-config -c FILE` only checks:

- It looks at the machine as well. An unknown group, or a missing directory of a Unix socket, is
  an error there.
- A fault that does not prevent a start, such as a missing directory of your own pages, is a
  warning.

A file that is empty, or has only empty sections, is an error, because the gateway would listen
on all interfaces. Write `HTTPServer: {{address: ""}}` if you want that.

To apply a changed file to a running gateway, [reload it](../how-to/reload.md).
[What a reload can change](../how-to/reload.md#what-a-reload-can-change) names the settings that
need a restart.

The tests load the example of each setting below. They do not load the file above and the section
Routes below, which show the form.

The format is YAML 1.1 with these differences:

- Times such as `10:00` and dates are text.
- Tags such as `!!binary` are refused.
- A file has at most 128 KiB and 50 levels, and aliases may not multiply it.

Put text in quotes if YAML takes it for something else, such as `"0660"`, `"no"` or `"*"`.

## Environment variables

An environment variable overrides a setting. Its name is `{prefix}` and the key path in
capitals with underscores, such as `STATELESSD_APPLICATION_RABBITMQ_PORT=5673`. Each entry below
names it. Separate the values of a list by commas, with or without brackets around them.

An unknown variable with this prefix is an error. The gateway ignores the variables that
Kubernetes sets for a Service named `statelessd`.

`statelessd --print-config` shows the values in effect, and where each comes from. It hides
passwords in URLs. In the section Logging it also hides values with names such as `password`,
`credentials` or `token`.
"""

INTRODUCTIONS = {
    "Webhooks[]": (
        "A list of endpoints for services that sign their requests. "
        "[Webhooks](../how-to/webhooks.md) explains how to set up each service. `Webhooks[]` "
        "stands for any of them, such as `Webhooks[0]`.\n\n"
        "Environment variables cannot set these, because they are a list. Use `password_file` "
        "and `secrets_file` to keep secrets out of the file."
    ),
}
HEADINGS = {"Webhooks[]": "Webhooks"}

ENDING = """\
## Routes

A list of `[regular expression, class]`. The gateway matches the raw (percent-encoded) path
against each expression in order. An expression must match the whole path. Without this
section it is:

```yaml
Routes:
  - ['/([^/]+)/([^/]*)/([^/]*)', statelessd.Publisher]
  - [/stats, statelessd.Stats]
  - [/, statelessd.Dashboard]
```

- `statelessd.Publisher` takes three groups: virtual host, exchange, routing key.
- Any other class is an ASGI application. The gateway awaits `Class(scope, receive, send)`, as
  for Starlette's `HTTPEndpoint`. `HTTPServer.pages` does not restrict it.
- Built-in pages such as `/static/` come after the routes of the file.

## Logging

The section takes what Python's
[`logging.config.dictConfig`](https://docs.python.org/3/library/logging.config.html) takes.
Without it, lines go to standard error as [`Application.log`](#applicationlog) says.
[The log](logs.md) describes the lines. The differences from `dictConfig` are:

- A handler with `debug_only: true` is used only in the foreground with
  [`Application.debug`](#applicationdebug).
- A handler whose socket or directory is missing is left out with a warning.
- `disable_existing_loggers: true` does not silence the gateway or its libraries.
"""


def reference() -> str:
    """Return the text of docs/reference/configuration.md."""
    sections = [(name, cls) for name, (_, cls) in SECTIONS.items()] + [("Webhooks[]", Webhook)]
    groups = [group for name, cls in sections for group in _groups(name, cls)]
    return "\n".join([HEADING.format(prefix=ENVIRONMENT_PREFIX), *groups, ENDING])


def _groups(path: str, cls: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the text of a section, and of each section in it."""
    inner = {
        field.name: field.type
        for field in msgspec.structs.fields(cls)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }
    intro = INTRODUCTIONS.get(path) or " ".join((cls.__doc__ or "").split()).replace("``", "`")
    heading = HEADINGS.get(path, path)
    entries = [
        _entry(key, hint, default)
        for key, hint, default in leaves(cls, path)
        if key.removeprefix(f"{path}.").partition(".")[0] not in inner
    ]
    yield "\n".join([f"## {heading}\n\n{intro}\n", *entries])
    for name, each in inner.items():
        yield from _groups(f"{path}.{name}", each)


def _entry(path: str, hint: Any, default: Any) -> str:
    """Return the entry of one setting."""
    base, meta = typing.get_args(hint)[:2]
    facts = [
        _default(path, default),
        f"Allowed: {_allowed(base, meta)}",
        f"Example: `{path.rpartition('.')[2]}: {EXAMPLES[path]}`",
    ]
    if not path.startswith("Webhooks[]"):
        facts.append(f"Environment: `{environment_name(path)}`")
    listed = "\n".join(f"- {fact}" for fact in facts)
    text = textwrap.fill(_code(meta.description), 96, break_on_hyphens=False)
    return f"### {path}\n\n{text}\n\n{listed}\n"


def _code(text: str) -> str:
    """Return the text with names of settings as code, and without what Markdown would read."""
    text = re.sub(r"(?<![`\w])((?:Application|HTTPServer|Daemon)\.[\w.]*\w)", r"`\1`", text)
    return re.sub(r"\*(?= )", r"\\*", text)


def _default(path: str, default: Any) -> str:
    if path == "HTTPServer.address":
        return "Default: `127.0.0.1`; all interfaces with a configuration file"
    if path == "Application.rabbitmq.port":
        return f"Default: `{default}`; `{AMQPS_PORT}` with TLS"
    if default is msgspec.NODEFAULT:
        return "Default: none, the setting is required"
    return "Default: none" if default is None else f"Default: `{inline(default)}`"


def _allowed(base: Any, meta: msgspec.Meta) -> str:
    words = {bool: "`true` or `false`", int: "integer", float: "number", str: "text"}
    if typing.get_origin(base) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(base))
    if base == Listener | None:
        return "integer from 1 to 65535, or text such as `unix:/path`"
    first = next(iter(typing.get_args(base)), None)
    if type(None) in typing.get_args(base) and hasattr(first, "__metadata__"):
        base, meta = typing.get_args(first)[:2]  # a number or text that may be left out
    if meta.title:
        return meta.title
    kind = words.get(base) or ("list" if typing.get_origin(base) is tuple else "text")
    if meta.max_length is not None:
        return f"{kind} of at most {meta.max_length} characters"
    if meta.gt is not None:
        return f"{kind} above {meta.gt}, at most {meta.le}"
    if meta.le is not None:
        return f"{kind} from {meta.ge} to {meta.le}"
    return kind if meta.ge is None else f"{kind} of at least {meta.ge}"


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "docs/reference/configuration.md"
    target.write_text(reference(), encoding="utf-8")
    print(f"wrote {target}")
