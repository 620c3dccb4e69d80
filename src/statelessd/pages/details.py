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
from ..telemetry.scoreboard import Page

MOST = 2000  # connections that a backend tells of
MOST_BRIEFLY = 500  # where all that it tells would be too large


class Told(msgspec.Struct):
    """By one backend. ``left_out``: connections that are not among these."""

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
    """This backend, of at most so many connections: those that are open, and the busiest."""
    logins = gateway.publisher.logins(str(gateway.port))
    left_out = max(0, len(logins) - most)
    if left_out:
        logins = heapq.nlargest(most, logins, key=_importance)
    return Told(logins, left_out, list(gateway.recent_errors))


async def details(gateway: Gateway) -> Details:
    """Of all backends; of the others a second old."""
    told = told_by(gateway)
    connections, left_out, errors = told.connections, told.left_out, told.errors
    for page in [] if gateway.board is None else gateway.board.pages():
        await asyncio.sleep(0)  # each may be long
        for pid, other in _others(page):
            errors = errors + other.errors
            # While one replaces another there are two; a login's row is of who came last.
            if pid == page.living[-1].pid and page.listener != gateway.port:
                connections = connections + other.connections
                left_out += other.left_out
    newest = sorted(errors, key=attrgetter("time"), reverse=True)[: recent.MOST]
    return Details(time.time(), connections, left_out, newest)


def _others(page: Page) -> list[tuple[int, Told]]:
    return [
        (snapshot.pid, msgspec.msgpack.decode(snapshot.document["details"], type=Told))
        for snapshot in page.living
        # The version before an upgrade tells of none.
        if snapshot.pid != os.getpid() and "details" in snapshot.document
    ]


def _importance(login: Login) -> tuple[bool, int]:
    return login.state == CONNECTED, login.publishes
