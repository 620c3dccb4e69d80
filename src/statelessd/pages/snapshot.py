"""What one backend leaves for the others: its document of ``/stats``, its metrics, its details."""

import os

import msgspec

from ..gateway.gateway import Gateway
from ..telemetry.scoreboard import Snapshot
from .details import MOST, MOST_BRIEFLY, told_by
from .metric_families import counters_of, families
from .stats import document

_encode = msgspec.msgpack.Encoder().encode


def snapshot(gateway: Gateway, *, brief: bool = False) -> Snapshot:
    """Of this moment. ``brief``: without most of the logins, of which there is no end."""
    found = families(gateway)
    stats = document(gateway)
    if brief:
        stats["connections"] = {}
    told = {
        "stats": stats,
        "metrics": found,
        "details": told_by(gateway, MOST_BRIEFLY if brief else MOST),
    }
    return Snapshot(
        os.getpid(),
        counters_of(found),
        {name: msgspec.Raw(_encode(part)) for name, part in told.items()},
    )
