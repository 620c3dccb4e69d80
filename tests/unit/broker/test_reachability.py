"""What is known and logged of the broker: a line for each change, not for each who notices."""

import logging
import re

import brokerside
import pytest
from scenario import O

from statelessd.broker.reachability import KNOWN_FOR, LoginLog, Reachability
from statelessd.message import Credentials
from statelessd.telemetry.log_limit import LINES, WINDOW


@pytest.fixture
def lines(caplog):
    """The lines at ``level`` and above."""
    caplog.set_level(logging.DEBUG, "statelessd")
    return lambda level=logging.INFO: [r.getMessage() for r in caplog.records if r.levelno >= level]


@pytest.fixture
def time():
    """Seconds, in a list of one."""
    return [0.0]


@pytest.fixture
def reachability(time):
    return Reachability(clock=lambda: time[0])


def state(reachability):
    return reachability.state.state.value


def logins(count):
    return [Credentials(f"user-{i}", "pw") for i in range(count)]


class TestReachability:
    def test_nobody_knows_what_nobody_has_looked_at_for_a_while(self, reachability, time):
        assert state(reachability) == "unused"
        reachability.failed("Connection refused")
        assert state(reachability) == "unreachable"
        time[0] = KNOWN_FOR + 1
        assert state(reachability) == "unused"

    def test_a_connection_tells_as_long_as_it_is_there(self, reachability, time):
        reachability.opened("a")
        time[0] = 10 * KNOWN_FOR
        assert state(reachability) == "connected"
        reachability.ended("a", lost=False)
        assert state(reachability) == "reachable"

    def test_a_lost_connection_says_nothing_of_the_broker(self, reachability):
        reachability.opened("a")
        reachability.ended("a", lost=True)
        assert state(reachability) == "unused"

    def test_one_failure_among_connections_is_not_the_brokers(self, reachability, lines):
        reachability.opened("a")
        assert reachability.failed("no file descriptors") is False
        assert state(reachability) == "connected"
        assert lines() == []

    def test_the_time_away_counts_from_the_loss_of_the_last_connection(
        self, reachability, time, lines
    ):
        reachability.opened("a")
        time[0] = 100.0
        reachability.ended("a", lost=True)
        time[0] = 103.0
        assert reachability.failed("Connection refused") is True
        reachability.failed("Connection refused")
        time[0] = 105.5
        reachability.answered()
        reachability.answered()
        assert lines() == [
            "cannot reach the broker: Connection refused",
            "the broker is reachable again, after 5.5 s",
        ]

    def test_a_refused_probe_stays_refused_whatever_users_logins_find(self, reachability, lines):
        for _ in range(3):
            reachability.refused("no such user")
            reachability.opened("a")
            reachability.ended("a", lost=False)
            reachability.answered()
        assert state(reachability) == "refused"
        reachability.answered(probe=True)
        assert state(reachability) == "reachable"
        assert lines() == [
            "the broker refuses the probe's login: no such user",
            "the broker accepts the probe's login again",
        ]


def test_single_logins_have_so_many_lines_and_then_a_count(time, lines):
    log = LoginLog(lambda: time[0])
    for number in range(LINES + 7):
        log.say("login %d", number)
    assert len(lines()) == LINES
    assert len(lines(logging.DEBUG)) == LINES + 7
    time[0] = WINDOW
    log.tick()
    log.tick()
    assert lines()[LINES:] == ["login 26 (and 6 more like it in the last 10 s)"]
    log.say("another")
    assert lines()[-1] == "another"


REFUSED = brokerside.close(403, "ACCESS_REFUSED - Login was refused")
LIMIT = brokerside.close(530, "NOT_ALLOWED - Connection refused for user 'x': user connection "
                              "limit (1) is reached")  # fmt: skip


@pytest.mark.parametrize("answer", [REFUSED, LIMIT, b""])
async def test_one_logins_trouble_is_not_the_brokers(broker, client, lines, answer):
    publish = client(login_timeout=0.1)
    broker.on_login = lambda peer: peer.send(answer)
    assert await publish.start(timeout=0.3)
    await publish.until(lambda: publish.state == "reachable")
    assert lines(logging.WARNING) == []
    [line] = lines()
    assert line.startswith("'guest', virtual host 'test': ")


async def test_a_loop_with_a_wrong_password_is_one_line(broker, client, lines):
    publish = client(refused_for=60)
    broker.on_login = lambda peer: peer.send(REFUSED)
    assert await publish() is O.UNAUTHORIZED
    for _ in range(100):
        outcome, detail = await publish.start()
        assert outcome is O.TOO_MANY_FAILURES
        assert re.fullmatch(
            r"The broker refused the user name or password\. That was \d\.\d s ago\. "
            r"The broker was not asked again\.",
            detail,
        )
    assert lines() == ["'guest', virtual host 'test': login refused: unauthorized"]


async def test_a_loop_with_random_passwords_has_no_line_for_each(broker, publish, lines):
    broker.on_login = lambda peer: peer.send(REFUSED)
    for number in range(LINES + 10):
        assert await publish(credentials=Credentials("x", f"pw-{number}")) is O.UNAUTHORIZED
    assert len(lines()) == LINES
    assert "pw-" not in "".join(lines(logging.DEBUG))
