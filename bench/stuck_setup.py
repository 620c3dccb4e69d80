"""The queues of these measurements: a healthy one and one that gets stuck."""

import contextlib
from collections.abc import Iterator
from typing import Any

from pamqp import commands

from broker import Broker
from plain_amqp import Channel, Connection

HEALTHY, STUCK = "healthy", "stuck"
WORKER = """
{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)),
sys:{verb}(amqqueue:get_pid(Q)).
"""


def say(text: str) -> None:
    print(text, flush=True)


def declare(port: int, queue: str, kind: str) -> None:
    with Connection(port) as connection:
        channel = connection.new_channel()
        connection.call(channel, commands.Queue.Delete(queue=queue))
        connection.call(
            channel,
            commands.Queue.Declare(queue=queue, durable=True, arguments={"x-queue-type": kind}),
        )


@contextlib.contextmanager
def suspended(broker: Broker, queue: str) -> Iterator[None]:
    """The queue's process, or its leader's, answers nobody meanwhile."""
    broker.ctl("eval", WORKER.format(queue=queue, verb="suspend"))
    try:
        yield
    finally:
        broker.ctl("eval", WORKER.format(queue=queue, verb="resume"))


def publish(connection: Connection, channel: Channel, queue: str, count: int, **more: Any) -> None:
    for _ in range(count):
        connection.publish(channel, "", queue, **more)
