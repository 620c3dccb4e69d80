"""``/details.json``: the connections and recent errors of all backends of this parent."""

import asyncio
import heapq
import os
import time
from operator import attrgetter

import msgspec

from ..broker.logins import CONNECTED, Login
from ..gateway.gateway import Gateway
from ..telemetry import recent_errors as recent
from ..telemetry.recent_errors import RecentError
from .monitoring import Monitoring

MOST = 2000  # connections of one backend
MOST_BRIEFLY = 500  # if its snapshot would be too large


class Details(msgspec.Struct):
    """The document, of one backend or of all; ``left_out``: connections that are not in it."""

    time: float
    connections: list[Login]
    left_out: int
    errors: list[RecentError]


def told_by(gateway: Gateway, logins: list[Login], most: int = MOST) -> Details:
    """Return what this backend tells: of its ``logins`` the open ones and the busiest."""
    left_out = max(0, len(logins) - most)
    if left_out:
        logins = heapq.nlargest(
            most, logins, key=lambda each: (each.state == CONNECTED, each.publishes)
        )
    return Details(time.time(), logins, left_out, list(gateway.recent_errors))


async def details(monitoring: Monitoring) -> Details:
    """Return the document of all backends; what the others tell is up to a second old."""
    gateway = monitoring.gateway
    found = told_by(gateway, gateway.publisher.logins(str(gateway.port)))
    for page in monitoring.pages():
        await asyncio.sleep(0)  # each may be long
        for snapshot in page.living:
            if snapshot.pid == os.getpid():
                continue
            other = msgspec.msgpack.decode(snapshot.documents["details"], type=Details)
            found.errors += other.errors
            # While one replaces another there are two; the younger one has the logins.
            if snapshot is page.living[-1] and page.listener != gateway.port:
                found.connections += other.connections
                found.left_out += other.left_out
    found.errors = sorted(found.errors, key=attrgetter("time"), reverse=True)[: recent.MOST]
    return found
