"""Several nodes over TLS: one that does not get through the handshake costs a moment, no more."""

import asyncio
import contextlib
import logging
import socket
import time

import pytest
from fakebroker import FakeBroker
from gateway import free_ports
from scenario import O
from tlsscenario import on_both_loops

from statelessd.broker import race, session
from statelessd.broker.dialer import Dialer
from statelessd.broker.nodes import Nodes
from statelessd.broker.race import ConnectionRace, NotConnectedError
from statelessd.config.hosts import Host
from statelessd.config.settings import Probe
from statelessd.message import Credentials


@pytest.fixture
def other_name(tmp_path, authority):
    """Of the same authority as the right one."""
    return authority.for_others(tmp_path / "other", "rabbit.example")


@pytest.fixture
def no_second_attempt(monkeypatch):
    monkeypatch.setattr(session, "FIRST_PAUSE", 60)
    monkeypatch.setattr(session, "LONGEST_PAUSE", 60)


def host(port):
    return f"127.0.0.1:{port}"


def counts(publish):
    """What each node, and each of its addresses, counts as connections."""
    return [
        each.connections
        for node in publish.publisher._pool.nodes
        for each in (node, *node._addresses.values())
    ]


async def nothing_is_left(publish):
    await publish.until(lambda: not any(counts(publish)))
    own = {t for t in asyncio.all_tasks() if "statelessd/broker" in str(t.get_coro().cr_code)}
    assert own == set()


