"""What LavinMQ, amqproxy and brokers that do not tell their version do otherwise."""

import brokerside
import pytest
from scenario import GUEST, O

from statelessd.message import Credentials

LONG = Credentials("guest", "s" * 9000)


def refuse(broker, product, code, text):
    """Refuse what comes with Open, or through the proxy with the first channel."""
    broker.product, broker.version = product, "2.9.1"
    name = "on_open_channel" if product == "AMQProxy" else "on_open"
    setattr(broker, name, lambda peer, *_: peer.send(brokerside.close(code, text)))


FAMILIES = pytest.mark.parametrize(("product", "code"), [("LavinMQ", 530), ("AMQProxy", 403)])


@FAMILIES
@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("NOT_ALLOWED - vhost not found", O.VIRTUAL_HOST_NOT_FOUND),
        ("NOT_ALLOWED - 'guest' doesn't have access to 'test'", O.FORBIDDEN),
        ("NOT_ALLOWED - vhost test not found", O.VIRTUAL_HOST_NOT_FOUND),
    ],
)
async def test_a_virtual_host_is_refused_after_one_login(
    broker, publish, product, code, text, outcome
):
    refuse(broker, product, code, text)
    assert [await publish() for _ in range(2)] == [outcome] * 2
    assert len(broker.peers) == 1


@FAMILIES
async def test_a_connection_limit_is_waited_for(broker, publish, product, code):
    text = "NOT_ALLOWED - access to vhost 'test' refused: connection limit (1) is reached"
    refuse(broker, product, code, text)
    outcome, detail = await publish.start(timeout=1.5)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "connection limit (1) is reached" in detail
    assert len(broker.peers) > 1


async def test_a_login_that_is_refused_behind_a_proxy_is_a_refused_login(broker, publish):
    text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."
    refuse(broker, "AMQProxy", 403, text)
    assert [await publish() for _ in range(2)] == [O.UNAUTHORIZED, O.TOO_MANY_FAILURES]
    assert len(broker.peers) == 1
    assert publish.publisher.connection_statistics() == {}


async def test_a_close_later_in_a_connections_life_refuses_no_login(broker, publish):
    broker.product = "AMQProxy"
    await publish.opens()
    broker.closes_connections(403, "ACCESS_REFUSED - x")
    assert await publish() is O.UNCONFIRMED
    broker.confirms()
    assert await publish() is O.CONFIRMED
    assert len(broker.peers) == 2


async def test_a_proxy_without_a_broker_names_no_address(broker, publish):
    opens = broker.on_open_channel
    text = "UPSTREAM_ERROR - Error connecting to '10.0.0.7:5672': Connection refused"
    refuse(broker, "AMQProxy", 503, text)
    outcome, detail = await publish.start(timeout=1.5, credentials=LONG)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "The proxy in front of the broker has no connection to it" in detail
    assert "10.0.0.7" not in detail
    broker.on_open_channel = opens
    assert await publish(credentials=LONG) is O.CONFIRMED
    broker.closes_connections(503, text)
    _, detail = await publish.start(credentials=LONG)
    assert "10.0.0.7" not in detail


@pytest.mark.parametrize("hang_up", ["reset", "end of stream", "a proxy's word"])
async def test_a_large_login_that_the_broker_hangs_up_on_is_tried_once(broker, client, hang_up):
    if hang_up == "a proxy's word":
        refuse(broker, "AMQProxy", 503, "UPSTREAM_ERROR - End of file reached")
    else:
        broker.on_login = lambda peer: peer.cut() if hang_up == "reset" else peer.hang_up()
    # The same broker by two names: a node that is thought to be down would be passed over.
    publish = client(hosts=[f"127.0.0.1:{broker.port}", f"localhost:{broker.port}"])
    outcome, detail = await publish.start(credentials=LONG)
    assert outcome is O.UNAUTHORIZED
    assert "too long" in detail
    assert "9" in detail.partition("a login of ")[2]
    assert await publish(credentials=LONG) is O.TOO_MANY_FAILURES
    assert len(broker.peers) == 1
    assert all(publish.nodes("up").values())
    if hang_up != "a proxy's word":
        broker.on_login = None
        assert await publish(credentials=GUEST) is O.CONFIRMED


@pytest.mark.parametrize(
    ("text", "over", "outcome"),
    [
        ("Server low on disk space", (60, 40), O.BROKER_BLOCKED),
        ("Message's user_id property 'a' doesn't match actual user 'guest'", (0, 0), O.FORBIDDEN),
    ],
)
async def test_lavinmq_closes_a_channel_in_its_own_words(broker, publish, text, over, outcome):
    broker.product, broker.version = "LavinMQ", "2.9.1"
    broker.closes_channels(406, f"PRECONDITION_FAILED - {text}", over)
    assert await publish(user_id="a") is outcome
