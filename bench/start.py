"""What a benchmark runs against: a broker of its own, and gateways, ended with the benchmark."""

import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import environment
import gateways
import processes
from broker import Broker, BrokerError
from measured_queue import PASSWORD, USER, VIRTUAL_HOST

RUN = Path(__file__).resolve().parent.parent / ".run"
NAMES = {
    "statelessd": "statelessd",
    "mq-bridge": "mq-bridge-basic",
    "fastapi": "FastAPI + aio-pika",
}

PEERS = {"mq-bridge": "rust_bridge", "fastapi": "fastapi_aio_pika"}  # in bench/peers

# Without statistics: counting every message would cost the others' runs too.
MANAGEMENT = """\
management.tcp.ip = 127.0.0.1
management.tcp.port = {port}
management.disable_stats = true
management_agent.disable_metrics_collector = true
"""


def end_in_order() -> None:
    """From now on Ctrl-C and SIGTERM are an exception: what was started is ended on the way out."""

    def leave(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)


def start_broker(
    stack: contextlib.ExitStack, nodes: int = 1, *, management_port: int = 0
) -> tuple[gateways.Broker, list[int]]:
    """A private RabbitMQ, to be ended with ``stack``, and its emulators' process ids.

    Of a cluster the first node takes the connections. Always one of its own,
    AMQP_URL or not: another's could be neither pinned nor emptied, and its CPU
    would be spent on others too.
    """
    rabbitmq = Broker(
        RUN / "bench" / (f"cluster-{nodes}" if nodes > 1 else "broker"),
        nodes=nodes,
        extra_conf=MANAGEMENT.format(port=management_port) if management_port else "",
        plugins=("rabbitmq_management",) if management_port else (),
    )
    if rabbitmq.running:
        raise BrokerError(
            "another benchmark runs, or one was killed; "
            f"then: .venv/bin/python scripts/broker.py stop --run-dir {rabbitmq.run_dir}"
        )
    print("starting RabbitMQ", flush=True)
    stack.callback(rabbitmq.stop)
    rabbitmq.start()
    emulators = [
        processes.named("beam.smp", processes.tree_of(each.pid)) for each in rabbitmq.nodes
    ]
    _add_user(rabbitmq)
    return gateways.Broker(rabbitmq.amqp_port, USER, PASSWORD), emulators


def new_broker(name: str, **more: Any) -> Broker:
    """A RabbitMQ without anything from an earlier run, to be started; ``more`` is for Broker.

    Raises BrokerError when one of that name runs.
    """
    broker = Broker(RUN / "bench" / name, **more)
    if any(node.process for node in broker.nodes):
        raise BrokerError(f"another benchmark uses {broker.run_dir}")
    shutil.rmtree(broker.run_dir)
    return Broker(broker.run_dir, **more)


def _add_user(rabbitmq: Broker) -> None:
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        # With the tag the management API takes publishes, too.
        "users": [{"name": USER, "password": PASSWORD, "tags": "management"}],
        "permissions": [{"user": USER, "vhost": VIRTUAL_HOST, **rights}],
    }
    file = rabbitmq.run_dir / "user.json"
    file.write_text(json.dumps(definitions))
    rabbitmq.ctl("import_definitions", str(file))


def peer_python(name: str) -> Path:
    """The interpreter for a gateway that is a peer. Raises as ``environment.python_with``."""
    return environment.python_with(environment.requirements_of(PEERS[name]), RUN / f"bench-{name}")


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
        "fastapi": lambda port: gateways.fastapi(peer_python("fastapi"), port, broker),
        "mq-bridge": lambda port: gateways.mq_bridge(peer_python("mq-bridge"), port, broker),
    }
    running = {}
    for name in names:
        unusual = {"path": "/publish", "success": 202} if name == "mq-bridge" else {}
        gateway = gateways.Gateway(NAMES[name], directory / f"{name}.log", cores.gateway, **unusual)
        stack.callback(gateway.stop)
        gateway.start(starters[name](gateway.port), broker)
        print(f"{gateway.name}: ready after {gateway.seconds_to_first_204:.2f} s", flush=True)
        running[name] = gateway
    return running
