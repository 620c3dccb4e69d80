"""What a client can still ask of a connection with a stuck queue, and what a stall looks like."""

import os
import signal
import statistics
import time
from collections.abc import Callable

from pamqp import commands

import processes
from broker import Broker
from plain_amqp import Channel, Connection
from stuck_setup import HEALTHY, STUCK, WORKER, declare, publish, say, suspended


def answered(connection: Connection, condition: Callable[[], bool], seconds: float) -> str:
    """When it came, in words."""
    begun = time.monotonic()
    if connection.wait(condition, seconds):
        return f"after {time.monotonic() - begun:.2f} s"
    if connection.lost:
        return f"never: the socket ended after {time.monotonic() - begun:.2f} s"
    return f"not within {seconds:g} s"


def ask_to_open(connection: Connection, seconds: float = 3) -> str:
    """Whether Channel.Open is answered on it."""
    number = max(connection.channels, default=0) + 1
    channel = connection.channels[number] = Channel(number)
    connection.send(number, commands.Channel.Open())
    return answered(connection, lambda: channel.opened, seconds)


def ask_to_publish(connection: Connection, channel: Channel, queue: str = HEALTHY) -> str:
    tag = connection.publish(channel, "", queue)
    return answered(connection, lambda: tag not in channel.unconfirmed, 3)


def ask_to_close(connection: Connection, channel: Channel, seconds: float = 3) -> str:
    connection.send(channel.number, commands.Channel.Close(200, "", 0, 0))
    return answered(connection, lambda: channel.ended, seconds)


def ask_to_close_all(connection: Connection, seconds: float = 20) -> str:
    connection.send(0, commands.Connection.Close(200, "", 0, 0))
    return answered(connection, lambda: connection.close_ok, seconds)


def questions(broker: Broker) -> None:
    """Which questions does a connection answer while a queue is stuck?"""
    port = broker.amqp_port
    declare(port, HEALTHY, "classic")
    for what, kind, known, stuck, behind in (
        ("classic, 40 stuck", "classic", 1, 40, 100),
        ("quorum, new to the channel, which hangs", "quorum", 0, 1, 100),
        ("quorum, known to the channel, 40 stuck", "quorum", 1, 40, 100),
        ("the reader stopped: 201 behind a hanging one", "quorum", 0, 1, 201),
    ):
        declare(port, STUCK, kind)
        connection = Connection(port)
        channel, beside = connection.new_channel(), connection.new_channel()
        publish(connection, channel, STUCK, known)
        publish(connection, channel, HEALTHY, 198 - known)
        connection.wait(lambda channel=channel: not channel.unconfirmed, 30)
        say(f"  {what}:")
        with suspended(broker, STUCK):
            publish(connection, channel, STUCK, stuck)
            publish(connection, channel, HEALTHY, behind + 1 - stuck)
            connection.wait(lambda: False, 1)
            say(
                f"    of {behind + 1} messages {len(channel.unconfirmed)} are unconfirmed after 1 s"
            )
            say(f"    Channel.Open: answered {ask_to_open(connection)}")
            say(f"    a publish on another channel: confirmed {ask_to_publish(connection, beside)}")
            say(f"    Channel.Close of the stuck one: {ask_to_close(connection, channel)}")
            say(f"    Connection.Close: answered {ask_to_close_all(connection)}")
        connection.abort()


def hang(broker: Broker) -> None:
    """How long does the first publish to a quorum queue without a leader hang its channel?"""
    port = broker.amqp_port
    declare(port, HEALTHY, "classic")
    declare(port, STUCK, "quorum")
    connection = Connection(port)
    channel, beside = connection.new_channel(), connection.new_channel()
    with suspended(broker, STUCK):
        publish(connection, channel, STUCK, 1)
        publish(connection, channel, HEALTHY, 1)
        begun = time.monotonic()
        went_on = connection.wait(lambda: 2 not in channel.unconfirmed or connection.gone, 200)
        seconds = time.monotonic() - begun
        first = "unconfirmed" if 1 in channel.unconfirmed else "nacked" if channel.nacked else "?"
        closed = connection.closed or channel.closed
        say(f"  it went on: {went_on} after {seconds:.1f} s; the first message is {first}; "
            f"closed: {closed and closed.reply_text}")  # fmt: skip
        if not connection.gone:
            say(f"  a publish on another channel: {ask_to_publish(connection, beside)}")
    connection.abort()


