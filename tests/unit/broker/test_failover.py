"""Several nodes: the next one is tried at once, and one that is back is used again."""

import fcntl

import brokerside
import pytest
from scenario import O, hosts
from waiting import open_files

from statelessd.broker.reachability import Reachability
from statelessd.message import Credentials


async def test_logins_spread_over_the_nodes(broker, other, client):
    publish = client(hosts=hosts(broker, other))
    assert await publish.logins(10) == [O.CONFIRMED] * 10
    assert publish.nodes("connections") == dict.fromkeys(hosts(broker, other), 5)


@pytest.mark.parametrize(
    ("code", "text", "is_down"),
    [
        (541, "INTERNAL_ERROR - access to vhost 'test' refused for user 'guest': "
              "vhost 'test' is down", False),
        (530, "NOT_ALLOWED - connection refused: node connection limit (1) is reached", False),
        (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", True),
    ],
)  # fmt: skip
async def test_a_node_that_cannot_serve_a_login_leads_to_the_next(
    broker, other, client, no_second_attempt, code, text, is_down
):
    other.refuses_logins(code, text)
    publish = client(hosts=hosts(broker, other))
    assert await publish.logins(6) == [O.CONFIRMED] * 6
    assert other.peers
    assert publish.nodes("up")[hosts(other)[0]] is not is_down


async def test_a_virtual_host_that_is_down_everywhere_is_told_with_the_nodes_words(
    broker, other, client
):
    for each in (broker, other):
        each.refuses_logins(541, "INTERNAL_ERROR - vhost 'test' is down")
    outcome, detail = await client(hosts=hosts(broker, other)).start(timeout=1.5)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "vhost 'test' is down" in detail
    assert abs(len(broker.peers) - len(other.peers)) <= 1  # round by round


async def test_a_refused_login_is_asked_of_one_node_and_no_word_on_it(broker, other, client):
    for each in (broker, other):
        each.refuses_logins()
    publish = client(hosts=hosts(broker, other))
    assert await publish() is O.UNAUTHORIZED
    assert len(broker.peers) + len(other.peers) == 1
    assert all(publish.nodes("up").values())
    broker.on_login = other.on_login = None
    assert await publish.logins(4) == [O.CONFIRMED] * 4
    assert publish.nodes("connections") == dict.fromkeys(hosts(broker, other), 2)


async def test_a_name_that_leads_nowhere_is_one_node_that_failed(broker, client):
    outcome, detail = await client(host="a..b").start(timeout=1.5)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "not valid" in detail
    publish = client(hosts=("nobody.invalid", *hosts(broker)))
    assert await publish.logins(4) == [O.CONFIRMED] * 4
    assert publish.nodes("up")[f"nobody.invalid:{broker.port}"] is False


async def test_a_channel_that_goes_on_nacking_is_replaced(broker, publish):
    """As one of RabbitMQ 3.10 does that began while a quorum queue had no leader."""

    def settle(peer, channel, tag, _):  # not by its number, which the second channel may get
        is_first = peer.methods.count("Channel.Open") == 1
        peer.send((brokerside.nack if is_first else brokerside.ack)(channel, tag))

    broker.on_publish = settle
    assert await publish() is O.NACKED
    await publish.becomes(O.CONFIRMED)
    assert broker.peers[0].methods.count("Channel.Open") == 2
    await publish.until(lambda: "Channel.Close" in broker.peers[0].methods)


async def test_what_is_in_flight_on_a_replaced_channel_is_settled_there(broker, publish):
    broker.nacks()
    assert await publish() is O.NACKED
    broker.on_publish = lambda peer, channel, tag, _: (
        channel == 1 or peer.send(brokerside.ack(channel, tag))
    )
    held = publish.start(b"held", routing_key="held")
    await publish.becomes(O.CONFIRMED, b"next", timeout=0.3)
    assert not held.done()
    [peer] = broker.peers
    peer.send(brokerside.ack(1, peer.tags[1], multiple=True))
    assert (await held)[0] is O.CONFIRMED
    await publish.until(lambda: "Channel.Close" in peer.methods)
    await publish.is_idle()


async def test_without_a_descriptor_no_node_is_down_and_the_next_publish_connects(
    broker, publish, caplog
):
    with open_files(3):
        outcome, detail = await publish.start(timeout=0.5)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "the gateway is out of file descriptors" in detail
    assert publish.publisher.figures().nodes_up == {f"127.0.0.1:{broker.port}": True}
    assert await publish() is O.CONFIRMED
    assert "Traceback" not in caplog.text


async def test_a_message_that_cannot_be_given_up_does_not_hold_others_beyond_their_deadlines(
    broker, publish, monkeypatch, caplog
):
    broker.is_silent()
    stuck = [publish.start(b"%d" % n, timeout=0.3) for n in range(3)]
    monkeypatch.setattr(Reachability, "failure", property(lambda self: 1 / 0))
    assert {(await each)[0] for each in stuck} <= {O.UNCONFIRMED, O.BROKER_UNAVAILABLE}
    assert caplog.text.count("giving up a message at its deadline failed") <= 1


async def test_one_sessions_exception_does_not_end_the_time_outs_of_the_others(
    publish, monkeypatch, caplog
):
    for user in ("first", "second"):
        assert await publish(credentials=Credentials(user, "x")) is O.CONFIRMED
    asked, ioctl = [], fcntl.ioctl

    def fails(descriptor, *args):
        asked.append(descriptor)
        if descriptor == asked[0]:
            raise OSError("a fault")
        return ioctl(descriptor, *args)

    monkeypatch.setattr(fcntl, "ioctl", fails)  # once a second, for each connection
    await publish.until(lambda: len(set(asked)) == 2)
    assert caplog.text.count("checking the time-outs of a session failed") == 1
