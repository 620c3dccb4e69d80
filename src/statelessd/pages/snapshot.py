"""What a backend leaves on the scoreboard: its figures, and its documents for the others."""

import os
import time

import msgspec

from ..telemetry.scoreboard import Snapshot
from .details import MOST, MOST_BRIEFLY, told_by
from .figures import Reading
from .monitoring import Monitoring
from .stats import document

_encode = msgspec.msgpack.Encoder().encode


def snapshot(monitoring: Monitoring, reading: Reading, *, brief: bool = False) -> Snapshot:
    """Return the snapshot of this moment; a ``brief`` one goes without most of the logins."""
    gateway = monitoring.gateway
    logins = gateway.publisher.logins(str(gateway.port))
    stats = document(gateway, logins)
    if brief:
        stats["connections"] = {}
    documents = {
        "backend": monitoring.backend(reading),
        "stats": stats,
        "details": told_by(gateway, logins, MOST_BRIEFLY if brief else MOST),
    }
    encoded = {name: msgspec.Raw(_encode(each)) for name, each in documents.items()}
    return Snapshot(os.getpid(), time.time(), *monitoring.samples(reading), encoded)
