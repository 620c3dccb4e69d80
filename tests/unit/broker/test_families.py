"""What LavinMQ, amqproxy and brokers that do not tell their version do otherwise."""

import brokerside
import pytest
from scenario import GUEST, O

from statelessd.message import Credentials

LONG = Credentials("guest", "s" * 9000)


@pytest.fixture(params=[(530, "LavinMQ"), (403, "AMQProxy")], ids=["LavinMQ", "amqproxy"])
def refusing(request):
    """Make the broker refuse what comes with Open, or through the proxy with the first channel."""
    code, product = request.param

    def refuse(broker, text):
        broker.product, broker.version = product, "2.9.1"

        def close(peer, *_):
            peer.send(brokerside.close(code, text))

        if product == "LavinMQ":
            broker.on_open = close
        else:
            broker.on_open_channel = close

    return refuse


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("NOT_ALLOWED - vhost not found", O.VIRTUAL_HOST_NOT_FOUND),
        ("NOT_ALLOWED - 'guest' doesn't have access to 'test'", O.FORBIDDEN),
        ("NOT_ALLOWED - vhost test not found", O.VIRTUAL_HOST_NOT_FOUND),
    ],
)
async def test_a_virtual_host_is_refused_after_one_login(broker, publish, refusing, text, outcome):
    refusing(broker, text)
    assert await publish() is outcome
    assert await publish() is outcome
    assert len(broker.peers) == 1


async def test_a_connection_limit_is_waited_for(broker, publish, refusing):
    text = "NOT_ALLOWED - access to vhost 'test' refused: connection limit (1) is reached"
    refusing(broker, text)
    outcome, detail = await publish.start(timeout=0.5)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "connection limit (1) is reached" in detail
    assert len(broker.peers) > 1


async def test_a_login_that_is_refused_behind_a_proxy_is_a_refused_login(broker, publish):
    broker.product = "AMQProxy"
    text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."
    broker.on_open_channel = lambda peer, _: peer.send(brokerside.close(403, text))
    assert await publish() is O.UNAUTHORIZED
    assert await publish() is O.TOO_MANY_FAILURES
    assert len(broker.peers) == 1
    assert publish.publisher.connection_statistics() == {}


async def test_a_close_later_in_a_connections_life_refuses_no_login(broker, publish):
    broker.product = "AMQProxy"
    assert await publish() is O.CONFIRMED
    ack = broker.on_publish
    broker.on_publish = lambda peer, *_: peer.send(brokerside.close(403, "ACCESS_REFUSED - x"))
    assert await publish() is O.UNCONFIRMED
    broker.on_publish = ack
    assert await publish() is O.CONFIRMED
    assert len(broker.peers) == 2


async def test_a_proxy_without_a_broker_names_no_address(broker, publish):
    broker.product = "AMQProxy"
    text = "UPSTREAM_ERROR - Error connecting to '10.0.0.7:5672': Connection refused"
    broker.on_open_channel = lambda peer, _: peer.send(brokerside.close(503, text))
    outcome, detail = await publish.start(timeout=0.5, credentials=LONG)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "The proxy before the broker has no connection to it" in detail
    assert "10.0.0.7" not in detail
    broker.on_open_channel = lambda peer, n: peer.send(brokerside.channel_open_ok(n))
    assert await publish(credentials=LONG) is O.CONFIRMED
    broker.on_publish = lambda peer, *_: peer.send(brokerside.close(503, text))
    _, detail = await publish.start(credentials=LONG)
    assert "10.0.0.7" not in detail


async def test_a_failing_back_end_is_no_refusal_and_its_address_is_nobodys_business(
    broker, publish
):
    text = (
        "NOT_ALLOWED - access to vhost 'test' refused for user 'guest', backend "
        "rabbit_auth_backend_http returned an error: "
        '{failed_connect,[{to_address,{"10.0.0.7",8000}},{inet,[inet],econnrefused}]}'
    )
    fail = broker.on_open
    broker.on_open = lambda peer: peer.send(brokerside.close(530, text))
    outcome, detail = await publish.start(timeout=0.5)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "authorisation back end failed" in detail
    assert "10.0.0.7" not in detail
    broker.on_open = fail
    assert await publish() is O.CONFIRMED


@pytest.mark.parametrize(
    "refuse",
    [
        pytest.param(lambda peer: peer.cut(), id="reset"),
        pytest.param(lambda peer: peer.hang_up(), id="end of stream"),
    ],
)
async def test_a_large_login_that_the_broker_hangs_up_on_is_tried_once(broker, client, refuse):
    broker.on_login = refuse
    port = broker.port
    # The same broker by two names: a node that is thought to be down would be passed over.
    publish = client(hosts=[f"127.0.0.1:{port}", f"localhost:{port}"])
    outcome, detail = await publish.start(credentials=LONG)
    assert outcome is O.UNAUTHORIZED
    assert "too long" in detail
    assert "9" in detail.partition("a login of ")[2]
    assert await publish(credentials=LONG) is O.TOO_MANY_FAILURES
    assert len(broker.peers) == 1
    assert all(node.up for node in publish.publisher.metrics().nodes)
    broker.on_login = None
    assert await publish(credentials=GUEST) is O.CONFIRMED


async def test_a_short_login_that_the_broker_hangs_up_on_is_tried_again(broker, publish):
    broker.on_login = lambda peer: peer.cut()
    waiting = publish.start()
    await publish.until(lambda: len(broker.peers) == 2)
    broker.on_login = None
    assert (await waiting)[0] is O.CONFIRMED


async def test_a_large_login_behind_a_proxy_is_tried_once(broker, publish):
    broker.product = "AMQProxy"
    text = "UPSTREAM_ERROR - End of file reached"
    broker.on_open_channel = lambda peer, _: peer.send(brokerside.close(503, text))
    outcome, detail = await publish.start(credentials=LONG)
    assert outcome is O.UNAUTHORIZED
    assert "too long" in detail
    assert len(broker.peers) == 1


async def test_a_full_disk_is_no_fault_of_the_message(broker, client):
    broker.product, broker.version = "LavinMQ", "2.9.1"
    text = "PRECONDITION_FAILED - Server low on disk space"
    broker.on_publish = lambda peer, channel, *_: peer.send(
        brokerside.channel_close(channel, 406, text)
    )
    assert await client()() is O.BROKER_BLOCKED


async def test_a_foreign_user_id_is_forbidden_by_lavinmq_too(broker, client):
    text = "PRECONDITION_FAILED - Message's user_id property 'a' doesn't match actual user 'guest'"
    broker.on_publish = lambda peer, channel, *_: peer.send(
        brokerside.channel_close(channel, 406, text, (0, 0))
    )
    assert await client()(user_id="a") is O.FORBIDDEN
