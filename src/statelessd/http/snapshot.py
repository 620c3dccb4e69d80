"""What one backend leaves for the others: its document of ``/stats``, and its metrics."""

import os

import msgspec

from ..board import Snapshot
from .endpoints.stats import document
from .gateway import Gateway
from .metrics import counters_of, families


def snapshot(gateway: Gateway) -> Snapshot:
    """Of this moment."""
    found = families(gateway)
    told = {"stats": document(gateway), "metrics": msgspec.to_builtins(found)}
    return Snapshot(os.getpid(), counters_of(found), told)
