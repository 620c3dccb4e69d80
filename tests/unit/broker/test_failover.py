"""Several nodes: the next one is tried at once, and one that is back is used again."""

import asyncio
import contextlib
import socket
import time

import brokerside
import pytest
from fakebroker import FakeBroker
from gateway import free_ports
from scenario import O, scenario

from statelessd.broker import session
from statelessd.message import Credentials


def hosts(*brokers):
    return tuple(f"127.0.0.1:{getattr(broker, 'port', broker)}" for broker in brokers)


def node_connections(publish):
    return publish.publisher.figures().node_connections


def up(publish):
    return publish.publisher.figures().nodes_up


async def fresh(publish, count, seconds=5.0):
    """So many logins, each a connection of its own."""
    return [
        await publish(credentials=Credentials(f"user-{i}", "x"), timeout=seconds)
        for i in range(count)
    ]


@pytest.fixture
def no_second_attempt(monkeypatch):
    """Who pauses before the next node does not get there in time."""
    monkeypatch.setattr(session, "FIRST_PAUSE", 60)
    monkeypatch.setattr(session, "LONGEST_PAUSE", 60)


def refuse(code, text):
    return lambda peer: peer.send(brokerside.close(code, text))


@scenario
async def test_a_node_that_refuses_costs_no_pause(broker, client, no_second_attempt):
    [dead, dead_too] = free_ports(2)
    publish = client(hosts=hosts(dead, dead_too, broker))
    assert await fresh(publish, 10) == [O.CONFIRMED] * 10
    assert up(publish) == dict(
        zip(hosts(dead, dead_too, broker), [False, False, True], strict=True)
    )


@scenario
async def test_logins_spread_over_the_nodes(broker, client):
    async with FakeBroker() as other:
        publish = client(hosts=hosts(broker, other))
        assert await fresh(publish, 10) == [O.CONFIRMED] * 10
        assert node_connections(publish) == dict.fromkeys(hosts(broker, other), 5)
        await publish.publisher.close()


@scenario
async def test_a_node_that_is_lost_is_replaced_and_used_again_when_it_returns(broker, client):
    async with FakeBroker() as other:
        publish = client(hosts=hosts(broker, other), reverify_after=0.5)
        assert await fresh(publish, 6) == [O.CONFIRMED] * 6
        await other.stop()
        assert await fresh(publish, 6) == [O.CONFIRMED] * 6
        assert node_connections(publish)[hosts(other)[0]] == 0
        await other.start_again()
        # Without another publish: the logins that replace the old ones find it.
        await publish.until(lambda: node_connections(publish)[hosts(other)[0]] >= 2)
        assert up(publish) == dict.fromkeys(hosts(broker, other), True)
        assert await fresh(publish, 6) == [O.CONFIRMED] * 6
        await publish.publisher.close()


