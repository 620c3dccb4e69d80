"""HTTP in, RabbitMQ out: one POST becomes one confirmed message.

``Publisher``, ``Stats`` and ``Dashboard`` are the names that the ``Routes`` of a
configuration use; they are loaded when asked for, because importing a part of
the package must not import the HTTP edge.
"""

from typing import Any

__version__ = "1.0.0.dev0"

_ROUTE_CLASSES = ("Publisher", "Stats", "Dashboard")


def __getattr__(name: str) -> Any:
    if name in _ROUTE_CLASSES:
        from .http import endpoints  # noqa: PLC0415 - see above

        return getattr(endpoints, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
