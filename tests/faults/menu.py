"""The faults: each does its harm for a while, and undoes it."""

import time

import control
from tasks import Task
from world import VICTIM


def cut(world, _traffic, _rng):
    world.proxy.cut()


def stall(world, _traffic, rng):
    """Both directions, or one: then confirms are late, or the broker hears nothing."""
    to_broker, to_gateway = rng.choice([(True, True), (True, False), (False, True)])
    world.proxy.stall(to_broker=to_broker, to_gateway=to_gateway)
    time.sleep(rng.uniform(0.5, 4))
    if rng.random() < 0.5:
        world.proxy.cut()
    world.proxy.resume()


def delay(world, _traffic, rng):
    world.proxy.delay(rng.uniform(0.01, 0.3))
    time.sleep(rng.uniform(1, 3))
    world.proxy.delay(0)


def half_close(world, _traffic, rng):
    world.proxy.half_close(towards_gateway=rng.random() < 0.5)


def broker_restart(world, _traffic, rng):
    world.broker.node.stop()
    time.sleep(rng.uniform(0, 2))
    world.broker.node.start()


def broker_kill(world, _traffic, rng):
    world.broker.node.kill()
    time.sleep(rng.uniform(0, 2))
    world.broker.node.start()


def memory_alarm(world, _traffic, rng):
    control.use_up_memory(world.broker)
    time.sleep(rng.uniform(0.5, 4))
    control.limit_memory(world.broker)


def disk_alarm(world, _traffic, rng):
    control.use_up_disk(world.broker)
    time.sleep(rng.uniform(0.5, 4))
    control.limit_disk(world.broker)


def connections_closed(world, _traffic, _rng):
    control.close_all_connections(world.broker, "by the fault suite")


def storm_of_missing_exchanges(_world, traffic, rng):
    def task(message_id, rng):
        return Task(message_id, f"/test/missing-{rng.randrange(3)}/k", "guest")

    _storm(traffic, task, rng)


def storm_of_refused_topics(_world, traffic, rng):
    def task(message_id, _rng):
        return Task(message_id, "/test/traffic/no.1", "carol")

    _storm(traffic, task, rng)


def storm_of_wrong_passwords(_world, traffic, rng):
    def task(message_id, rng):
        return Task(message_id, "/test/traffic/ok.1", "alice", rng.choice(["wrong", "worse"]))

    _storm(traffic, task, rng)


def _storm(traffic, task, rng):
    with traffic.storm(task):
        time.sleep(rng.uniform(1, 3))


def exchange_deleted(world, _traffic, rng):
    """Under those who publish to it; its queue stays."""
    with world.channel() as channel:
        for _ in range(rng.randrange(1, 4)):
            channel.exchange_delete(VICTIM)
            time.sleep(rng.uniform(0.1, 0.5))
            channel.exchange_declare(VICTIM, "topic", durable=True)
            channel.queue_bind(VICTIM, VICTIM, "#")


def permission_revoked(world, _traffic, rng):
    control.permit_writing(world.broker, "bob", "^nothing$")
    time.sleep(rng.uniform(0.5, 2))
    control.permit_writing(world.broker, "bob", ".*")


def backend_kill(world, _traffic, rng):
    world.kill_backend(rng.randrange(2))


def gateway_restart(world, _traffic, _rng):
    world.end_gateway()
    world.gateway.start()


RESTARTS = (backend_kill, gateway_restart)
MENU = (
    cut, stall, delay, half_close,
    broker_restart, broker_kill, memory_alarm, disk_alarm, connections_closed,
    storm_of_missing_exchanges, storm_of_refused_topics, storm_of_wrong_passwords,
    exchange_deleted, permission_revoked, backend_kill, gateway_restart,
)  # fmt: skip
# Without what is much like another one, and takes long.
SHORT = tuple(fault for fault in MENU if fault not in (broker_restart, disk_alarm))
