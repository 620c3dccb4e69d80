"""Several nodes over TLS: one that does not get through the handshake costs a moment, no more."""

import asyncio
import contextlib
import logging

import pytest
from fakebroker import FakeBroker
from gateway import free_ports
from scenario import O, hosts
from silent import silent_address, silent_listener

from statelessd.broker.dialer import Dialer
from statelessd.broker.nodes import Nodes
from statelessd.broker.race import NotConnectedError
from statelessd.config.hosts import Host
from statelessd.config.settings import BrokerTls, Probe
from statelessd.tls.client import Trust

pytestmark = pytest.mark.usefixtures("both_loops")


@pytest.fixture
def broker(authority):
    return FakeBroker(authority.server_context())


@pytest.fixture
def other(authority):
    return FakeBroker(authority.server_context())


@pytest.fixture
def settings(authority):
    return {"tls": BrokerTls(enabled=True, ca=str(authority.ca))}


@pytest.fixture
def trust(settings):
    return Trust(settings["tls"])


class MyLoop:
    """The running loop, with some methods that a test has put in."""

    def __init__(self, **methods):
        self.real = asyncio.get_running_loop()
        self.__dict__ |= methods

    def __getattr__(self, name):
        return getattr(self.real, name)


@contextlib.asynccontextmanager
async def mute(authority):
    """Completes the handshake, and then neither reads nor writes: no goodbye of TLS either."""
    writers = []

    async def serve(_, writer):
        writer.transport.pause_reading()
        writers.append(writer)

    context = authority.server_context()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await server.wait_closed()


@pytest.fixture
def bad_node(request, authority, stranger, tmp_path):
    """By name, a context manager that gives the port of a node that cannot be used."""

    @contextlib.asynccontextmanager
    async def make(what):
        if what == "dead":
            yield free_ports(1)[0]
        elif what == "unreachable":
            with silent_address() as port:
                yield port
        elif what == "hanging":
            with silent_listener() as port:
                yield port
        elif what == "mute":
            async with mute(authority) as port:
                yield port
        else:
            wrong = {"stranger": lambda: stranger}.get(
                what, lambda: authority.for_others(tmp_path / "other", "rabbit.example")
            )()
            async with FakeBroker(wrong.server_context()) as node:
                yield node.port
                assert node.published == []

    return make


async def nothing_is_left(publish):
    """After the end of a publisher neither a connection is counted nor a task is running."""
    await publish.publisher.close()
    await publish.until(
        lambda: repr(publish.publisher).count(", 0 connections>") == len(publish.nodes("up"))
    )
    own = {t for t in asyncio.all_tasks() if "statelessd/broker" in str(t.get_coro().cr_code)}
    assert own == set()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("dead", "Connection refused"),
        ("unreachable", "does not answer"),
        ("hanging", "does not answer"),
        ("mute", "does not answer"),
        ("stranger", "authority that is not trusted"),
        ("other name", "another name"),
    ],
)
async def test_a_node_that_cannot_be_used_leads_to_the_next(
    broker, client, caplog, bad_node, no_second_attempt, what, said
):
    async with bad_node(what) as port:
        publish = client(hosts=hosts(port, broker))
        assert await publish.logins(6) == [O.CONFIRMED] * 6
        assert publish.nodes("up") == dict(zip(hosts(port, broker), [False, True], strict=True))
        await nothing_is_left(publish)
    [line] = [r.getMessage() for r in caplog.records if hosts(port)[0] in r.getMessage()]
    assert said in line
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_a_single_node_that_hangs_is_told_by_the_deadline(client, caplog):
    with silent_listener() as port:
        publish = client(port=port, connect_timeout=60.0)
        told = await publish.start(timeout=0.3)
        assert told == (O.BROKER_UNAVAILABLE, "The broker did not accept the connection in time.")
        await nothing_is_left(publish)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_closed_while_it_connects_to_the_second_node(client):
    with silent_listener() as port:
        publish = client(hosts=hosts(*free_ports(1), port), connect_timeout=60.0)
        pending = publish.start(timeout=60)
        await publish.until(lambda: publish.shows(f"{port}: up, 1 connections"))
        await nothing_is_left(publish)
        assert pending.result()[0] is O.SHUTTING_DOWN


ACCOUNT = Probe(username="watch", password="x", virtual_host="/w")


@pytest.mark.parametrize("probe", [Probe(), ACCOUNT], ids=["greeting", "login"])
@pytest.mark.parametrize("what", ["dead", "hanging", "mute", "stranger"])
async def test_the_probe_finds_the_node_that_is_there(broker, client, bad_node, what, probe):
    async with bad_node(what) as port:
        asked = client(hosts=hosts(port, broker), probe=probe)
        await asked.publisher.ask_broker()
        await asked.until(lambda: asked.state == "reachable")
        assert asked.publisher.broker_state().reason == ""
        assert asked.nodes("up")[hosts(broker)[0]] is True
        await nothing_is_left(asked)


@pytest.mark.parametrize("what", ["unreachable", "hanging", "mute"])
async def test_a_stop_does_not_wait_for_the_probe(client, bad_node, what):
    async with bad_node(what) as port:
        asked = client(port=port, connect_timeout=60.0, login_timeout=60.0)
        await asked.publisher.ask_broker()
        await asked.until(lambda: asked.shows(f"{port}: up, 1 connections"))
        await asyncio.wait_for(nothing_is_left(asked), 20)


async def test_a_dialer_that_is_cancelled_at_any_moment_counts_and_keeps_nothing(
    broker, client, trust
):
    loop = asyncio.get_running_loop()
    for port in (*free_ports(1), broker.port):
        for turns in range(30):
            nodes = Nodes([Host("127.0.0.1", port)])
            dialer = Dialer(nodes, trust, loop)
            task = loop.create_task(dialer.connect(asyncio.Protocol, 5))
            await cancelled_after(turns, task)
            dialer.left()
            assert [n.connections for n in nodes] == [0]


async def cancelled_after(turns, task):
    for _ in range(turns):  # not to synchronise: each moment is tried
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, NotConnectedError):
        (await task).abort()


async def test_a_connection_that_is_made_just_too_late_does_not_end_the_next(broker, other, client):
    """The handshake ends in the turn of the loop in which patience does."""
    late = []

    async def create_connection(*args, **kwargs):
        made = await loop.real.create_connection(*args, **kwargs)
        if not late:
            late.append(made[0])
            raise TimeoutError
        return made

    loop = MyLoop(create_connection=create_connection)
    publish = client(loop, hosts=hosts(broker, other))
    assert await publish() is O.CONFIRMED
    assert late[0].is_closing()
    assert publish.shows("open, 1 channels")
    assert sorted(publish.nodes("connections").values()) == [0, 1]
    assert len(broker.peers) + len(other.peers) == 2
    await nothing_is_left(publish)
