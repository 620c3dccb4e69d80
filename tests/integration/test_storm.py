"""A storm of invented users, at a real broker: what it costs users and newcomers."""

import asyncio
import collections
import threading
import time

import steady
from users import add_users
from waiting import wait_until

STORM = 100  # clients
NEWCOMERS = {f"newcomer-{number}": "secret" for number in range(60)}
KNOWN = {f"known-{number}": "secret" for number in range(200)}
# Seconds to get in, on a busy machine. A user who is kept out waits as long as the storm lasts.
FAIR = 60


def request_of(user):
    return steady.form_request("/test/test/k", user, "secret")(0)


class Clients:
    """Clients in a thread, each of which asks one request after another until ``stop``."""

    def __init__(self, gateway, count, make):
        self.told = collections.Counter()
        self._gateway, self._count, self._make = gateway, count, make
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    async def _run(self):
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._count):
                tasks.create_task(self._ask(number))

    async def _ask(self, number):
        asked = 0
        reader, writer = await asyncio.open_connection("127.0.0.1", self._gateway.port)
        while not self._stopped.is_set():
            asked += 1
            writer.write(self._make(f"{number}-{asked}"))
            self.told[await status_of(reader)] += 1
        writer.close()


async def status_of(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    if length := steady.LENGTH.search(head):
        await reader.readexactly(int(length[1]))
    return int(head[9:12])


async def get_in(gateway, user):
    """Return the seconds until the user's publish was confirmed; it is tried again and again."""
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    while True:
        writer.write(request_of(user))
        status = await status_of(reader)
        if status == 204:
            writer.close()
            return time.monotonic() - begun
        assert status in (503, 504)
        await asyncio.sleep(0.1)


async def all_get_in(gateway, users):
    return await asyncio.gather(*(get_in(gateway, user) for user in users))


def test_a_storm_costs_users_nothing_and_newcomers_a_wait(broker, start_gateway):
    add_users(broker, NEWCOMERS | {"connected": "secret"})
    gateway = start_gateway({"Application": {"rabbitmq": {"max_connections": 50}}})
    with Clients(gateway, 1, lambda _: request_of("connected")) as connected:
        wait_until(lambda: connected.told[204])
        with Clients(gateway, STORM, lambda name: request_of(f"invented-{name}")) as storm:
            wait_until(lambda: storm.told[401] > STORM)
            # More than there are connections: each takes an idle one's, and none the busy user's.
            waits = asyncio.run(all_get_in(gateway, NEWCOMERS))
            seen = connected.told[204]
            wait_until(lambda: connected.told[204] > seen + 50)
    assert set(connected.told) == {204}
    assert max(waits) < FAIR
    assert set(storm.told) <= {401, 503}


def test_users_come_back_after_a_restart_of_the_broker_beside_a_storm(own, start_gateway):
    add_users(own, KNOWN)
    gateway = start_gateway(against=own)
    asyncio.run(all_get_in(gateway, KNOWN))
    own.node.stop()
    with Clients(gateway, STORM, lambda name: request_of(f"invented-{name}")):
        own.node.start()
        waits = asyncio.run(all_get_in(gateway, KNOWN))
    assert max(waits) < FAIR
