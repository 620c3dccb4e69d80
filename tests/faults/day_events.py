"""What happens on a day, by the clock: each hour's load and events."""

import contextlib
import secrets
import time

import control
import menu
from day_clients import HOOK_USER, hostile_clients, slow_clients
from hostile import BODIES
from users import add_users

RELOAD = 900  # seconds that it may take: the machine may be busy


def log_rotated(day, _traffic, _rng):
    """As logrotate does it: the file is renamed, and the gateway opens a new one."""
    log = day.world.gateway.log
    with contextlib.suppress(FileNotFoundError):  # nothing was logged since the last time
        log.rename(log.with_name(f"{log.name}.{time.monotonic_ns()}"))


def reload(day, _traffic, _rng):
    day.world.gateway.reload(RELOAD)


def certificate_renewed(day, _traffic, _rng):
    day.world.authority.issue()


def credentials_changed(day, _traffic, _rng):
    """Of a client, which learns it a little later, and of the webhook's account."""
    for user in ("alice", HOOK_USER):
        password = secrets.token_hex(8)
        control.change_password(day.world.broker, user, password)
        time.sleep(0.5)
        day.accounts.passwords[user] = password
        if user == HOOK_USER:
            day.world.password_file.write_text(password)


def webhook_secret_rotated(day, _traffic, _rng):
    """Use both secrets, then the new one, then not the old one (docs/how-to/webhooks.md)."""
    old, new = day.accounts.secret, secrets.token_hex(16)
    day.world.secrets_file.write_text(f"{old}\n{new}\n")
    time.sleep(2.5)  # the gateway looks at its files each second
    day.accounts.secret = new
    time.sleep(0.5)
    day.world.secrets_file.write_text(f"{new}\n")


def slow_and_hostile_clients(day, _traffic, rng):
    """Send every expensive body the first time: a process keeps the memory that it has freed."""
    for place in day.world.places:
        day.slow += slow_clients(place, 20)
        hostile_clients(place, rng.sample(sorted(BODIES), day.bodies))
    day.bodies = 4


def of_the_menu(fault):
    """Return an event that is a fault of the other runs."""

    def event(day, traffic, rng):
        fault(day.world, traffic, rng)

    event.__name__ = fault.__name__
    return event


def newcomers_come(day, hour):
    """Add users, and an exchange that they publish to."""
    names = [f"h{hour}-{number}" for number in range(day.newcomers)]
    with day.world.channel() as channel:
        channel.exchange_declare(f"h{hour}", "topic")
        channel.queue_bind(day.world.queues[0], f"h{hour}", "#")
    add_users(day.world.broker, {name: name for name in names})
    day.accounts.newcomers = names


def newcomers_go(day, hour):
    """Delete them. RabbitMQ closes their connections."""
    for name in day.accounts.newcomers:
        control.delete_user(day.world.broker, name)
    day.accounts.newcomers = []
    with day.world.channel() as channel:
        channel.exchange_delete(f"h{hour}")


(cut, stall, delay, half_close, broker_restart, broker_kill, memory_alarm, disk_alarm,
 connections_closed, missing_exchanges, refused_topics, wrong_passwords, exchange_deleted,
 permission_revoked, backend_kill, _) = map(of_the_menu, menu.MENU)  # fmt: skip

# They give processes a new beginning, so they come only while the soak warms up.
RENEWALS = (reload, backend_kill)
# By the hour: clients beside those that are always there, and what happens.
DAY = (
    (1, [log_rotated, reload]),
    (0, [backend_kill, webhook_secret_rotated]),
    (0, [broker_restart]),
    (1, [certificate_renewed, backend_kill]),
    (1, [credentials_changed]),
    (2, [memory_alarm, slow_and_hostile_clients]),
    (2, [slow_and_hostile_clients, wrong_passwords]),
    (3, [disk_alarm, missing_exchanges, reload]),
    (4, [slow_and_hostile_clients, stall]),
    (4, [credentials_changed, wrong_passwords]),
    (4, [webhook_secret_rotated, refused_topics]),
    (4, [broker_restart, missing_exchanges]),
    (4, [log_rotated, slow_and_hostile_clients, exchange_deleted]),
    (4, [certificate_renewed, memory_alarm]),
    (4, [broker_kill, permission_revoked]),
    (4, [credentials_changed, cut, delay]),
    (4, [slow_and_hostile_clients, disk_alarm]),
    (3, [webhook_secret_rotated, connections_closed]),
    (3, [half_close, wrong_passwords, missing_exchanges]),
    (3, [broker_restart, slow_and_hostile_clients]),
    (2, [certificate_renewed, refused_topics]),
    (2, [stall, exchange_deleted]),
    (1, [credentials_changed, permission_revoked]),
    (1, [log_rotated, memory_alarm]),
)
