"""A storm of invented users: it costs users who are connected nothing, and newcomers a wait."""

import time

import brokerside
import pytest
from scenario import O, outcomes

from statelessd.message import Credentials

PLACES = 8  # logins of strangers that are under way at once, by default


class At:
    """A client at an address, which has to be asked for before a first login only."""

    def __init__(self, address):
        self._address = address
        self.asked = 0

    def address(self):
        self.asked += 1
        return self._address


STORM, ELSEWHERE = At("192.0.2.1"), At("192.0.2.2")


def user(name):
    return Credentials(name, "x")


def storm(publish, count, sender=STORM, prefix="invented", **options):
    """Publishes of so many users whom the broker does not know."""
    return [
        publish.start(credentials=user(f"{prefix} {number}"), sender=sender, **options)
        for number in range(count)
    ]


def name_of(peer):
    return peer.start_ok.response.split("\0")[1]


class Gatekeeper:
    """Lets in users whose names begin with ``good``; others wait until they are refused."""

    def __init__(self, broker):
        self.held = []
        self.seen = []  # names, in the order of their logins
        broker.on_login = self

    def __call__(self, peer):
        name = name_of(peer)
        self.seen.append(name)
        if name.startswith("good"):
            peer.send(brokerside.tune())
        else:
            self.held.append(peer)

    def refuse(self, count=1):
        for _ in range(count):
            self.held.pop(0).send(brokerside.close(403, "ACCESS_REFUSED - x"))


@pytest.fixture
def gatekeeper(broker):
    return Gatekeeper(broker)


async def test_few_strangers_log_in_at_a_time(broker, gatekeeper, publish):
    pending = storm(publish, 100)
    for refused in range(100):
        await publish.until(lambda n=refused: len(gatekeeper.seen) == min(100, n + PLACES))
        assert len(broker.alive()) <= PLACES + 1  # one may not have noticed its end
        figures = publish.publisher.figures()
        assert figures.logins_under_way <= PLACES
        gatekeeper.refuse()
    assert set(await outcomes(*pending)) == {O.UNAUTHORIZED}
    assert publish.publisher.figures().logins_waiting == 0


async def test_users_who_are_connected_lose_nothing(broker, gatekeeper, client):
    publish = client(max_connections=2)
    good = [user("good 1"), user("good 2")]
    for each in good:
        assert await publish(credentials=each) is O.CONFIRMED
    pending = storm(publish, 100)
    for _ in range(100):
        await publish.until(lambda: gatekeeper.held)
        assert [await publish(credentials=each) for each in good] == [O.CONFIRMED] * 2
        gatekeeper.refuse()
    assert set(await outcomes(*pending)) == {O.UNAUTHORIZED}
    await publish.until(lambda: len(broker.alive()) <= 2)
    assert not broker.peers[0].gone
    assert not broker.peers[1].gone
    assert publish.publisher.figures().connections_closed == {}


async def test_a_newcomer_takes_an_idle_ones_connection_once_the_broker_has_let_it_in(
    broker, client
):
    publish = client(max_connections=2)
    for name in ("least recently used", "used"):
        assert await publish(credentials=user(name)) is O.CONFIRMED
    first, second = broker.peers
    broker.on_login = lambda peer: None
    newcomer = publish.start(credentials=user("newcomer"))
    await publish.until(lambda: len(broker.peers) == 3 and broker.peers[2].start_ok)
    assert len(broker.alive()) == 3
    broker.peers[2].send(brokerside.tune())
    assert await outcomes(newcomer) == [O.CONFIRMED]
    await publish.until(lambda: first.gone)
    assert not second.gone
    assert publish.publisher.figures().connections_closed == {"limit": 1}


async def test_a_newcomer_finds_all_connections_busy(broker, client):
    publish = client(max_connections=1)
    broker.is_silent()
    busy = publish.start(b"busy")
    await publish.published(b"busy")
    assert await publish(credentials=user("newcomer")) is O.OVERLOADED
    assert publish.publisher.figures().refusals == {"broker_connections": 1}
    await publish.until(lambda: broker.peers[1].gone)
    assert publish.publisher.figures().connections_closed == {"full": 1}
    broker.peers[0].send(brokerside.ack(1, 1))
    assert await outcomes(busy) == [O.CONFIRMED]


async def test_users_whom_the_broker_knows_come_back_first(broker, publish):
    known = [user(f"good {number}") for number in range(40)]
    for each in known:
        assert await publish(credentials=each) is O.CONFIRMED
    await broker.stop()
    Gatekeeper(broker)
    await broker.start_again()
    strangers = storm(publish, 100)
    await publish.until(lambda: publish.publisher.figures().logins_under_way == PLACES)
    back = [publish.start(credentials=each, sender=STORM) for each in known]
    assert set(await outcomes(*back)) == {O.CONFIRMED}
    assert not any(each.done() for each in strangers)


async def test_a_user_whom_the_broker_refuses_is_a_stranger_from_then_on(
    broker, gatekeeper, client
):
    publish = client(refused_for=0, idle_timeout=0.5)
    once = user("good once")
    assert await publish(credentials=once) is O.CONFIRMED
    await publish.until(lambda: not broker.alive() and not publish.shows("<Session"))
    broker.refuses_logins()
    asked = At("192.0.2.3")
    assert await publish(credentials=once, sender=asked) is O.UNAUTHORIZED
    assert asked.asked == 0
    assert await publish(credentials=once, sender=asked) is O.UNAUTHORIZED
    assert asked.asked == 1


