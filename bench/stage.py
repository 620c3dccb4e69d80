"""A broker, gateways, and the one procedure by which every run is measured."""

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import ssl
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import forms
import load
import processes
import results
from amqp_client import PASSWORD, USER, VIRTUAL_HOST, MeasuredQueue, empty
from broker import Broker, BrokerError
from gateways import PATH, RUN, Gateway, free_port

Publish = Callable[[float], load.Load]
"""A load of so many seconds."""

DIRECTORY = RUN / "bench"

# Without statistics: counting every message would cost the others' runs too.
MANAGEMENT = """\
management.tcp.ip = 127.0.0.1
management.tcp.port = {port}
management.disable_stats = true
management_agent.disable_metrics_collector = true
"""


def end_in_order() -> None:
    """Turn Ctrl-C and SIGTERM into an exception, so that what was started is ended."""

    def leave(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)


def divide(available: Collection[int], pin: bool, backends: int = 1) -> tuple[list[int], list[int]]:
    """Return the cores of up to so many backends, and those of broker and load.

    A backend is one thread. Half of the cores, at most, are the backends'.
    """
    cores = sorted(available)
    at = max(1, min(backends, len(cores) // 2))
    return (cores[:at], cores[at:]) if pin and len(cores) > 1 else (cores, cores)


def publishing(gateway: Gateway, connections: int, shape: load.Shape = load.Shape()) -> Publish:  # noqa: B008 - it is frozen
    """Return wrk's load against a gateway."""
    return lambda seconds: load.wrk(gateway.url, connections, seconds, shape)


def new_broker(name: str, **more: Any) -> Broker:
    """Return a broker with nothing of an earlier run. Raise BrokerError if that still runs."""
    broker = Broker(DIRECTORY / name, **more)
    if any(node.process for node in broker.nodes):
        raise BrokerError(
            "another benchmark runs, or one was killed; "
            f"then: .venv/bin/python scripts/broker.py stop --run-dir {broker.run_dir}"
        )
    shutil.rmtree(broker.run_dir)  # the ports in it may be another's by now
    return Broker(broker.run_dir, **more)


class Stage:
    """A private broker with the measured queue, for as long as ``stack`` lives.

    Of a cluster the first node takes the connections. The broker is always one of its own,
    AMQP_URL or not: another's could be neither pinned nor emptied, and its CPU would be
    spent on others too. ``backends``: for how many there are cores, where there are enough.
    ``management``: whether its API takes publishes.
    """

    def __init__(
        self,
        stack: contextlib.ExitStack,
        options: argparse.Namespace,
        *,
        backends: int = 1,
        management: bool = False,
    ) -> None:
        self.options = options
        self.rounds = range(options.rounds)
        self.stack = stack
        self.available = sorted(os.sched_getaffinity(0))
        kept, others = divide(self.available, not options.no_pin, backends)
        self.cores, self._kept = (kept if options.no_pin else kept[:1]), kept
        stack.callback(os.sched_setaffinity, 0, self.available)
        os.sched_setaffinity(0, others)  # the broker and the load inherit this
        self.where = f"The gateway runs on cores {kept}, broker and load on {others}"
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        self.management_port = free_port() if management else 0
        self.broker = new_broker(
            f"cluster-{options.nodes}" if options.nodes > 1 else "broker",
            nodes=options.nodes,
            extra_conf=MANAGEMENT.format(port=self.management_port) if management else "",
            plugins=("rabbitmq_management",) if management else (),
        )
        stack.callback(self.broker.stop)
        self.broker.start()
        nodes = (processes.tree_of(node.pid) for node in self.broker.nodes)
        self._broker_pids = [processes.named("beam.smp", tree) for tree in nodes]
        self.define([VIRTUAL_HOST], [USER])
        self.queue = self.new_queue()

    @property
    def amqp_url(self) -> str:
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.broker.amqp_port}/{VIRTUAL_HOST}"

    def of_backends(self, count: int) -> list[int]:
        """Return a core for each backend, where half of the cores are enough for that."""
        return self._kept if self.options.no_pin else self._kept[:count]

    def define(self, hosts: Sequence[str], users: Sequence[str]) -> None:
        """Make virtual hosts, and users who may do everything in all of them."""
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "vhosts": [{"name": host} for host in hosts],
            # With the tag the management API takes publishes, too.
            "users": [{"name": user, "password": PASSWORD, "tags": "management"} for user in users],
            "permissions": [{"user": u, "vhost": host, **rights} for u in users for host in hosts],
        }
        file = DIRECTORY / "definitions.json"
        file.write_text(json.dumps(definitions))
        self.broker.ctl("import_definitions", str(file))

    def new_queue(self, **where: Any) -> MeasuredQueue:
        """Declare a queue in place of an earlier one of the same virtual host."""
        queue = MeasuredQueue(self.broker.amqp_port, self.options.queue_type, **where)
        self.stack.callback(queue.close)
        return queue

    @contextlib.contextmanager
    def gateway(
        self, name: str, *command: str | Path, port: int, kind: type[Gateway] = Gateway, **more: Any
    ) -> Iterator[Gateway]:
        """Start a gateway on its core, and wait until it has confirmed a publish."""
        given = {"cores": self.cores} | more
        gateway = kind(name, command, DIRECTORY / f"gateway-{port}.log", port=port, **given)
        try:
            gateway.wait_until_it_publishes()
            yield gateway
        finally:
            gateway.stop()

    @contextlib.contextmanager
    def statelessd(
        self,
        name: str = results.OURS,
        *,
        http: dict[str, Any] | None = None,
        rabbitmq: dict[str, Any] | None = None,
        port: int = 0,
        cores: Collection[int] = (),
        tls: ssl.SSLContext | None = None,
        form: str = "",
    ) -> Iterator[Gateway]:
        """Start one of ours with its defaults, but for these settings of its YAML file.

        ``port``: where it is asked, if that is not its own. ``form``: that of the options if
        it is not said.
        """
        pure = (form or self.options.form) == "pure"
        source = forms.PURE if pure else self.options.compiled
        if not pure and results.COMPILED not in name:
            name = name.replace(results.OURS, results.COMPILED, 1)
        port = port or free_port()
        broker = {"host": "127.0.0.1", "port": self.broker.amqp_port}
        config = {
            "Application": {"rabbitmq": broker | (rabbitmq or {})},
            "HTTPServer": {"address": "127.0.0.1", "ports": [port]} | (http or {}),
        }
        file = DIRECTORY / f"statelessd-{port}.yaml"
        file.write_text(yaml.safe_dump(config))
        command = (sys.executable, "-m", "statelessd", "-c", file)
        given: dict[str, Any] = {"cores": cores or self.cores, "tls": tls, "path": PATH}
        given["environment"] = {"PYTHONPATH": str(source)}
        with self.gateway(name, *command, port=port, **given) as gateway:
            forms.check(source, gateway.pids)
            yield gateway
        file.unlink()

    def measure(
        self,
        scenario: str,
        point: str,
        connections: int,
        publish: Publish,
        gateway: Gateway | None,
        *,
        name: str = "",
        queues: Sequence[MeasuredQueue] = (),
        also: dict[str, list[int]] | None = None,
    ) -> results.Run:
        """Warm up, empty the queues, publish, count everything, and print a line.

        ``gateway``: whose CPU and memory count; None if nobody's do. ``name``: who publishes,
        if it is not the gateway. ``also``: more processes whose CPU is a figure.
        """
        queues = queues or [self.queue]
        publish(self.options.warm_up)
        empty(queues)
        pids = {"broker_us": self._broker_pids, **(also or {})}
        if gateway:
            pids["gateway_us"] = gateway.pids
        before = _cpu_seconds(pids)
        counted = publish(self.options.seconds)
        after = _cpu_seconds(pids)
        cpu = {figure: after[figure] - before[figure] for figure in after}
        resident = processes.resident_bytes(gateway.pids) if gateway else None
        found = empty(queues)
        names = scenario, point, name or (gateway.name if gateway else "")
        run = results.run(names, connections, counted, cpu, resident, found)
        print(f"{time.strftime('%H:%M:%S')} {results.line(run)}", flush=True)
        return run


def _cpu_seconds(pids: dict[str, list[int]]) -> dict[str, float]:
    """Return the CPU time of each, and of the loads: of our children only they have ended."""
    loads = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {figure: processes.cpu_seconds(each) for figure, each in pids.items()}
    return found | {"load_us": loads.ru_utime + loads.ru_stime}
