"""Single publishes by every contender in turn: the tables of ``make bench``.

Each point is measured in every round, one contender after the other, so that what
disturbs the machine disturbs all of them.
"""

import argparse
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gateways
import load
import publisher
import results
from amqp_client import EXCHANGE, ROUTING_KEY, VIRTUAL_HOST
from goals import LARGE_POINT
from stage import DIRECTORY, Stage

SMALL = 100  # bytes of the message
LARGE = 65536

FORM = (load.FORM, "body=#&content-type=text%2Fplain")
AT = (1, 32, 256)  # connections of the singles
PAIRED_AT = (32, 256)

Point = tuple[str, int, int]
"""A name, connections, and the bytes of a message."""
Contender = tuple[str, gateways.Gateway | None, Callable[[int, int, float], load.Load]]
"""A name; whose CPU is the gateway's, or None if all of it is the broker's; and what publishes
over so many connections, messages of so many bytes, for so many seconds."""


def points(options: argparse.Namespace, usual: Sequence[int] = AT) -> list[Point]:
    """Return the points of the options, or those of the usual numbers of connections."""
    small = [(f"{count}", count, SMALL) for count in options.connections or usual]
    return [*small, (LARGE_POINT, 32, LARGE)] if options.large else small


def over_http(
    url: str,
    content_type: str,
    body: str,
    *,
    authorized: bool = True,
    ports: Sequence[int] = (),
) -> Callable[[int, int, float], load.Load]:
    """Return wrk's load with this body, in which ``#`` stands for the message."""
    file = DIRECTORY / "body"
    shape = load.Shape(content_type, file, authorized=authorized, ports=ports)

    def publish(connections: int, size: int, seconds: float) -> load.Load:
        file.write_text(body.replace("#", ("0123456789" * (size // 10 + 1))[:size]))
        return load.wrk(url, connections, seconds, shape)

    return publish


def statelessd(stage: Stage, form: str = "pure", backends: int = 1) -> Contender:
    """One of ours; of two backends each has a core if half of the cores are enough."""
    ports = [gateways.free_port() for _ in range(backends)]
    name = results.OURS if form == "pure" else results.COMPILED
    more: dict[str, Any] = {"port": ports[0], "http": {"ports": ports}, "form": form}
    if backends > 1:
        name = f"{name}, {backends} backends"
        more["cores"] = stage.of_backends(backends)
    ours = stage.stack.enter_context(stage.statelessd(name, **more))
    return name, ours, over_http(ours.url, *FORM, ports=ports if backends > 1 else ())


def mq_bridge(stage: Stage) -> Contender:
    port = gateways.free_port()
    program = (gateways.python_of("mq-bridge"), gateways.DIRECTORY / "rust_bridge.py")
    command = (*program, f"{port}", stage.amqp_url, EXCHANGE, ROUTING_KEY)
    start = stage.gateway(results.RUST, *command, port=port, path="/publish", success=202)
    rust = stage.stack.enter_context(start)
    return rust.name, rust, over_http(rust.url, "text/plain", "#", authorized=False)


def fastapi(stage: Stage) -> Contender:
    port = gateways.free_port()
    server = (
        *(gateways.python_of("fastapi"), "-m", "uvicorn", "fastapi_aio_pika:app"),
        *("--app-dir", gateways.DIRECTORY, "--host", "127.0.0.1", "--port", f"{port}"),
        *("--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "warning"),
    )
    where = {"AMQP_URL": stage.amqp_url}
    start = stage.gateway(results.FASTAPI, *server, port=port, environment=where)
    fast = stage.stack.enter_context(start)
    return fast.name, fast, over_http(fast.url, *FORM)


def management(stage: Stage) -> Contender:
    url = f"http://127.0.0.1:{stage.management_port}"
    url += f"/api/exchanges/{VIRTUAL_HOST}/{EXCHANGE}/publish"
    body = (
        '{"properties":{"delivery_mode":2,"content_type":"text/plain"},'
        f'"routing_key":"{ROUTING_KEY}","payload_encoding":"string","payload":"#"}}'
    )
    return results.MANAGEMENT, None, over_http(url, "application/json", body)


def pipelined(stage: Stage) -> Contender:
    return results.PIPELINED, None, functools.partial(publisher.run, stage.broker.amqp_port)


# In the order of a round: those whose ratios matter most are neighbours.
CONTENDERS: dict[str, Callable[[Stage], Contender]] = {
    "mq-bridge": mq_bridge,
    "statelessd": statelessd,
    "compiled": functools.partial(statelessd, form="compiled"),
    "pipelined": pipelined,
    "fastapi": fastapi,
    "management": management,
}
PAIRED = ("mq-bridge", "statelessd", "compiled", "pipelined")


def singles(stage: Stage) -> Iterator[results.Run]:
    """Every gateway in turn, with messages of 100 bytes and of 64 KiB."""
    contending = [start(stage) for name, start in CONTENDERS.items() if name in stage.options.only]
    for _ in stage.rounds:
        for point in points(stage.options):
            yield from measure(stage, "singles", point, contending)


def runs_of_singles(options: argparse.Namespace) -> int:
    return len(points(options)) * len(options.only)


def paired(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the contenders of the pairs, and the form of two backends, if one takes part."""
    names = [name for name in PAIRED if name in options.only]
    of_two = [
        form for form, name in (("compiled", "compiled"), ("pure", "statelessd")) if name in names
    ]
    return names, of_two[:1]


def runs_of_pairs(options: argparse.Namespace) -> int:
    names, of_two = paired(options)
    at = points(options, PAIRED_AT)
    small = sum(size == SMALL for _, _, size in at)
    return len(at) * len(names) + small * len(of_two)


def pairs(stage: Stage) -> Iterator[results.Run]:
    """The gateways whose ratios are goals: short runs in turn, each round in the other order."""
    names, of_two = paired(stage.options)
    contending = [CONTENDERS[name](stage) for name in names]
    two = [statelessd(stage, form, backends=2) for form in of_two]
    for number in stage.rounds:
        for point in points(stage.options, PAIRED_AT):
            turn = contending if point[0] == LARGE_POINT else [*contending, *two]
            yield from measure(stage, "pairs", point, turn[:: -1 if number % 2 else 1])


def measure(
    stage: Stage, scenario: str, point: Point, contending: Sequence[Contender]
) -> Iterator[results.Run]:
    """Measure a point with one contender after the other."""
    where, connections, size = point
    for name, gateway, publish in contending:
        load_of = functools.partial(publish, connections, size)
        yield stage.measure(scenario, where, connections, load_of, gateway, name=name)
