"""What a benchmark runs against: a broker of its own, and gateways, ended with the benchmark."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import environment
import gateways
import processes
from broker import Broker, BrokerError

RUN = Path(__file__).resolve().parent.parent / ".run"
NAMES = {"statelessd": "statelessd", "peer": "FastAPI + aio-pika"}


def start_broker(stack: contextlib.ExitStack, nodes: int = 1) -> tuple[gateways.Broker, list[int]]:
    """A private RabbitMQ, to be ended with ``stack``, and its emulators' process ids.

    Of a cluster the first node takes the connections. Always one of its own,
    AMQP_URL or not: another's could be neither pinned nor emptied, and its CPU
    would be spent on others too.
    """
    rabbitmq = Broker(RUN / "bench" / (f"cluster-{nodes}" if nodes > 1 else "broker"), nodes=nodes)
    if rabbitmq.running:
        raise BrokerError(
            "another benchmark runs, or one was killed; "
            f"then: scripts/broker.py stop --run-dir {rabbitmq.run_dir}"
        )
    print("starting RabbitMQ", flush=True)
    stack.callback(rabbitmq.stop)
    rabbitmq.start()
    emulators = [
        processes.named("beam.smp", processes.tree_of(each.pid)) for each in rabbitmq.nodes
    ]
    return gateways.Broker(rabbitmq.amqp_port, "guest", "guest"), emulators


def start_gateways(
    names: Sequence[str],
    broker: gateways.Broker,
    cores: environment.Cores,
    stack: contextlib.ExitStack,
) -> dict[str, gateways.Gateway]:
    """Start the named gateways, to be ended with ``stack``; they stay up for the whole run."""
    directory = RUN / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    starters = {
        "statelessd": lambda port: gateways.statelessd(
            Path(sys.executable), port, broker, directory
        ),
        "peer": lambda port: gateways.fastapi(
            environment.peer_python(RUN / "bench-venv"), port, broker
        ),
    }
    running = {}
    for name in names:
        gateway = gateways.Gateway(NAMES[name], directory / f"{name}.log", cores.gateway)
        stack.callback(gateway.stop)
        gateway.start(starters[name](gateway.port), broker)
        print(f"{gateway.name}: first 204 after {gateway.seconds_to_first_204:.2f} s", flush=True)
        running[name] = gateway
    return running
