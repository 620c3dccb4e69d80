"""Single publishes by every contender in turn: the table of ``make bench``.

Each point is measured in every round, one contender after the other, so that what
disturbs the machine disturbs all of them.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gateways
import load
import publisher
import results
from amqp_client import EXCHANGE, PASSWORD, ROUTING_KEY, USER, VIRTUAL_HOST
from goals import LARGE_POINT
from stage import DIRECTORY, RUN, Publish, Stage

SMALL = 100  # bytes of the message
LARGE = 65536

PEERS = {"mq-bridge": "rust_bridge", "fastapi": "fastapi_aio_pika"}  # in bench/peers
CONTENDERS = ("statelessd", *PEERS, "management", "pipelined")


@dataclass(frozen=True)
class Contender:
    """Who publishes messages of so many bytes over so many connections.

    ``gateway``: whose CPU is the gateway's; without one all of it is the broker's.
    """

    name: str
    gateway: gateways.Gateway | None
    publish: Callable[[int, int], Publish]


def points(options: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Return the name, connections and bytes of each."""
    small = [(f"{count}", count, SMALL) for count in options.connections]
    return [*small, (LARGE_POINT, 32, LARGE)] if options.large else small


def over_http(
    url: str, content_type: str, body: str, *, authorized: bool = True
) -> Callable[[int, int], Publish]:
    """Return wrk's load with this body, in which ``%`` stands for the message."""

    def publish(connections: int, size: int) -> Publish:
        file = DIRECTORY / "body"
        shape = load.Shape(content_type, file, authorized=authorized)

        def run(seconds: float) -> load.Load:
            file.write_text(body.replace("%", ("0123456789" * (size // 10 + 1))[:size]))
            return load.wrk(url, connections, seconds, shape)

        return run

    return publish


def contenders(stage: Stage) -> Iterator[Contender]:
    """Start those that take part; all stay up until the stage's end."""
    amqp = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{stage.broker.amqp_port}/{VIRTUAL_HOST}"
    port = gateways.free_port()
    form = (load.FORM, "body=%&content-type=text/plain")
    start = stage.stack.enter_context
    if "statelessd" in stage.options.only:
        ours = start(stage.statelessd())
        yield Contender(ours.name, ours, over_http(ours.url, *form))
    if "mq-bridge" in stage.options.only:
        program = (python_of("mq-bridge"), gateways.PEERS / "rust_bridge.py")
        command = (*program, f"{port}", amqp, EXCHANGE, ROUTING_KEY)
        rust = start(stage.gateway(results.RUST, *command, port=port, path="/publish", success=202))
        plain = over_http(rust.url, "text/plain", "%", authorized=False)
        yield Contender(rust.name, rust, plain)
    if "fastapi" in stage.options.only:
        port = gateways.free_port()
        server = (
            *(python_of("fastapi"), "-m", "uvicorn", "fastapi_aio_pika:app"),
            *("--app-dir", gateways.PEERS, "--host", "127.0.0.1", "--port", f"{port}"),
            *("--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--log-level", "warning"),
        )
        where = {"AMQP_URL": amqp}
        fast = start(stage.gateway(results.FASTAPI, *server, port=port, environment=where))
        yield Contender(fast.name, fast, over_http(fast.url, *form))
    if "management" in stage.options.only:
        url = f"http://127.0.0.1:{stage.management_port}"
        url += f"/api/exchanges/{VIRTUAL_HOST}/{EXCHANGE}/publish"
        body = (
            '{"properties":{"delivery_mode":2,"content_type":"text/plain"},'
            f'"routing_key":"{ROUTING_KEY}","payload_encoding":"string","payload":"%"}}'
        )
        yield Contender(results.MANAGEMENT, None, over_http(url, "application/json", body))
    if "pipelined" in stage.options.only:
        broker = stage.broker.amqp_port
        yield Contender(
            results.PIPELINED,
            None,
            lambda window, size: lambda seconds: publisher.run(broker, window, size, seconds),
        )


def python_of(name: str) -> Path:
    """Return the interpreter of a peer. Raise ``CalledProcessError`` if pip fails."""
    return gateways.python_of(PEERS[name], RUN / f"bench-{name}")


def singles(stage: Stage) -> Iterator[results.Run]:
    """Every gateway in turn, with messages of 100 bytes and of 64 KiB."""
    contending = list(contenders(stage))
    for _ in stage.rounds:
        for point, connections, size in points(stage.options):
            for each in contending:
                publish = each.publish(connections, size)
                yield stage.measure(
                    "singles", point, connections, publish, each.gateway, name=each.name
                )
