"""Single publishes by every contender in turn: the table of ``make bench``.

Each point is measured in every round, one contender after the other, so that what
disturbs the machine disturbs all of them.
"""

import argparse
import functools
from collections.abc import Callable, Iterator

import gateways
import load
import publisher
import results
from amqp_client import EXCHANGE, PASSWORD, ROUTING_KEY, USER, VIRTUAL_HOST
from goals import LARGE_POINT
from stage import DIRECTORY, Stage

SMALL = 100  # bytes of the message
LARGE = 65536

CONTENDERS = ("statelessd", *gateways.PEERS, "management", "pipelined")


Contender = tuple[str, gateways.Gateway | None, Callable[[int, int, float], load.Load]]
"""A name; whose CPU is the gateway's, or None if all of it is the broker's; and what publishes
over so many connections, messages of so many bytes, for so many seconds."""


def points(options: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Return the name, connections and bytes of each."""
    small = [(f"{count}", count, SMALL) for count in options.connections]
    return [*small, (LARGE_POINT, 32, LARGE)] if options.large else small


def over_http(
    url: str, content_type: str, body: str, *, authorized: bool = True
) -> Callable[[int, int, float], load.Load]:
    """Return wrk's load with this body, in which ``#`` stands for the message."""
    file = DIRECTORY / "body"
    shape = load.Shape(content_type, file, authorized=authorized)

    def publish(connections: int, size: int, seconds: float) -> load.Load:
        file.write_text(body.replace("#", ("0123456789" * (size // 10 + 1))[:size]))
        return load.wrk(url, connections, seconds, shape)

    return publish


def contenders(stage: Stage) -> Iterator[Contender]:
    """Start those that take part; all stay up until the stage's end."""
    amqp = f"amqp://{USER}:{PASSWORD}@127.0.0.1:{stage.broker.amqp_port}/{VIRTUAL_HOST}"
    form = (load.FORM, "body=#&content-type=text%2Fplain")
    start = stage.stack.enter_context
    if "statelessd" in stage.options.only:
        ours = start(stage.statelessd())
        yield ours.name, ours, over_http(ours.url, *form)
    if "mq-bridge" in stage.options.only:
        port = gateways.free_port()
        program = (gateways.python_of("mq-bridge"), gateways.DIRECTORY / "rust_bridge.py")
        command = (*program, f"{port}", amqp, EXCHANGE, ROUTING_KEY)
        rust = start(stage.gateway(results.RUST, *command, port=port, path="/publish", success=202))
        plain = over_http(rust.url, "text/plain", "#", authorized=False)
        yield rust.name, rust, plain
    if "fastapi" in stage.options.only:
        port = gateways.free_port()
        server = (
            *(gateways.python_of("fastapi"), "-m", "uvicorn", "fastapi_aio_pika:app"),
            *("--app-dir", gateways.DIRECTORY, "--host", "127.0.0.1", "--port", f"{port}"),
            *("--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--log-level", "warning"),
        )
        where = {"AMQP_URL": amqp}
        fast = start(stage.gateway(results.FASTAPI, *server, port=port, environment=where))
        yield fast.name, fast, over_http(fast.url, *form)
    if "management" in stage.options.only:
        url = f"http://127.0.0.1:{stage.management_port}"
        url += f"/api/exchanges/{VIRTUAL_HOST}/{EXCHANGE}/publish"
        body = (
            '{"properties":{"delivery_mode":2,"content_type":"text/plain"},'
            f'"routing_key":"{ROUTING_KEY}","payload_encoding":"string","payload":"#"}}'
        )
        yield results.MANAGEMENT, None, over_http(url, "application/json", body)
    if "pipelined" in stage.options.only:
        broker = stage.broker.amqp_port
        yield results.PIPELINED, None, functools.partial(publisher.run, broker)


def singles(stage: Stage) -> Iterator[results.Run]:
    """Every gateway in turn, with messages of 100 bytes and of 64 KiB."""
    contending = list(contenders(stage))
    for _ in stage.rounds:
        for point, connections, size in points(stage.options):
            for name, gateway, publish in contending:
                load_of = functools.partial(publish, connections, size)
                yield stage.measure("singles", point, connections, load_of, gateway, name=name)
