"""What one backend leaves for the others: its document of ``/stats``, and its metrics."""

import os

import msgspec

from ..board import Snapshot
from .endpoints.stats import document
from .gateway import Gateway
from .metrics import counters_of, families


def snapshot(gateway: Gateway, *, logins: bool = True) -> Snapshot:
    """Of this moment. ``logins``: with the figures of each, of which there is no end."""
    found = families(gateway)
    stats = document(gateway)
    if not logins:
        stats["connections"] = {}
    told = {"stats": stats, "metrics": msgspec.to_builtins(found)}
    return Snapshot(os.getpid(), counters_of(found), told)
