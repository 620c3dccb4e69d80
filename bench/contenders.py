"""Who takes part in the table: each publishes so many bytes, over so many connections."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import ceiling
import gateways
import load
from measured_queue import EXCHANGE, VIRTUAL_HOST

OURS = "statelessd"
RUST = "mq-bridge-basic"
FASTAPI = "FastAPI + aio-pika"
MANAGEMENT = "management API"
CEILING = "pipelined AMQP"
# In every scenario: a change of theirs is none of our code.
OTHERS = {RUST, FASTAPI, MANAGEMENT, CEILING, "direct AMQP", "php-amqplib", "php-amqp"}


class Contender(Protocol):
    """``pids``: of its processes, whose CPU is the gateway's; of some there are none."""

    name: str

    @property
    def pids(self) -> list[int]: ...

    def publish(self, connections: int, seconds: float, size: int) -> load.Load: ...


@dataclass(frozen=True)
class Wrapping:
    """What is around the message in a request's body, and how the request is sent."""

    shape: load.Shape
    before: str = ""
    after: str = ""


FORM = Wrapping(load.Shape(), "body=", "&content-type=text%2Fplain")
PLAIN = Wrapping(load.Shape("text/plain", authorized=False))
JSON = Wrapping(
    load.Shape("application/json"),
    '{"properties":{"delivery_mode":2,"content_type":"text/plain"},'
    f'"routing_key":"{gateways.ROUTING_KEY}","payload_encoding":"string","payload":"',
    '"}',
)


@dataclass(frozen=True)
class OverHttp:
    """A gateway under wrk."""

    name: str
    url: str
    wrapping: Wrapping
    broker: gateways.Broker
    body_file: Path
    processes: Callable[[], list[int]]

    @property
    def pids(self) -> list[int]:
        return self.processes()

    def publish(self, connections: int, seconds: float, size: int, pause_ms: int = 0) -> load.Load:
        message = ("0123456789" * (size // 10 + 1))[:size]
        self.body_file.write_text(f"{self.wrapping.before}{message}{self.wrapping.after}")
        shape = replace(self.wrapping.shape, body_file=self.body_file, pause_ms=pause_ms)
        login = self.broker.username, self.broker.password
        return load.run(self.url, connections, seconds, *login, shape)


def gateway(running: gateways.Gateway, broker: gateways.Broker, directory: Path) -> OverHttp:
    """One of ``start.start_gateways``."""
    wrapping = PLAIN if running.name == RUST else FORM
    body_file = directory / "body"
    return OverHttp(running.name, running.url, wrapping, broker, body_file, lambda: running.pids)


def management(port: int, broker: gateways.Broker, directory: Path) -> OverHttp:
    """The broker's own: a part of its process, so that all of its CPU is the broker's."""
    url = f"http://127.0.0.1:{port}/api/exchanges/{VIRTUAL_HOST}/{EXCHANGE}/publish"
    return OverHttp(MANAGEMENT, url, JSON, broker, directory / "body", list)


@dataclass(frozen=True)
class Pipelined:
    """``ceiling.py``, with as many messages under way as the others have connections."""

    port: int
    name: str = CEILING

    @property
    def pids(self) -> list[int]:
        return []

    def publish(self, connections: int, seconds: float, size: int) -> load.Load:
        return ceiling.run(self.port, connections, seconds, size)
