"""Which well-formed messages make RabbitMQ close a channel or a whole connection?

``make bench-poison`` sends values of every field type, in every header that RabbitMQ
looks at, to every kind of queue and exchange that it has, and prints each answer
that is not a confirm. What came out stands in ``docs/decisions/0002-poisonous-messages.md``.
"""

import argparse
import collections
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from pamqp import commands

from broker import Broker
from plain_amqp import Channel, Connection
from start import end_in_order, new_broker
from statelessd.amqp import encode

PLUGINS = (
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_event_exchange",
    "rabbitmq_federation",
    "rabbitmq_jms_topic_exchange",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
)
HEADERS = (
    "h", "x-delay", "x-stream-filter-value", "x-death", "x-deaths", "x-delivery-count",
    "x-acquired-count", "x-first-death-queue", "x-first-death-reason", "x-first-death-exchange",
    "x-last-death-queue", "x-opt-deaths", "x-opt-delivery-time", "x-opt-x", "x-cc", "x-exchange",
    "x-routing-key", "x-received-from", "x-shovelled", "x-shovelled-timestamp", "x-match",
    "x-priority", "x-message-ttl", "x-recent-history-no-store", "x-retry-topic", "x-trace",
    "x-basic-type", "x-mqtt-publish-qos", "x-reply-to-topic", "x-stream-offset", "routing_headers",
    "timestamp_in_ms", "JMSType", "JMSDeliveryMode", "deliveryAnnotations", "hash-on", "x-user-id",
    "x-ttl", "id", "rk", "x", "", "n" * 255, "é",
)  # fmt: skip
DEATH = {
    "reason": "expired", "queue": "classic", "exchange": "", "count": 1, "time": 1,
    "routing-keys": ["classic"],
}  # fmt: skip
VALUES: tuple[Any, ...] = (
    "abc", "", "é", "e\0", "s" * 4096, "s" * 4097, "9" * 400, "s" * 70_000,
    0, 1, -1, 2**63 - 1, -(2**63), 1.5, 1e308, True,
    None, [], [1], ["a"], [[]], [None], [{}], [{"a": 1}], {}, {"a": 1}, {"": {"": [{}]}},
    [DEATH], *([{k: v for k, v in DEATH.items() if k != gone}] for gone in DEATH),
    [DEATH | {"extra": {}}], [DEATH, DEATH | {"queue": "other"}], [DEATH | {"routing-keys": []}],
    [DEATH | {"time": None}], [DEATH | {"count": 1.5}], [DEATH | {"count": None}],
    [DEATH | {"count": "a"}], [DEATH | {"count": -1}], [DEATH | {"time": "a"}],
    [DEATH | {"routing-keys": "a"}], [DEATH | {"routing-keys": [1]}], [DEATH | {"reason": 1}],
    [DEATH | {"reason": "odd"}], [DEATH | {"queue": 1}], [DEATH | {"queue": None}],
    [DEATH | {"exchange": None}], [DEATH, 1], [DEATH, {}], [{"queue": "classic"}],
    [{"reason": "expired", "queue": "classic"}], [{"count": 1, "time": 2}],
)  # fmt: skip
TEXTS = ("", "é", "\0", "a b;c/é", "9" * 255, "é" * 127, "amq.rabbitmq.reply-to.x")


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def shown(value: Any) -> str:
    """The value, shortened; a record of a dead-lettering by what differs from a sound one."""
    text = str(value)
    for name, sound in DEATH.items():
        text = text.replace(f"{name!r}: {sound!r}", name)
    return text if len(text) < 100 else text[:60] + "..."


def messages() -> Iterator[tuple[str, dict[str, Any]]]:
    """What it is, and the properties."""
    for name, value in itertools.product(HEADERS, VALUES):
        yield f"header {name[:30]!r}: {shown(value)}", {"headers": {name: value}}
    for queue, count in itertools.product(
        ("dead-letters", "quorum-dead-letters", "quorum-at-least-once"),
        ("a", 1.5, None, True, [], {}, -1, 0, 2**63 - 1),
    ):
        death = DEATH | {"queue": queue, "count": count}
        yield f"x-death of this queue with count {count!r}", {"headers": {"x-death": [death]}}
    for name in ("CC", "BCC"):
        for value in ([], [""], ["a" * 255], ["a" * 256], ["a" * 70_000], ["classic"] * 2000,
                      ["amq.rabbitmq.reply-to.x"], ["amq.rabbitmq.reply-to"], ["é\0"]):  # fmt: skip
            yield f"{name} {str(value)[:40]}", {"headers": {name: value}}
    for levels in (20, 100, 200):
        yield f"a table {levels} deep", {"headers": {"h": deep(levels)}}
    yield "1,000 headers", {"headers": {f"h{n}": n for n in range(1000)}}
    for name in ("content_type", "content_encoding", "correlation_id", "message_id", "type",
                 "app_id", "reply_to"):  # fmt: skip
        for text in TEXTS:
            yield f"{name} {text[:30]!r}", {name: text}
    for number in (0, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 10**15, 253402300800):
        yield f"timestamp {number}", {"timestamp": number}
    for text in ("0", "1", "4294967295", "4294967296", "315360000000", "00", "+1", "-0"):
        yield f"expiration {text}", {"expiration": text}
    for number in (0, 10, 11, 128, 255):
        yield f"priority {number}", {"priority": number}


