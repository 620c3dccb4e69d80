"""The classes that a configuration's ``Routes`` may name, and the pages behind them."""

from .dashboard import Dashboard
from .stats import Stats


class Publisher:
    """Stands for publishing, which ``the gateway`` does itself: it is never called."""


__all__ = ["Dashboard", "Publisher", "Stats"]
