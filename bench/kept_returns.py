"""Which messages does RabbitMQ return as unroutable, and keep or deliver all the same?

``make bench-returns`` runs it. What came out stands in ``docs/decisions/0003-returns.md``.
"""

import argparse
import base64
import re
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from pamqp import commands

from broker import Broker
from plain_amqp import Channel, Connection
from start import end_in_order, new_broker

PLUGINS = (
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_event_exchange",
    "rabbitmq_federation",
    "rabbitmq_jms_topic_exchange",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
    "rabbitmq_tracing",
)
REPLY_TO = "amq.rabbitmq.reply-to"


class World:
    """A connection that publishes, and one that looks for copies."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.publisher = Connection(broker.amqp_port)
        self.looker = Connection(broker.amqp_port)
        self.channel = self.publisher.new_channel()
        self.look: Channel = self.looker.new_channel()

    def declare(self, exchange: str, kind: str, **arguments: Any) -> None:
        self.looker.call(
            self.look,
            commands.Exchange.Declare(
                exchange=exchange, exchange_type=kind, durable=True,
                arguments={name.replace("_", "-"): value for name, value in arguments.items()},
            ),
        )  # fmt: skip

    def queue(self, name: str, exchange: str = "", key: str = "", **arguments: Any) -> None:
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.looker.call(self.look, commands.Queue.Declare(queue=name, arguments=arguments))
        if exchange:
            self.looker.call(
                self.look, commands.Queue.Bind(queue=name, exchange=exchange, routing_key=key)
            )

    def count(self, queue: str) -> int:
        """Its messages, a moment later."""
        time.sleep(0.3)
        declared = self.looker.call(self.look, commands.Queue.Declare(queue=queue, passive=True))
        return int(declared.message_count)

    def publish(self, exchange: str, key: str, **properties: Any) -> str:
        """A mandatory message; what the broker said, in words."""
        channel = self.channel
        channel.returned.clear()
        tag = self.publisher.publish(
            channel, exchange, key, b"body", mandatory=True,
            properties={"delivery_mode": 2} | properties,
        )  # fmt: skip
        self.publisher.wait(
            lambda: tag not in channel.unconfirmed or channel.closed or self.publisher.gone, 5
        )
        closed = self.publisher.closed or channel.closed
        if closed:
            said = f"closed: {closed.reply_code} {closed.reply_text}"
            self.publisher.abort()
            self.publisher = Connection(self.broker.amqp_port)
            self.channel = self.publisher.new_channel()
            return said
        if tag in channel.unconfirmed:
            return "no answer"
        settled = "nacked" if tag in channel.nacked else "acked"
        return f"RETURNED, {settled}" if channel.returned else f"not returned, {settled}"


def say(what: str, answer: str, copies: Any) -> None:
    print(f"  {what}: {answer}; copies: {copies}", flush=True)


def recent_history(world: World) -> None:
    for what, headers in (
        ("", {}),
        (" with x-recent-history-no-store", {"x-recent-history-no-store": True}),
    ):
        name = f"history{len(headers)}"
        world.declare(name, "x-recent-history", x_recent_history_length=3)
        answer = world.publish(name, "k", headers=headers)
        world.queue(f"late{len(headers)}", name)
        say(
            f"x-recent-history{what}, a queue bound afterwards",
            answer,
            world.count(f"late{len(headers)}"),
        )
    world.declare("before-history", "fanout")
    world.declare("behind", "x-recent-history")
    world.looker.call(
        world.look, commands.Exchange.Bind(destination="behind", source="before-history")
    )
    answer = world.publish("before-history", "k")
    world.queue("late-behind", "behind")
    say(
        "x-recent-history bound to the fanout exchange it was sent to",
        answer,
        world.count("late-behind"),
    )
    world.declare("alternate-history", "x-recent-history")
    world.declare("with-alternate", "direct", alternate_exchange="alternate-history")
    answer = world.publish("with-alternate", "k")
    world.queue("late-alternate", "alternate-history")
    say("x-recent-history as the alternate exchange", answer, world.count("late-alternate"))


def alternate(world: World) -> None:
    world.declare("alternate", "fanout")
    world.declare("first", "direct", alternate_exchange="alternate")
    say("an alternate exchange without a queue", world.publish("first", "k"), 0)
    world.queue("of-alternate", "alternate")
    say("an alternate exchange with one", world.publish("first", "k"), world.count("of-alternate"))


def tracing(world: World) -> None:
    world.queue("trace", "amq.rabbitmq.trace", "#")
    world.broker.ctl("trace_on")
    try:
        say("the firehose is on", world.publish("amq.direct", "nobody"), world.count("trace"))
    finally:
        world.broker.ctl("trace_off")


def direct_reply_to(world: World) -> None:
    with Connection(world.broker.amqp_port) as requester:
        channel = requester.new_channel()
        requester.call(channel, commands.Basic.Consume(queue=REPLY_TO, no_ack=True))
        world.queue("requests")
        requester.publish(channel, "", "requests", properties={"reply_to": REPLY_TO})
        requester.wait(lambda: not channel.unconfirmed, 5)
        world.looker.send(world.look.number, commands.Basic.Get(queue="requests", no_ack=True))
        world.looker.wait(lambda: bool(world.look.delivered), 5)
        key = _reply_to(world)
        for what, exchange, routing_key, headers in (
            ("as routing key", "", key, {}),
            ("in CC, routing key without a queue", "", "nobody", {"CC": [key]}),
            ("in BCC, routing key without a queue", "", "nobody", {"BCC": [key]}),
            ("as routing key to another exchange", "amq.direct", key, {}),
            ("as routing key to a topic exchange", "amq.topic", key, {}),
            ("in CC to a fanout exchange", "amq.fanout", "k", {"CC": [key]}),
        ):
            channel.delivered.clear()
            answer = world.publish(exchange, routing_key, headers=headers)
            requester.wait(lambda: bool(channel.delivered), 1)
            say(f"direct reply-to {what}", answer, len(channel.delivered))
    say("direct reply-to, the requester gone", world.publish("", key), "-")
    say(
        "direct reply-to, of a node that is not there",
        world.publish("", _of_another_node(key)),
        "-",
    )


def _reply_to(world: World) -> str:
    """The reply_to that RabbitMQ gave to the request: the prefix, a dot and an address."""
    return world.looker.properties[-1].reply_to


def _of_another_node(key: str) -> str:
    """The same address with another node's hash in its process id."""
    pid, _, rest = key.removeprefix(REPLY_TO + ".").partition(".")
    raw = base64.b64decode(pid)
    other = re.sub(rb"reply@(\d)", lambda m: b"reply@" + (b"1" if m[1] != b"1" else b"2"), raw)
    return f"{REPLY_TO}.{base64.b64encode(other).decode()}.{rest}"