def dead_letters_to(queue: str, **more: Any) -> dict[str, Any]:
    """The arguments of a queue whose messages expire at once, and go to another."""
    arguments: dict[str, Any] = {
        "x-message-ttl": 0,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }
    return arguments | {f"x-{name.replace('_', '-')}": value for name, value in more.items()}


QUEUES: dict[str, dict[str, Any]] = {
    "classic": {},
    "quorum": {"x-queue-type": "quorum"},
    "stream": {"x-queue-type": "stream", "x-max-length-bytes": 100_000_000},
    "priority": {"x-max-priority": 10},
    "dead-letters": dead_letters_to("classic"),
    "dead-letter-to-quorum": dead_letters_to("quorum"),
    "dead-letter-to-stream": dead_letters_to("stream"),
    "dead-letter-cycle": dead_letters_to("dead-letter-cycle"),
    "quorum-dead-letters": dead_letters_to("classic", queue_type="quorum"),
    "quorum-at-least-once": dead_letters_to(
        "classic",
        queue_type="quorum",
        dead_letter_strategy="at-least-once",
        overflow="reject-publish",
    ),
    "short": {"x-max-length": 1},
}

EXCHANGES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # Its type, arguments, and the arguments of its binding to the queue "classic".
    "a-direct": ("direct", {}, {}),
    "a-topic": ("topic", {}, {}),
    "a-fanout": ("fanout", {}, {}),
    "headers-any": ("headers", {}, {"x-match": "any", "h": "abc", "x": 1, "id": True}),
    "headers-all": ("headers", {}, {"x-match": "all", "h": 1}),
    "headers-any-with-x": ("headers", {}, {"x-match": "any-with-x", "x-death": 1, "h": None}),
    "hash": ("x-consistent-hash", {}, {}),
    "hash-header": ("x-consistent-hash", {"hash-header": "h"}, {}),
    "hash-id": ("x-consistent-hash", {"hash-property": "message_id"}, {}),
    "hash-correlation": ("x-consistent-hash", {"hash-property": "correlation_id"}, {}),
    "hash-time": ("x-consistent-hash", {"hash-property": "timestamp"}, {}),
    "random": ("x-random", {}, {}),
    "local-random": ("x-local-random", {}, {}),
    "history": ("x-recent-history", {"x-recent-history-length": 5}, {}),
    "sharding": ("x-modulus-hash", {}, {}),
    "jms": ("x-jms-topic", {}, {"rjms_erlang_selector": "{'>',{ident,<<\"h\">>},0}."}),
    "event": ("x-event", {}, {}),
    "federation": ("x-federation-upstream", {}, {}),
    "alternate": ("direct", {"alternate-exchange": "amq.fanout"}, {}),
}


DELETE = """
{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)),
rabbit_amqqueue:delete_crashed(Q).
"""


def _declaration(queue: str) -> commands.Queue.Declare:
    return commands.Queue.Declare(queue=queue, durable=True, arguments=QUEUES[queue])


