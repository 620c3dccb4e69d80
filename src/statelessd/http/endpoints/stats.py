"""``GET /stats``: the original's document, key for key; ``host`` and ``broker`` are new."""

import resource
import socket
import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..gateway import Gateway
from .page import Page, gateway_of


def document(gateway: Gateway) -> dict[str, Any]:
    """The figures of this process; units are those of getrusage(2), times in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    broker = gateway.publisher.broker_state()
    return {
        "host": socket.gethostname(),
        "port": gateway.port,
        "timestamp": int(time.time()),
        "connections": gateway.publisher.connection_statistics(),
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


class Stats(Page):
    """The document as JSON, never from a cache."""

    async def get(self, request: Request) -> Response:
        return Response(
            msgspec.json.encode(document(gateway_of(request))),
            media_type="application/json; charset=UTF-8",
            headers={"cache-control": "no-cache"},
        )