async def test_a_newcomer_at_another_address_waits_for_a_few_turns(gatekeeper, publish):
    storm(publish, 500)
    await publish.until(lambda: len(gatekeeper.held) == PLACES)
    newcomers = storm(publish, 3, ELSEWHERE, "good newcomer")
    turns = 0
    while not all(each.done() for each in newcomers):
        await publish.until(lambda: gatekeeper.held or all(each.done() for each in newcomers))
        if gatekeeper.held:
            gatekeeper.refuse()
            turns += 1
    assert set(await outcomes(*newcomers)) == {O.CONFIRMED}
    assert turns < 100  # of 500


async def test_an_address_is_asked_for_before_a_first_login_only(broker, publish):
    sender = At("192.0.2.3")
    for _ in range(3):
        assert await publish(sender=sender) is O.CONFIRMED
    broker.peers[0].cut()
    await publish.until(lambda: not publish.shows("<Session"))
    assert await publish(sender=sender) is O.CONFIRMED
    assert sender.asked == 1


async def test_who_had_no_turn_is_told_so(gatekeeper, publish):
    storm(publish, PLACES)
    outcome, detail = await publish.start(credentials=user("good"), timeout=0.3)
    assert outcome is O.BROKER_UNAVAILABLE
    assert detail == "Too many other logins are in progress."
    assert not publish.shows("'good'")
    assert publish.publisher.figures().logins_waiting == 0


async def test_who_left_has_no_turn(gatekeeper, publish):
    storm(publish, PLACES)
    await publish.until(lambda: len(gatekeeper.held) == PLACES)
    for gone in storm(publish, 50, prefix="good gone"):
        publish.publisher.cancel(gone.publish)
    assert not publish.shows("gone")
    last = publish.start(credentials=user("good last"))
    gatekeeper.refuse(2)
    assert await outcomes(last) == [O.CONFIRMED]
    assert gatekeeper.seen[PLACES:] == ["good last"]


# What may wait for first logins: a quarter of all messages and bytes.


async def test_the_messages_of_strangers_leave_room_for_those_of_users(broker, gatekeeper, client):
    publish = client(max_messages=400)
    assert await publish(credentials=user("good")) is O.CONFIRMED
    strangers = storm(publish, 500)
    refused = [each for each in strangers if each.done()]
    assert 400 <= len(refused) < 410
    assert {each.result()[0] for each in refused} == {O.OVERLOADED}
    assert publish.publisher.figures().refusals == {"logins": len(refused)}
    broker.is_silent()
    busy = [publish.start(b"busy", credentials=user("good")) for _ in range(300)]
    assert not any(each.done() for each in busy)


@pytest.mark.parametrize(("count", "size"), [(400, 10), (100, 30_000)], ids=["messages", "bytes"])
async def test_a_newcomer_displaces_one_of_the_storm(gatekeeper, client, count, size):
    publish = client(max_messages=400, max_bytes=4_000_000)
    strangers = storm(publish, count, body=b"x" * size)
    waiting = sum(not each.done() for each in strangers)
    newcomers = storm(publish, 2, ELSEWHERE, "good newcomer", body=b"x" * size)
    assert not any(each.done() for each in newcomers)
    await publish.until(lambda: sum(not each.done() for each in strangers) == waiting - 2)
    while not all(each.done() for each in newcomers):
        await publish.until(lambda: gatekeeper.held or all(each.done() for each in newcomers))
        gatekeeper.refuse(min(1, len(gatekeeper.held)))
    assert set(await outcomes(*newcomers)) == {O.CONFIRMED}
    assert [await publish(credentials=user("good newcomer 0"), body=b"x" * 3_000_000)] == [
        O.CONFIRMED
    ]


async def test_one_stranger_may_send_a_message_larger_than_the_share_of_all(gatekeeper, client):
    publish = client(max_bytes=4_000_000)
    large = publish.start(b"x" * 1_900_000, credentials=user("good"), sender=STORM)
    assert await outcomes(large) == [O.CONFIRMED]


async def test_a_message_that_is_refused_leaves_no_session(gatekeeper, client):
    publish = client(max_messages=400)
    storm(publish, 1000)
    assert 90 < repr(publish.publisher).count("<Session ") <= 100


async def test_of_too_many_refusals_the_oldest_is_forgotten(broker, client, monkeypatch):
    monkeypatch.setattr("statelessd.broker.pool.MOST_REFUSED", 5)
    publish = client(refused_for=60)
    broker.refuses_logins()
    users = [user(f"invented {number}") for number in range(20)]
    for each in users:
        assert await publish(credentials=each) is O.UNAUTHORIZED
    assert repr(publish.publisher).count("<Session ") == 5
    for each in users[15:]:
        assert await publish(credentials=each) is O.TOO_MANY_FAILURES
    assert await publish(credentials=users[0]) is O.UNAUTHORIZED


async def test_a_stranger_who_has_to_wait_costs_little(gatekeeper, client):
    publish = client(max_connections=50)
    storm(publish, 2000)
    begun = time.process_time()
    for pending in storm(publish, 2000, ELSEWHERE, "other"):
        publish.publisher.cancel(pending.publish)
    assert time.process_time() - begun < 2  # 1 ms each; it takes a tenth of that


async def test_a_broker_that_is_away_is_the_reason_and_not_the_others(broker, publish):
    await broker.stop()
    pending = storm(publish, 30, timeout=1)
    assert set(await outcomes(*pending)) == {O.BROKER_UNAVAILABLE}
    assert {(await each)[1] for each in pending} == {
        "No connection to the broker: Connection refused."
    }


async def test_closing_does_not_wait_for_logins(gatekeeper, publish):
    pending = storm(publish, 50)
    await publish.until(lambda: len(gatekeeper.held) == PLACES)
    await publish.publisher.close()
    assert set(await outcomes(*pending)) == {O.SHUTTING_DOWN}
    assert len(gatekeeper.seen) == PLACES
