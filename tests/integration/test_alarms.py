"""RabbitMQ's real alarms under traffic: what was answered is true, and it is over at once."""

import collections
import time

import pika
import pytest
import requests
from problems import is_problem
from stream import UNTIL_STOPPED, Stream
from users import add_users
from waiting import wait_until

ALARMS = {
    "low on memory": (
        ("set_vm_memory_high_watermark", "absolute", "1MB"),
        ("set_vm_memory_high_watermark", "0.4"),
    ),
    "low on disk": (
        ("set_disk_free_limit", "100000GB"),
        ("set_disk_free_limit", "50MB"),
    ),
}
CONNECTED = {"state": "connected", "reason": ""}


def states(gateway):
    """What /readyz and /stats say of the broker."""
    ready = requests.get(f"{gateway.url}/readyz", timeout=5)
    assert ready.status_code == 200  # the alarm is the broker's, and the 503s say so
    return ready.json()["broker"], gateway.stats()["broker"]


def bodies(own):
    """How often each body is in the queue, which is empty afterwards."""
    found = collections.Counter()
    parameters = pika.ConnectionParameters(own.host, own.amqp_port, "test")
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    for method, _, body in channel.consume("test", auto_ack=True, inactivity_timeout=0.5):
        if method is None:
            break
        found[body] += 1
    connection.close()
    return found


@pytest.mark.parametrize("reason", ALARMS)
def test_an_alarm_under_traffic(start_gateway, own, reason):
    begin, end = ALARMS[reason]
    add_users(own, {"other": "pw"})
    gateway = start_gateway({"Application": {"publish": {"timeout": 1}}}, against=own)
    other = {"user": "other", "password": "pw"}
    assert gateway.publish("/test/test/k", data={"body": "warm"}).status_code == 204
    assert gateway.publish("/test/test/k", data={"body": "warm"}, **other).status_code == 204
    assert states(gateway) == (CONNECTED, CONNECTED)
    with Stream(gateway, "/test/test/k", rate=500, seconds=UNTIL_STOPPED) as stream:
        own.ctl(*begin)
        try:
            wait_until(lambda: states(gateway)[0]["state"] == "blocked")
            blocked = {"state": "blocked", "reason": reason}
            assert states(gateway) == (blocked, blocked)
            for login in ({}, other):  # one connection was told, and it stands for all
                begun = time.monotonic()
                answer = gateway.publish("/test/test/k", data={"body": "refused"}, **login)
                document = is_problem(answer, 503, "broker-blocked")
                assert time.monotonic() - begun < 0.5  # at once, not at the deadline
                assert reason in document["detail"]
            # The deadline of what had been handed over when the alarm began.
            wait_until(lambda: "response.504" in gateway.stats()["requests"])
        finally:
            own.ctl(*end)
        cleared = time.monotonic()
        wait_until(
            lambda: gateway.publish("/test/test/k", data={"body": "after"}).status_code == 204
        )
        assert time.monotonic() - cleared < 1
        assert gateway.publish("/test/test/k", data={"body": "after"}, **other).status_code == 204
        confirmed = gateway.stats()["requests"]["response.204"]
        wait_until(lambda: gateway.stats()["requests"]["response.204"] > confirmed + 500, 30)
        stream.stop()
    assert states(gateway)[0] == CONNECTED
    assert f"the broker blocks publishers: {reason}" in gateway.text
    assert "the broker takes publishes again" in gateway.text

    found = bodies(own)
    told = stream.statuses()
    assert set(told) == {204, 503, 504}
    assert (found[b"refused"], found[b"after"] >= 2) == (0, True)
    for answer in stream.answers:
        # What was handed over and unknown arrives when the alarm is over.
        expected = {204: 1, 503: 0, 504: 1}[answer.status]
        assert found[b"%d" % answer.number] == expected, answer
