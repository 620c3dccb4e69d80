"""How long a publish takes at a constant rate: through the gateway, and over AMQP itself."""

import argparse
import functools
from collections.abc import Iterator

import load
import open_loop
import results
from gateways import Gateway
from stage import Publish, Stage, publishing

CONNECTIONS = 256  # of the full load
SHARES = (10, 50)  # per cent of it


def runs(options: argparse.Namespace) -> int:
    return len(SHARES) * (2 + ("compiled" in options.only))


def latency(stage: Stage) -> Iterator[results.Run]:
    """Confirms at 10 and 50 % of what the pure form takes, beside AMQP on an open connection."""
    pure = stage.stack.enter_context(stage.statelessd(form="pure"))
    ways: list[tuple[str, Gateway | None, str, int]] = [(pure.name, pure, "http", pure.port)]
    if "compiled" in stage.options.only:
        other = stage.statelessd(results.COMPILED, form="compiled")
        compiled = stage.stack.enter_context(other)
        ways.append((compiled.name, compiled, "http", compiled.port))
    ways.append((results.OPEN, None, "amqp", stage.broker.amqp_port))
    full = full_load(stage, publishing(pure, CONNECTIONS))
    for number in stage.rounds:
        for share in SHARES:
            rate = full * share / 100
            for name, gateway, kind, port in ways[:: -1 if number % 2 else 1]:
                publish: Publish = functools.partial(open_loop.run, kind, port, rate)
                point = f"{share} % load"
                yield stage.measure("latency", point, 0, publish, gateway, name=name)


def full_load(stage: Stage, publish: Publish) -> float:
    """Return the most that goes through in a second, by one run of wrk; the queue is emptied."""
    publish(stage.options.warm_up)
    found: load.Load = publish(stage.options.seconds)
    return found.confirmed / found.seconds
