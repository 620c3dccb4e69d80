"""``/details.json``: connections and recent errors, of all backends of this parent."""

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

MOST = 2000  # connections that a backend tells of
MOST_BRIEFLY = 500  # where all that it tells would be too large


class Told(msgspec.Struct):
    """What one backend tells; ``left_out``: connections that are not among these."""

    connections: list[Login]
    left_out: int
    errors: list[RecentError]


class Details(msgspec.Struct):
    """The document."""

    time: float
    connections: list[Login]
    left_out: int
    errors: list[RecentError]


def told_by(gateway: Gateway, most: int = MOST) -> Told:
    """Return what this backend tells: of its connections the open ones and the busiest."""
    logins = gateway.publisher.logins(str(gateway.port))
    left_out = max(0, len(logins) - most)
    if left_out:
        logins = heapq.nlargest(most, logins, key=_importance)
    return Told(logins, left_out, list(gateway.recent_errors))


async def details(monitoring: Monitoring) -> Details:
    """Return the document of all backends; what the others tell is up to a second old."""
    gateway = monitoring.gateway
    told = told_by(gateway)
    connections, left_out, errors = told.connections, told.left_out, told.errors
    for page in monitoring.pages():
        await asyncio.sleep(0)  # each may be long
        for snapshot in page.living:
            if snapshot.pid == os.getpid():
                continue
            other = msgspec.msgpack.decode(snapshot.documents["details"], type=Told)
            errors = errors + other.errors
            # While one replaces another there are two; the younger one has the logins.
            if snapshot is page.living[-1] and page.listener != gateway.port:
                connections = connections + other.connections
                left_out += other.left_out
    newest = sorted(errors, key=attrgetter("time"), reverse=True)[: recent.MOST]
    return Details(time.time(), connections, left_out, newest)


def _importance(login: Login) -> tuple[bool, int]:
    return login.state == CONNECTED, login.publishes