def alarm(broker: Broker) -> None:
    """Is Channel.Open answered under a memory alarm?"""
    port = broker.amqp_port
    declare(port, HEALTHY, "classic")
    silent, publisher = Connection(port), Connection(port)
    channel = publisher.new_channel()
    silent.new_channel()
    broker.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        publish(publisher, channel, HEALTHY, 1)
        blocked = answered(publisher, lambda: publisher.blocked, 10)
        say(f"  Connection.Blocked {blocked} after the publish")
        say(f"  on the connection that has published: Channel.Open {ask_to_open(publisher)}")
        say(f"  on one that has not: Channel.Open {ask_to_open(silent)}")
        say(f"  Connection.Blocked came there: {silent.was_blocked}")
        with Connection(port) as late:
            say(f"  a new login works, and there: Channel.Open {ask_to_open(late)}")
    finally:
        broker.ctl("set_vm_memory_high_watermark", "0.4")
    opened = max(publisher.channels.values(), key=lambda each: each.number)
    opening = answered(publisher, lambda: opened.opened, 10)
    confirm = answered(publisher, lambda: not channel.unconfirmed, 10)
    say(f"  when it cleared: Channel.OpenOk {opening}, the message's confirm {confirm}")
    for connection in (silent, publisher):
        connection.abort()


def majority(broker: Broker) -> None:
    """The same with a quorum queue of three nodes: two are lost that do not lead it."""
    _lose_majority(broker, broker.amqp_port)


def leader(broker: Broker) -> None:
    """The same where the leader is one of the two nodes that are lost."""
    _lose_majority(broker, broker.nodes[1].amqp_port)


def _lose_majority(broker: Broker, leaders_port: int) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        declare(broker.amqp_port, HEALTHY, "classic")
        declare(leaders_port, STUCK, "quorum")  # the node of the connection leads it
        connections = [Connection(broker.amqp_port) for _ in range(2)]
        known = [connection.new_channel() for connection in connections]
        new = [connection.new_channel() for connection in connections]
        for connection, channel in zip(connections, known, strict=True):
            publish(connection, channel, STUCK, 1)
            connection.wait(lambda channel=channel: not channel.unconfirmed, 30)
        try:
            _signal(broker, number)
            say(f"  two of three nodes got {number.name}:")
            _without_majority(connections, known, new)
        finally:
            if number is signal.SIGSTOP:
                _signal(broker, signal.SIGCONT)
                time.sleep(5)
        for connection in connections:
            connection.abort()


def _without_majority(
    connections: list[Connection], known: list[Channel], new: list[Channel]
) -> None:
    knowing, asking = connections
    publish(knowing, known[0], STUCK, 40)
    say(f"    40 to it on a channel that knows it: {ask_to_publish(knowing, known[0])} healthy")
    say(f"    another channel: {ask_to_publish(knowing, new[0])}")
    publish(asking, new[1], STUCK, 1)
    publish(asking, new[1], HEALTHY, 20)
    say(f"    1 to it, 20 healthy on a new channel; Channel.Open: {ask_to_open(asking)}")
    say(f"    another channel: {ask_to_publish(asking, known[1])}")
    say(f"    unconfirmed on the new one: {len(new[1].unconfirmed)} of 21")
    goes_on = answered(asking, lambda: len(new[1].unconfirmed) <= 1 or asking.gone, 100)
    say(f"    it goes on {goes_on}; nacked: {new[1].nacked}; closed: {asking.closed}")
    say(f"    where it is known {len(known[0].unconfirmed)} of 41 are unconfirmed, nacked: "
        f"{len(known[0].nacked)}")  # fmt: skip
    say(f"    Channel.Open: {ask_to_open(asking)}, and where it is known: {ask_to_open(knowing)}")


def _signal(broker: Broker, number: signal.Signals) -> None:
    for node in broker.nodes[1:]:
        if number is signal.SIGKILL:
            node.kill()
        else:
            os.kill(processes.named("beam.smp", processes.tree_of(node.pid)), number)


