"""RabbitMQ's real alarms under traffic: what was answered is true, and it is over at once."""

import time

import control
import pytest
from problems import is_problem
from queues import Queue, channel_to
from stream import UNTIL_STOPPED, Stream
from users import add_users
from waiting import wait_until

ALARMS = {
    "low on memory": (control.use_up_memory, control.limit_memory),
    "low on disk": (control.use_up_disk, control.limit_disk),
}
CONNECTED = {"state": "connected", "reason": ""}
LONG = 40  # seconds that a client would wait


def states(gateway):
    """Return what /readyz and /stats say of the broker."""
    ready = gateway.get("/readyz")
    assert ready.status_code == 200  # the alarm is the broker's, and the 503s say so
    return ready.json()["broker"], gateway.stats()["broker"]


@pytest.mark.parametrize("reason", ALARMS)
def test_an_alarm_under_traffic(start_gateway, own, reason):
    begin, end = ALARMS[reason]
    add_users(own, {"other": "pw"})
    gateway = start_gateway({"Application": {"publish": {"timeout": 1}}}, against=own)

    def publish(body, **login):
        headers = {"Prefer": f"wait={LONG}"}
        begun = time.monotonic()
        answer = gateway.publish(data={"body": body}, headers=headers, **login)
        assert time.monotonic() - begun < LONG / 2  # at once, not at the deadline
        return answer

    logins = {}, {"user": "other", "password": "pw"}
    assert [publish("warm", **login).status_code for login in logins] == [204, 204]
    assert states(gateway) == (CONNECTED, CONNECTED)
    with Stream(gateway, "/test/test/k", seconds=UNTIL_STOPPED) as stream:
        begin(own)
        try:
            wait_until(lambda: states(gateway)[0]["state"] == "blocked", what="the alarm")
            blocked = {"state": "blocked", "reason": reason}
            assert states(gateway) == (blocked, blocked)
            for login in logins:  # one connection was told, and it stands for all
                document = is_problem(publish("refused", **login), 503, "broker-blocked")
                assert reason in document["detail"]
            # The deadline of what had been handed over when the alarm began.
            wait_until(lambda: gateway.answered(504), what="the first deadlines")
        finally:
            end(own)
        wait_until(lambda: publish("after").status_code == 204, 15, what="the alarm's end")
        assert publish("after", **logins[1]).status_code == 204
        confirmed = gateway.answered(204)
        wait_until(lambda: gateway.answered(204) > confirmed + 500, 120, what="500 confirms")
        stream.stop()
    assert states(gateway)[0] == CONNECTED
    gateway.says(f"the broker blocks publishers: {reason}")
    gateway.says("the broker accepts publishes again")

    with channel_to(own) as channel:
        found = Queue(channel).counted()
    assert set(stream.statuses()) == {204, 503, 504}
    assert (found[b"refused"], found[b"after"] >= 2) == (0, True)
    for answer in stream.answers:
        # What was handed over and unknown arrives when the alarm is over.
        expected = {204: 1, 503: 0, 504: 1}[answer.status]
        assert found[b"%d" % answer.number] == expected, answer
