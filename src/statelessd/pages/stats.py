"""``GET /stats``: the original's document. ``host``, ``broker`` and ``form`` are new."""

import os
import resource
import socket
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..broker.logins import Login
from ..form import FORM
from ..gateway.gateway import Gateway
from .monitoring import Monitoring
from .page import Page, monitoring_of


def document(gateway: Gateway, logins: Sequence[Login] | None = None) -> dict[str, Any]:
    """Return the document of this process, in the units of getrusage(2) and seconds.

    ``logins`` are the publisher's, if they are at hand.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    broker = gateway.publisher.broker_state()
    return {
        "host": socket.gethostname(),
        "port": gateway.port,
        "timestamp": int(time.time()),
        "connections": gateway.publisher.connection_statistics(logins),
        "form": FORM,
        "broker": {"state": broker.state.value, "reason": broker.reason},
        "requests": gateway.statistics.document(),
        "cpu_time": {"user": usage.ru_utime, "system": usage.ru_stime},
        "memory_usage": usage.ru_maxrss,
        "page_size": resource.getpagesize(),
        "page_faults": {"minor": usage.ru_minflt, "major": usage.ru_majflt},
        "context_switches": usage.ru_nvcsw + usage.ru_nivcsw,
        "swap_outs": usage.ru_nswap,
        "block": {"input": usage.ru_inblock, "output": usage.ru_oublock},
        "signals_received": usage.ru_nsignals,
    }


SUMMED = ("connections", "requests", "cpu_time", "memory_usage")


def of_all(monitoring: Monitoring) -> dict[str, Any]:
    """Return the documents of all backends, those of the others a second old, and their sum."""
    others = [
        msgspec.msgpack.decode(snapshot.documents["stats"])
        for page in monitoring.pages()
        for snapshot in page.living
        if snapshot.pid != os.getpid()
    ]
    backends = [document(monitoring.gateway), *others]
    total: dict[str, Any] = {}
    for each in backends:
        _add(total, {name: each[name] for name in SUMMED})
    return {"backends": backends, "total": total}


def _add(total: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        elif isinstance(value, bool):
            total[name] = total.get(name, False) or value
        else:
            total[name] = total.get(name, 0) + value


class Stats(Page):
    """The document as JSON, never from a cache; with ``?scope=all`` that of all backends."""

    async def get(self, request: Request) -> Response:
        monitoring = monitoring_of(request)
        gateway = monitoring.gateway
        await gateway.publisher.ask_broker()
        all_backends = request.query_params.get("scope") == "all"
        return Response(
            msgspec.json.encode(of_all(monitoring) if all_backends else document(gateway)),
            media_type="application/json; charset=UTF-8",
            headers={"cache-control": "no-cache"},
        )