def window(broker: Broker, rounds: int = 7, seconds: float = 2) -> None:
    """What does a window of 200 cost beside one of 1,000?"""
    for kind in ("classic", "quorum"):
        runs: dict[int, list[tuple[float, float]]] = {200: [], 1000: []}
        for _ in range(rounds):
            for size, measured in runs.items():
                declare(broker.amqp_port, HEALTHY, kind)
                measured.append(_run(broker, size, seconds))
        for size, measured in runs.items():
            rates, costs = zip(*measured, strict=True)
            say(f"  {kind}, {size}: {statistics.median(rates):,.0f} messages/s "
                f"({min(rates):,.0f} to {max(rates):,.0f}), {statistics.median(costs):.1f} us of "
                f"RabbitMQ's CPU for each ({min(costs):.1f} to {max(costs):.1f})")  # fmt: skip


def _run(broker: Broker, size: int, seconds: float) -> tuple[float, float]:
    """Messages in a second, and microseconds of the broker's CPU for each.

    The CPU hardly depends on what else the machine does; the rate does.
    """
    pids = [processes.named("beam.smp", processes.tree_of(broker.pid))]
    with Connection(broker.amqp_port) as connection:
        channel = connection.new_channel()
        message = connection.encoded(channel, "", HEALTHY, b"x" * 100)
        before, begun = processes.cpu_seconds(pids), time.monotonic()
        while time.monotonic() - begun < seconds:
            room = size - (channel.newest + 1 - channel.oldest)
            if room > 0:
                connection.write(message * room)
                for _ in range(room):
                    connection.sent(channel)
            oldest = channel.oldest
            connection.wait(lambda oldest=oldest: channel.oldest > oldest, 10)
        lasted, used = time.monotonic() - begun, processes.cpu_seconds(pids) - before
        confirmed = channel.newest - len(channel.unconfirmed)
    return confirmed / lasted, 1e6 * used / confirmed


DELETE = """
Name = rabbit_misc:r(<<"/">>, queue, <<"stuck">>),
{ok, Q} = rabbit_amqqueue:lookup(Name),
case amqqueue:get_pid(Q) of
    Leader when is_tuple(Leader) ->
        ra:force_delete_server(quorum_queues, Leader),
        case erlang:function_exported(rabbit_amqqueue, internal_delete, 2)
             andalso string:prefix(rabbit_misc:version(), "3.") =:= nomatch of
            true -> rabbit_amqqueue:internal_delete(Q, <<"bench">>);
            false -> rabbit_amqqueue:internal_delete(Name, <<"bench">>)
        end;
    Process ->
        exit(Process, kill)
end.
"""


def deleted(broker: Broker) -> None:
    """Does the channel go on when the stuck queue is deleted, or its process killed?"""
    port = broker.amqp_port
    declare(port, HEALTHY, "classic")
    for kind, stuck in (("classic", 401), ("quorum", 40)):
        declare(port, STUCK, kind)
        connection = Connection(port)
        channel, beside = connection.new_channel(), connection.new_channel()
        publish(connection, channel, STUCK, 1)
        connection.wait(lambda channel=channel: not channel.unconfirmed, 10)
        broker.ctl("eval", WORKER.format(queue=STUCK, verb="suspend"))
        publish(connection, channel, STUCK, stuck)
        connection.wait(lambda: False, 1)
        before = len(channel.unconfirmed)
        broker.ctl("eval", DELETE)
        settled = answered(connection, lambda channel=channel: not channel.unconfirmed, 10)
        say(f"  {kind}: {before} unconfirmed, then deleted: settled {settled}, "
            f"{len(channel.nacked)} nacked, {len(channel.unconfirmed)} not settled")  # fmt: skip
        for count in range(450):
            publish(connection, channel, HEALTHY, 1)
            tag = connection.publish(beside, "", HEALTHY)
            if not connection.confirmed(beside, tag, 3):
                say(f"    after {count + 1} more messages the connection stops")
                break
        else:
            say("    450 more messages are confirmed")
        connection.abort()