@contextlib.contextmanager
def hangs():
    """Takes connections (the kernel does) and never says a word of TLS."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield listener.getsockname()[1]


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
        yield server.sockets[0].getsockname()[1], writers
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await server.wait_closed()


async def each_is_confirmed_within(seconds, publish, logins=6):
    for i in range(logins):
        begun = time.monotonic()
        assert await publish(credentials=Credentials(f"user-{i}", "x")) is O.CONFIRMED
        assert time.monotonic() - begun < seconds


def no_error(caplog):
    return [r for r in caplog.records if r.levelno >= logging.ERROR] == []


@on_both_loops
async def test_a_node_that_hangs_in_the_handshake(broker, client, caplog, no_second_attempt):
    with hangs() as port:
        publish = client(hosts=(host(port), host(broker.port)))
        await each_is_confirmed_within(1.6, publish)
        assert publish.publisher.figures().nodes_up[host(port)] is False
        assert counts(publish)[:2] == [0, 0]
        await publish.publisher.close()
        await nothing_is_left(publish)
    assert no_error(caplog)


@on_both_loops
async def test_a_node_that_is_mute_after_the_handshake(
    broker, client, caplog, authority, no_second_attempt
):
    async with mute(authority) as (port, _):
        publish = client(hosts=(host(port), host(broker.port)))
        await each_is_confirmed_within(1.6, publish)
        await publish.publisher.close()
        await nothing_is_left(publish)
    assert no_error(caplog)


@pytest.mark.parametrize("which", ["stranger", "other_name"])
@on_both_loops
async def test_a_node_with_a_wrong_certificate(
    broker, client, caplog, request, which, no_second_attempt
):
    wrong = request.getfixturevalue(which)
    async with FakeBroker(wrong.server_context()) as other:
        publish = client(hosts=(host(other.port), host(broker.port)))
        await each_is_confirmed_within(0.9, publish)
        assert other.published == []
        assert publish.publisher.figures().nodes_up[host(other.port)] is False
        await publish.publisher.close()
        await nothing_is_left(publish)
    assert no_error(caplog)
    said = "another name" if which == "other_name" else "authority that is not trusted"
    [line] = [r.getMessage() for r in caplog.records if host(other.port) in r.getMessage()]
    assert said in line


@on_both_loops
async def test_a_single_node_that_hangs_is_told_by_the_deadline(broker, client, caplog):
    with hangs() as port:
        publish = client(port=port)
        begun = time.monotonic()
        outcome, detail = await publish.start(timeout=0.3)
        assert time.monotonic() - begun < 0.8
        assert outcome is O.BROKER_UNAVAILABLE
        assert detail == "The broker did not let us connect in time."
        await publish.publisher.close()
        await nothing_is_left(publish)
    assert no_error(caplog)


@on_both_loops
async def test_closed_while_it_connects_to_the_second_node(broker, client, caplog):
    [dead] = free_ports(1)
    with hangs() as port:
        publish = client(hosts=(host(dead), host(port)))
        pending = publish.start()
        by_name = {str(n.host): n for n in publish.publisher._pool.nodes}
        [a_session] = publish.publisher._pool.sessions()
        await publish.until(lambda: by_name[host(port)].connections and a_session.connection)
        await asyncio.wait_for(publish.publisher.close(), 1)
        assert (await pending)[0] is O.SHUTTING_DOWN
        await nothing_is_left(publish)
    assert no_error(caplog)


ACCOUNT = Probe(username="watch", password="x", virtual_host="/w")


async def found(asked):
    """What the probe finds, however long it takes."""
    await asked.publisher.ask_broker()
    await asked.until(lambda: not asked.publisher._probe.is_under_way)
    state = asked.publisher.broker_state()
    return state.state.value, state.reason


@pytest.mark.parametrize("probe", [Probe(), ACCOUNT], ids=["greeting", "login"])
@pytest.mark.parametrize("which", ["dead", "hanging", "mute", "wrong"])
@on_both_loops
async def test_the_probe_finds_the_node_that_is_there(
    broker, client, caplog, authority, stranger, which, probe
):
    async with contextlib.AsyncExitStack() as stack:
        if which == "dead":
            [port] = free_ports(1)
        elif which == "hanging":
            port = stack.enter_context(hangs())
        elif which == "mute":
            port, _ = await stack.enter_async_context(mute(authority))
        else:
            context = stranger.server_context()
            port = (await stack.enter_async_context(FakeBroker(context))).port
        asked = client(hosts=(host(port), host(broker.port)), probe=probe)
        for node in asked.publisher._pool.nodes:  # so that the bad one comes first
            node.connections = int(str(node.host) != host(port))
        begun = time.monotonic()
        assert await found(asked) == ("reachable", "")
        assert time.monotonic() - begun < 1.8
        assert [n.connections for n in asked.publisher._pool.nodes] == [0, 1]  # as set above
        assert asked.publisher.figures().nodes_up[host(port)] is False
    assert no_error(caplog)


@pytest.mark.parametrize("where", ["connect", "handshake", "start"])
@on_both_loops
async def test_a_stop_does_not_wait_for_the_probe(broker, client, caplog, authority, where):
    async with contextlib.AsyncExitStack() as stack:
        if where == "start":
            port, reached = await stack.enter_async_context(mute(authority))
        else:
            port, reached = stack.enter_context(hangs()), True
        if where == "connect":  # the listener's queue is full
            full = stack.enter_context(socket.socket())
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
        asked = client(port=port, connect_timeout=30, login_timeout=30)
        await asked.publisher.ask_broker()
        await asked.until(lambda: reached and any(counts(asked)))
        begun = time.monotonic()
        await asked.publisher.close()
        assert time.monotonic() - begun < 0.5
        await nothing_is_left(asked)
    assert no_error(caplog)


@on_both_loops
async def test_a_dialer_that_is_cancelled_at_any_moment_counts_and_keeps_nothing(
    broker, client, authority
):
    loop = asyncio.get_running_loop()
    [dead] = free_ports(1)
    trust = client().publisher._pool._trust
    for port in (dead, broker.port):
        for turns in range(30):
            nodes = Nodes([Host("127.0.0.1", port)])
            dialer = Dialer(nodes, trust, loop)
            task = loop.create_task(dialer.connect(asyncio.Protocol, 5))
            for _ in range(turns):  # not to synchronise: each moment is tried
                await asyncio.sleep(0)
            task.cancel()
            try:
                transport = await task
            except (asyncio.CancelledError, NotConnectedError):
                pass
            else:
                transport.abort()
            dialer.left()
            assert [n.connections for n in nodes] == [0]


@on_both_loops
async def test_cancelled_when_one_address_has_just_won_over_another(broker, client, monkeypatch):
    """Whoever waited for the end of the slower attempt would lose the winner's socket."""
    loop = asyncio.get_running_loop()
    publish = client()
    trust = publish.publisher._pool._trust
    monkeypatch.setattr(race, "STAGGER", 0.01)
    real = ConnectionRace._attempt

    for turns in range(10):
        begun, go = [], asyncio.Event()

        async def attempt(self, address, begun=begun, go=go):
            begun.append(address)
            await (go.wait() if len(begun) == 2 else asyncio.Event().wait())
            return await real(self, address)

        monkeypatch.setattr(ConnectionRace, "_attempt", attempt)
        nodes = Nodes([Host("127.0.0.1", broker.port)] * 2)
        dialer = Dialer(nodes, trust, loop)
        task = loop.create_task(dialer.connect(asyncio.Protocol, 5))
        await publish.until(lambda begun=begun: len(begun) == 2)
        go.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).abort()
        dialer.left()
        assert [n.connections for n in nodes] == [0, 0]


@on_both_loops
async def test_a_connection_that_is_made_just_too_late_does_not_end_the_next(
    broker, client, monkeypatch
):
    """The handshake ends in the turn of the loop in which patience does."""
    real = Dialer._shake_hands
    late = []

    async def shake_hands(self, *args):
        transport = await real(self, *args)
        if not late:
            late.append(transport)
            raise TimeoutError
        return transport

    monkeypatch.setattr(Dialer, "_shake_hands", shake_hands)
    async with FakeBroker(broker._tls) as other:
        publish = client(hosts=(host(broker.port), host(other.port)))
        assert await publish() is O.CONFIRMED
        [a_session] = publish.publisher._pool.sessions()
        assert late[0].is_closing()
        assert sum(node.connections for node in publish.publisher._pool.nodes) == 1
        assert a_session.connection is not None
        assert a_session.connection._transport is not late[0]
        assert len(broker.peers) + len(other.peers) == 2
        await publish.publisher.close()
        await nothing_is_left(publish)
