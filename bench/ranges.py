"""How the cost of a message moves with connections, bodies, users and exchanges.

``bench/README.md``, "The whole range", says what the points are.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator

import load
import many_users
from measured_queue import EXCHANGE, PASSWORD, USER, VIRTUAL_HOST
from stage import DIRECTORY, Run, Scenarios, Stage, command, play

CONNECTIONS = (1, 8, 32, 128, 512, 1000)
# Bytes, and the client connections at which they are measured: of the largest so
# few that Application.publish.max_bytes, 64 MiB, has room for all.
BODIES = {0: 32, 100: 32, 2**10: 32, 2**14: 32, 2**16: 32, 2**20: 8, 10_000_000: 4}
PAIRS = (1, 10, 100, 1000)
HOSTS = 10  # virtual hosts that the pairs are spread over
EXCHANGES = (1, 10, 50, 200)


def connections(stage: Stage) -> Iterator[Run]:
    with stage.statelessd() as gateway:
        for _ in range(stage.rounds):
            for count in CONNECTIONS:
                publish = stage.wrk(gateway, count)
                yield stage.measure("connections", f"{count}", gateway, count, publish)


def bodies(stage: Stage) -> Iterator[Run]:
    file = DIRECTORY / "body"
    with stage.statelessd() as gateway:
        for _ in range(stage.rounds):
            for size, count in BODIES.items():
                for kind in ("form", "raw"):
                    content = b"x" * size
                    file.write_bytes(b"body=" + content if kind == "form" else content)
                    shape = (
                        load.Shape(body_file=file)
                        if kind == "form"
                        else load.Shape("application/octet-stream", body_file=file)
                    )
                    publish = stage.wrk(gateway, count, shape)
                    yield stage.measure("bodies", f"{size} {kind}", gateway, count, publish)
    file.unlink()


def users(stage: Stage) -> Iterator[Run]:
    """Each client connection keeps its user, or each request has another's."""
    _make_users(stage)
    with stage.statelessd() as gateway:
        first = [stage.new_queue(virtual_host="bench-0")]
        queues = [*first, *(stage.new_queue(virtual_host=f"bench-{n}") for n in range(1, HOSTS))]
        for _ in range(stage.rounds):
            for order, count in (("in turn", 32), ("in turn", 256), ("kept", 1000)):
                for pairs in PAIRS:
                    requests = [_request(number) for number in range(pairs)]
                    # The logins: each pair's connection to the broker is there afterwards.
                    many_users.run(gateway.port, 8, 60, requests, "once")
                    yield stage.measure(
                        "users",
                        f"{pairs} {order} at {count}",
                        gateway,
                        count,
                        lambda seconds, requests=requests, order=order, count=count: many_users.run(
                            gateway.port, count, seconds, requests, order
                        ),
                        queues=first if pairs == 1 else queues,
                        warm_up=2,
                    )


def _request(number: int) -> str:
    """Of pair ``number``: the virtual hosts take turns, then the users."""
    token = base64.b64encode(f"bench-{number // HOSTS}:{PASSWORD}".encode()).decode()
    form = "body=" + "0123456789" * 10 + "&content-type=text%2Fplain"
    return (
        f"POST /bench-{number % HOSTS}/{EXCHANGE}/bench.message HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Basic {token}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(form)}\r\n\r\n{form}"
    )


def _make_users(stage: Stage) -> None:
    """The virtual hosts, and the users, who may do everything in all of them."""
    hosts = [f"bench-{number}" for number in range(HOSTS)]
    names = [f"bench-{number}" for number in range(-(-max(PAIRS) // HOSTS))]
    salt = b"salt"
    hashed = base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    file = DIRECTORY / "users.json"
    definitions = {
        "vhosts": [{"name": host} for host in hosts],
        "users": [{"name": name, "password_hash": hashed, "tags": [],
                   "hashing_algorithm": "rabbit_password_hashing_sha256"}
                  for name in names],
        "permissions": [{"user": user, "vhost": host, **everything}
                        for user in (*names, USER) for host in hosts],
    }  # fmt: skip
    file.write_text(json.dumps(definitions))
    stage.rabbitmqctl("import_definitions", str(file))


def exchanges(stage: Stage) -> Iterator[Run]:
    """With channels for all of them, as is the default; and where there are too few."""
    names = [f"{EXCHANGE}-{number}" for number in range(max(EXCHANGES))]
    queue = stage.new_queue(exchanges=[EXCHANGE, *names])
    few = {"channels_per_connection": 64}
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(stage.statelessd())
        starved = stack.enter_context(stage.statelessd("statelessd, 64 channels", rabbitmq=few))
        for _ in range(stage.rounds):
            for count in (32, 256):
                for number in EXCHANGES:
                    paths = [f"/{VIRTUAL_HOST}/{name}/bench.message" for name in names[:number]]
                    asked = [gateway] if number < max(EXCHANGES) else [gateway, starved]
                    for each in asked:
                        publish = stage.wrk(each, count, load.Shape(paths=paths))
                        point = f"{number} at {count}"
                        yield stage.measure(
                            "exchanges", point, each, count, publish, queues=[queue]
                        )


SCENARIOS: Scenarios = {
    "connections": connections,
    "bodies": bodies,
    "users": users,
    "exchanges": exchanges,
}


def measure(options: argparse.Namespace) -> list[Run]:
    """As ``stage.play``."""
    return play(SCENARIOS, options)


if __name__ == "__main__":
    sys.exit(command("bench/ranges.py", __doc__ or "", measure, list(SCENARIOS)))