@pytest.mark.parametrize(
    ("code", "text", "is_down"),
    [
        (541, "INTERNAL_ERROR - access to vhost 'test' refused for user 'guest': "
              "vhost 'test' is down", False),
        (530, "NOT_ALLOWED - connection refused: node connection limit (1) is reached", False),
        (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", True),
    ],
)  # fmt: skip
@scenario
async def test_a_node_that_cannot_serve_a_login_leads_to_the_next(
    broker, client, no_second_attempt, code, text, is_down
):
    async with FakeBroker() as other:
        other.on_login = refuse(code, text)
        publish = client(hosts=hosts(broker, other))
        assert await fresh(publish, 6) == [O.CONFIRMED] * 6
        assert other.peers
        assert up(publish)[hosts(other)[0]] is not is_down
        await publish.publisher.close()


@scenario
async def test_a_virtual_host_that_is_down_everywhere_is_told_with_the_nodes_words(broker, client):
    async with FakeBroker() as other:
        for each in (broker, other):
            each.on_login = refuse(541, "INTERNAL_ERROR - vhost 'test' is down")
        outcome, detail = await client(hosts=hosts(broker, other)).start(timeout=0.5)
        assert outcome is O.BROKER_UNAVAILABLE
        assert "vhost 'test' is down" in detail
        assert abs(len(broker.peers) - len(other.peers)) <= 1  # round by round


@scenario
async def test_a_refused_login_is_asked_of_one_node_and_no_word_on_it(broker, client):
    async with FakeBroker() as other:
        for each in (broker, other):
            each.on_login = refuse(403, "ACCESS_REFUSED - x")
        publish = client(hosts=hosts(broker, other))
        assert await publish() is O.UNAUTHORIZED
        assert len(broker.peers) + len(other.peers) == 1
        assert all(up(publish).values())
        broker.on_login = other.on_login = None
        assert await fresh(publish, 4) == [O.CONFIRMED] * 4
        assert node_connections(publish) == dict.fromkeys(hosts(broker, other), 2)
        await publish.publisher.close()


@scenario
async def test_a_node_that_accepts_and_says_nothing_does_not_use_up_the_deadline(broker, client):
    async with FakeBroker() as other:
        other.accept = False
        publish = client(hosts=hosts(broker, other))
        assert await fresh(publish, 3, seconds=3) == [O.CONFIRMED] * 3
        assert other.peers
        assert up(publish)[hosts(other)[0]] is False
        await publish.publisher.close()


@contextlib.contextmanager
def silent_address():
    """An address that answers no attempt to connect: its listener's queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@scenario
async def test_a_host_that_does_not_answer_is_not_waited_for(broker, client):
    with silent_address() as silent:
        publish = client(hosts=hosts(silent, broker))
        begun = time.monotonic()
        assert await fresh(publish, 6) == [O.CONFIRMED] * 6
        assert time.monotonic() - begun < 3
        assert up(publish)[hosts(silent)[0]] is False


@scenario
async def test_a_host_that_does_not_answer_is_given_up_at_the_time_out(broker, client):
    with silent_address() as silent:
        publish = client(hosts=hosts(silent), connect_timeout=0.3)
        outcome, detail = await publish.start(timeout=1)
        assert outcome is O.BROKER_UNAVAILABLE
        assert "does not answer" in detail
        assert str(silent) not in detail


@scenario
async def test_every_address_of_a_name_is_tried(broker, client, monkeypatch):
    [dead] = free_ports(1)
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def getaddrinfo(host, port, **kwargs):
        if host != "rabbit.test":
            return await real(host, port, **kwargs)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each))
            for each in (dead, broker.port)
        ]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    publish = client(hosts=("rabbit.test:5672",))
    assert await fresh(publish, 6) == [O.CONFIRMED] * 6
    assert node_connections(publish) == {"rabbit.test:5672": 6}
    assert up(publish) == {"rabbit.test:5672": True}  # one of its addresses is


@scenario
async def test_a_name_that_leads_nowhere_is_one_node_that_failed(broker, client):
    publish = client(hosts=("a..b", *hosts(broker)))
    assert await fresh(publish, 4) == [O.CONFIRMED] * 4
    assert up(publish)["a..b:" + str(broker.port)] is False


@scenario
async def test_after_a_stall_the_next_connection_goes_to_another_node(broker, client):
    async with FakeBroker() as other:
        publish = client(hosts=hosts(broker, other), stalled_timeout=0.5)
        assert await publish() is O.CONFIRMED
        used, spare = (broker, other) if broker.peers else (other, broker)
        used.on_publish = lambda *_: None
        assert await publish(b"stalled", timeout=10) is O.UNCONFIRMED
        assert await publish(b"next") is O.CONFIRMED
        assert spare.published == [b"next"]
        assert await fresh(publish, 3) == [O.CONFIRMED] * 3  # nor do those of others
        assert len(used.peers) == 1
        await publish.publisher.close()


@scenario
async def test_a_channel_that_goes_on_nacking_is_replaced(broker, client):
    """As one of RabbitMQ 3.10 does that began while a quorum queue had no leader."""
    publish = client()

    def answer(peer, channel, tag, body):
        peer.send((brokerside.nack if channel == 1 else brokerside.ack)(channel, tag))

    broker.on_publish = answer
    assert await publish() is O.NACKED
    async with asyncio.timeout(30):
        while (outcome := await publish()) is O.NACKED:
            pass
    assert outcome is O.CONFIRMED
    assert broker.peers[0].methods.count("Channel.Open") == 2
    await publish.until(lambda: "Channel.Close" in broker.peers[0].methods)


@scenario
async def test_what_is_in_flight_on_a_replaced_channel_is_settled_there(broker, client):
    publish = client()
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.nack(channel, tag))
    assert await publish() is O.NACKED
    broker.on_publish = lambda *_: None
    held = publish.start(b"held", routing_key="held", timeout=15)
    await publish.until(lambda: b"held" in broker.published)
    [a_session] = publish.publisher._pool.sessions()
    await publish.until(lambda: a_session.channels._single_use)
    broker.on_publish = lambda peer, channel, tag, body: peer.send(brokerside.ack(channel, tag))
    assert await publish(b"next") is O.CONFIRMED
    assert not held.done()
    broker.peers[0].send(brokerside.ack(1, 2))
    assert (await held)[0] is O.CONFIRMED
    await publish.until(lambda: "Channel.Close" in broker.peers[0].methods)
    assert a_session.load.messages == 0


@scenario
async def test_stopping_while_a_connection_is_made_leaves_nothing_behind(broker, client):
    with silent_address() as silent:
        publish = client(hosts=hosts(silent))
        pending = publish.start()
        await publish.until(lambda: node_connecting(publish) == 1)
        await publish.publisher.close()
        assert (await pending)[0] is O.SHUTTING_DOWN
        await publish.until(lambda: node_connecting(publish) == 0)


def node_connecting(publish):
    return sum(node.connections for node in publish.publisher._pool.nodes)