def others(world: World) -> None:
    for kind in ("direct", "topic", "fanout", "headers", "x-consistent-hash", "x-random",
                 "x-local-random", "x-modulus-hash"):  # fmt: skip
        try:
            world.declare(f"some-{kind}", kind)
        except RuntimeError as error:
            print(f"  {kind}: {error}")
            world.looker.abort()
            world.looker = Connection(world.broker.amqp_port)
            world.look = world.looker.new_channel()
            continue
        answer = world.publish(f"some-{kind}", "k")
        world.queue(
            f"late-{kind}",
            f"some-{kind}",
            "1" if "hash" in kind else "k" if "local" not in kind else "",
        )
        say(f"{kind}, a queue bound afterwards", answer, world.count(f"late-{kind}"))
    say("the event exchange", world.publish("amq.rabbitmq.event", "k"), "-")
    world.queue("expires", x_message_ttl=0)
    say(
        "a queue whose messages expire at once",
        world.publish("", "expires"),
        world.count("expires"),
    )
    world.queue("full", x_max_length=1, x_overflow="reject-publish")
    world.publish("", "full")
    say("a full queue that rejects", world.publish("", "full"), f"{world.count('full')} in all")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/kept_returns.py", description=__doc__)
    parser.add_argument("--suite", default="", help="the Debian release whose RabbitMQ it is")
    options = parser.parse_args()
    end_in_order()
    name = f"returns-{options.suite}"
    with new_broker(name, plugins=PLUGINS, suite=options.suite) as broker:
        world = World(broker)
        print(f"RabbitMQ {world.publisher.version}", flush=True)
        for part in (recent_history, alternate, tracing, others, direct_reply_to):
            part(world)
    return 0


if __name__ == "__main__":
    sys.exit(main())
