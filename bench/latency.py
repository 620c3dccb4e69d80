"""Latency at half of the greatest rate: through the gateway, and by AMQP itself, in turn.

``bench/README.md``, "The whole range", says how the load is made.
"""

import argparse
import contextlib
import sys

import constant
from stage import Run, Stage, command

CONNECTIONS = 256  # of the search for the greatest rate
SHARE = 0.5


def measure(options: argparse.Namespace) -> list[Run]:
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, options)
        gateway = stack.enter_context(stage.statelessd())
        publish = stage.wrk(gateway, CONNECTIONS)
        greatest = stage.measure("latency", "greatest rate", gateway, CONNECTIONS, publish)
        rate = round(SHARE * greatest["requests_per_second"], -2) or 100
        point = f"{SHARE:.0%} of the greatest rate"
        runs = [greatest]
        for _ in range(stage.rounds):
            for name, way, port in (
                ("statelessd", "http", gateway.port),
                ("direct AMQP", "amqp", stage.broker.port),
            ):
                run = stage.measure(
                    "latency",
                    point,
                    gateway,
                    0,
                    lambda seconds, way=way, port=port: constant.run(way, port, rate, seconds),
                    name=name,
                )
                run |= {"rate": rate}
                # Beside AMQP itself the gateway is idle.
                runs.append(run | ({"gateway_us": 0.0} if way == "amqp" else {}))
        return runs


if __name__ == "__main__":
    sys.exit(command("bench/latency.py", __doc__ or "", measure))
