"""The effective settings as people read them: ``--print-config``."""

from typing import Any

import msgspec
import yaml

from .loader import Loaded
from .secrets import hidden, without_secrets
from .settings import SECTIONS
from .webhook_files import path_of


def print_config(loaded: Loaded) -> str:
    """Return the effective configuration as YAML, each value with its source."""
    lines: list[str] = []
    config = without_secrets(loaded.config)
    for section, (attribute, _) in SECTIONS.items():
        lines.append(f"{section}:")
        lines += _mapping(getattr(config, attribute), section, loaded.sources, "  ")
    if config.webhooks:
        lines.append("Webhooks:")
    for i, webhook in enumerate(config.webhooks):
        first, *others = _mapping(webhook, path_of(i), loaded.sources, "    ")
        lines += [f"  - {first.lstrip()}", *others]
    if config.routes:
        lines.append("Routes:  # file")
        lines += [f"  - {inline([route.pattern, route.endpoint])}" for route in config.routes]
    if config.logging is not None:
        lines.append("Logging:  # file")
        dumped = yaml.safe_dump(config.logging, sort_keys=False)
        lines += [f"  {line}" for line in dumped.splitlines()]
    return "\n".join(lines) + "\n"


def _mapping(struct: msgspec.Struct, path: str, sources: dict[str, str], indent: str) -> list[str]:
    lines = []
    for name in struct.__struct_fields__:
        value, here = getattr(struct, name), f"{path}.{name}"
        if isinstance(value, msgspec.Struct):
            lines.append(f"{indent}{name}:")
            lines += _mapping(value, here, sources, indent + "  ")
        else:
            lines.append(
                f"{indent}{name}: {inline(hidden(value))}  # {sources.get(here, 'default')}"
            )
    return lines


def inline(value: Any) -> str:
    """Return a setting's value as YAML in one line."""
    value = list(value) if isinstance(value, tuple) else value
    dumped = yaml.safe_dump(value, default_flow_style=True, width=1_000_000)
    return str(dumped).removesuffix("\n").removesuffix("\n...")