class Target:
    """A connection as long as it lives, and a channel on it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._connect()

    def _connect(self) -> None:
        self.connection = Connection(self._broker.amqp_port)
        self.channel: Channel = self.connection.new_channel()

    def send(self, exchange: str, key: str, properties: dict[str, Any]) -> str:
        """What came of a message: "" for a confirm, else the broker's words."""
        if len(encode.properties(properties)) + 20 > self.connection.frame_max:
            return ""  # the gateway refuses it
        connection, channel = self.connection, self.channel
        mandatory = exchange == ""
        properties = {"delivery_mode": 2} | properties
        tag = connection.publish(
            channel, exchange, key, b"x", mandatory=mandatory, properties=properties
        )
        over = connection.wait(
            lambda: tag not in channel.unconfirmed or channel.closed or connection.gone, 5
        )
        if closed := connection.closed:
            words = f"CONNECTION {closed.reply_code} {closed.class_id}.{closed.method_id} "
            words += closed.reply_text[:120]
        elif connection.lost:
            words = "CONNECTION lost without a Close"
        elif closing := channel.closed:
            words = f"channel {closing.reply_code} {closing.reply_text[:120]}"
        elif not over:
            words = "no answer within 5 s"
        else:
            words = "nack" if tag in channel.nacked else ""
        if words == "" and channel.returned:
            words = "returned"
        if words:
            connection.abort()
            self._connect()
            if key in QUEUES and exchange == "":
                words += self._renew(key)
        return words

    def _renew(self, queue: str) -> str:
        """Make a queue anew, which may be dead. What else it took, in words."""
        for last in (False, True):
            try:
                self.connection.call(self.channel, commands.Queue.Delete(queue=queue), 5)
                self.connection.call(self.channel, _declaration(queue), 10)
            except RuntimeError as error:
                self.connection.abort()
                self._connect()
                if last:
                    return f"; the queue stays dead: {error}"
                self._broker.ctl("eval", DELETE.format(queue=queue), check=False)
            else:
                return "; the queue had to be deleted by its operator" if last else ""
        raise AssertionError

    def declare(self) -> list[str]:
        """Make all queues and exchanges; the names of those that this broker can't have."""
        absent = []
        for queue in QUEUES:
            try:
                self.connection.call(self.channel, _declaration(queue))
            except RuntimeError as error:
                absent.append(queue)
                print(f"no queue {queue}: {error}")
                self.channel = self.connection.new_channel()
        for exchange, (kind, arguments, binding) in EXCHANGES.items():
            try:
                self.connection.call(
                    self.channel,
                    commands.Exchange.Declare(
                        exchange=exchange, exchange_type=kind, durable=True, arguments=arguments
                    ),
                )
                self.connection.call(
                    self.channel,
                    commands.Queue.Bind(
                        queue="classic",
                        exchange=exchange,
                        routing_key="1" if "hash" in kind else "k",
                        arguments=binding,
                    ),
                )
            except RuntimeError as error:
                absent.append(exchange)
                print(f"no exchange {exchange} ({kind}): {error}")
                self.connection.abort()
                self._connect()
        return absent


def crashes(log: Path, at: int) -> collections.Counter[str]:
    """The processes of which the broker's log says that they ended in a crash since then."""
    text = log.read_bytes()[at:].decode(errors="replace")
    return collections.Counter(
        line.split("initial call:")[1].strip()
        for line in text.splitlines()
        if "initial call:" in line
    )


def play(broker: Broker, only: list[str]) -> None:
    target = Target(broker)
    print(f"RabbitMQ {target.connection.version}", flush=True)
    absent = target.declare()
    places = [("", queue) for queue in QUEUES] + [(exchange, "k") for exchange in EXCHANGES]
    for exchange, key in places:
        name = exchange or key
        if name in absent or (only and name not in only):
            continue
        at = broker.node.log_path.stat().st_size
        answers: dict[str, list[str]] = collections.defaultdict(list)
        for what, properties in messages():
            if words := target.send(exchange, key, properties):
                answers[words].append(what)
        print(f"{name}: {'all confirmed' if not answers else ''}")
        for words, what in answers.items():
            print(f"  {words}: {len(what)} times")
            for each in what if len(what) < 60 else what[:20]:
                print(f"    {each}")
        print(f"  crashed: {dict(crashes(broker.node.log_path, at))}", flush=True)
    for key in ("amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.", "amq.rabbitmq.reply-to.x",
                "amq.rabbitmq.reply-to.AAAA", "amq.rabbitmq.reply-to.!!!!",
                "amq.rabbitmq.reply-to.g2dkAA1ub25vZGVAbm9ob3N0AAAAAAAAAAAAAAAA.x", "é\0",
                "k" * 255, ".".join("k" * 128), "#", "*"):  # fmt: skip
        for exchange in ("", "amq.topic", "amq.direct"):
            if words := target.send(exchange, key, {}):
                print(f"routing key {key[:60]!r} to {exchange!r}: {words}", flush=True)
        if words := target.send("amq.direct", "k", {"headers": {"CC": [key]}}):
            print(f"CC {key[:60]!r}: {words}", flush=True)
    target.connection.abort()


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/poison.py", description=__doc__)
    parser.add_argument("--suite", default="", help="the Debian release whose RabbitMQ it is")
    parser.add_argument("only", nargs="*", help="names of queues and exchanges")
    options = parser.parse_args()
    end_in_order()
    name = f"poison-{options.suite}"
    with new_broker(name, plugins=PLUGINS, suite=options.suite) as broker:
        play(broker, options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
