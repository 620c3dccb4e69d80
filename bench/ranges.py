"""How the cost of a message moves with connections, bodies, users and exchanges."""

from collections.abc import Iterator

import load
from amqp_client import EXCHANGE, ROUTING_KEY, VIRTUAL_HOST
from results import Run
from stage import DIRECTORY, Stage, publishing

CONNECTIONS = (1, 8, 32, 128, 512, 1000)
# Bytes, and the client connections at which they are measured: of the largest so
# few that Application.publish.max_bytes, 64 MiB, has room for all.
BODIES = {0: 32, 100: 32, 2**10: 32, 2**14: 32, 2**16: 32, 2**20: 8, 10_000_000: 4}
PAIRS = (1, 10, 100, 1000)
HOSTS = 10  # virtual hosts that the pairs are spread over
EXCHANGES = (1, 10, 50, 200)


def connections(stage: Stage) -> Iterator[Run]:
    """Kept client connections, each with one request at a time."""
    with stage.statelessd() as gateway:
        for _ in stage.rounds:
            for count in CONNECTIONS:
                publish = publishing(gateway, count)
                yield stage.measure("connections", f"{count}", count, publish, gateway)


def bodies(stage: Stage) -> Iterator[Run]:
    """Bodies of 0 bytes to 10 MB, as a form and raw."""
    file = DIRECTORY / "body"
    kinds = {"form": (load.FORM, b"body="), "raw": ("application/octet-stream", b"")}
    with stage.statelessd() as gateway:
        for _ in stage.rounds:
            for size, count in BODIES.items():
                for kind, (content_type, before) in kinds.items():
                    file.write_bytes(before + b"x" * size)
                    publish = publishing(gateway, count, load.Shape(content_type, file))
                    yield stage.measure("bodies", f"{size} {kind}", count, publish, gateway)


def users(stage: Stage) -> Iterator[Run]:
    """Pairs of virtual host and user, each with a connection to RabbitMQ of its own, in turn."""
    hosts = [f"bench-{number}" for number in range(HOSTS)]
    names = [f"bench-{number}" for number in range(max(PAIRS) // HOSTS)]
    stage.define(hosts, ["bench", *names])
    queues = [stage.new_queue(virtual_host=host) for host in hosts]
    # The virtual hosts take turns, then the users.
    turns = [
        (f"/{host}/{EXCHANGE}/{ROUTING_KEY}", load.token(name)) for name in names for host in hosts
    ]
    with stage.statelessd() as gateway:
        for path, token in turns:  # the logins: their connections to the broker are kept
            if (status := gateway.publish(path, token)) != 204:
                raise RuntimeError(f"the first publish of a user was answered {status}")
        for _ in stage.rounds:
            for count in (32, 256):
                for pairs in PAIRS:
                    publish = publishing(gateway, count, load.Shape(turns=turns[:pairs]))
                    point = f"{pairs} in turn at {count}"
                    used = queues[:pairs]
                    yield stage.measure("users", point, count, publish, gateway, queues=used)


def exchanges(stage: Stage) -> Iterator[Run]:
    """Exchanges of one user in turn; 200 of them also where there are channels for 64."""
    names = [f"{EXCHANGE}-{number}" for number in range(max(EXCHANGES))]
    queues = [stage.new_queue(exchanges=[EXCHANGE, *names])]
    turns = [(f"/{VIRTUAL_HOST}/{name}/{ROUTING_KEY}", load.token()) for name in names]
    few = {"channels_per_connection": 64}
    starve = stage.statelessd("statelessd, 64 channels", rabbitmq=few)
    with stage.statelessd() as gateway, starve as starved:
        for _ in stage.rounds:
            for count in (32, 256):
                for number in EXCHANGES:
                    for each in (gateway, starved) if number == max(EXCHANGES) else (gateway,):
                        publish = publishing(each, count, load.Shape(turns=turns[:number]))
                        point = f"{number} at {count}"
                        yield stage.measure("exchanges", point, count, publish, each, queues=queues)
