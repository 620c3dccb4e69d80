"""Each thing that goes wrong is answered as what it is, and the next good publish is a 204."""

import control
import pytest
from problems import is_problem
from queues import Queue, channel_to
from stuck import opened
from users import add_users
from waiting import wait_until


@pytest.fixture
def user(broker):
    """Makes users, each with a name of its own; they stay."""

    def make(name, **rights):
        add_users(broker, {name: "pw"}, **rights)
        return {"user": name, "password": "pw"}

    return make


@pytest.fixture
def good(gateway, queue):
    """A publish that has to work before and after whatever the test does."""
    path = f"/test/{queue.name}/k"

    def publish():
        answer = gateway.publish(path, data={"body": "good"})
        assert answer.status_code == 204, answer.text

    publish()
    yield path
    publish()
    assert queue.bodies() == [b"good", b"good"]


PASSWORD = {"password": "pw"}
RAW = {"Content-Type": "application/octet-stream"}
REFUSED = {
    "a wrong password after a right one": ({"password": "wrong"}, 401, "unauthorized"),
    "an unknown user": ({"user": "nobody"}, 401, "unauthorized"),
    "no authorization": ({"user": None}, 401, "unauthorized"),
    "a missing virtual host": ({"path": "/missing/test/k"}, 404, "virtual-host-not-found"),
    "a virtual host without permission": (
        {"path": "/%2f/test/k", "user": "stranger", **PASSWORD}, 403, "forbidden"),
    "an exchange without permission": ({"user": "reader", **PASSWORD}, 403, "forbidden"),
    "a missing exchange": ({"path": "/test/missing/k"}, 404, "exchange-not-found"),
    "an internal exchange": ({"path": "/test/amq.rabbitmq.trace/k"}, 403, "forbidden"),
    "a user_id of somebody else": (
        {"data": {"body": "bad", "user_id": "somebody"}}, 403, "forbidden"),
    "a body over the limit": (
        {"data": b"x" * (10 * 1024 * 1024 + 1), "headers": RAW}, 413, "too-large"),
}  # fmt: skip


@pytest.fixture(scope="module")
def strangers(broker):
    add_users(broker, {"stranger": "pw"})
    add_users(broker, {"reader": "pw"}, write="^nothing$")


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize(("options", "status", "kind"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(gateway, good, options, status, kind):
    answer = gateway.publish(**{"path": good, **options})
    is_problem(answer, status, kind)
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Basic realm="statelessd", charset="UTF-8"'


def test_a_refused_topic(gateway, good, user, queue):
    topical = user("topical", topics={queue.name: "^yes"})
    answer = gateway.publish(f"/test/{queue.name}/no", **topical)
    assert "access to topic" in is_problem(answer, 403, "forbidden")["detail"]


def batch(*routing_keys):
    return [{"routing_key": key, "body": f"{i}"} for i, key in enumerate(routing_keys)]


@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "pipelined"])
def test_a_refused_topic_in_a_batch_is_one_refusal(gateway, user, queue, warm):
    rights = user(f"batch-{warm}", topics={queue.name: "^yes"})
    path = f"/test/{queue.name}"
    if warm:
        answer = gateway.publish(f"{path}/yes", **rights, data={"body": "first"})
        assert answer.status_code == 204
    results = gateway.publish(path, **rights, json=batch("no", *["yes"] * 19)).json()["results"]
    assert [each["status"] for each in results] == [403] + [204] * 19
    taken = [b"%d" % i for i in range(1, 20)]
    assert queue.bodies() == ([b"first"] if warm else []) + taken


def test_a_refused_topic_among_the_copies(gateway, user, queue, broker):
    """RabbitMQ looks at them from 4.0 on."""
    rights = user("copies", topics={queue.name: "^yes"})
    copied = {"routing_key": "yes", "body": "copied", "headers": {"CC": ["yes", "no"]}}
    items = [copied, *batch("yes", "yes")]
    results = gateway.publish(f"/test/{queue.name}", **rights, json=items).json()["results"]
    expected = 403 if control.version(broker) >= (4, 0) else 204
    assert [each["status"] for each in results] == [expected, 204, 204]


@pytest.mark.parametrize("size", [3500, 5000, 8500])
def test_a_long_password(gateway, broker, size):
    """RabbitMQ takes a login of 4096 bytes, and from 4.1 on of 8192."""
    limit = 8192 if control.version(broker) >= (4, 1) else 4096
    password = "s" * size
    add_users(broker, {f"long-{size}": password})
    login = {"user": f"long-{size}", "password": password}
    answer = gateway.publish("/test/amq.fanout/k", **login)
    if size < limit:
        assert answer.status_code == 204
        return
    assert "too long" in is_problem(answer, 401, "unauthorized")["detail"]
    assert str(limit) in answer.json()["detail"]


def test_a_users_connection_limit(gateway, good, user, broker):
    limited = user("limited")
    control.limit_user(broker, "limited", max_connections=0)
    headers = {"Prefer": "wait=1"}
    answer = gateway.publish(good, **limited, headers=headers)
    document = is_problem(answer, 503, "broker-unavailable")
    assert "limit" in document["detail"]


def test_a_users_channel_limit(gateway, good, user, broker):
    """RabbitMQ closes the connection over a channel too many: what fits is learnt from that."""
    limited = user("few-channels")
    control.limit_user(broker, "few-channels", max_channels=2)
    exchanges = ["amq.topic", "amq.direct", "amq.fanout", "amq.headers"]
    for _ in range(2):
        for exchange in exchanges:
            answer = gateway.publish(f"/test/{exchange}/k", **limited)
            assert answer.status_code == 204, answer.text
    # RabbitMQ counts a closed channel for a moment longer.
    assert opened(gateway, "test:few-channels") <= 4


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "body"),
        ({"type": "no body"}, "data-binary"),
        ({"body": "x", "priority": "300"}, "priority"),
        ({"body": "x", "expiration": "soon"}, "expiration"),
        ({"body": "x", "headers": "{"}, "headers"),
        ({"body": "x", "reply_to": "amq.rabbitmq.reply-to"}, "reply_to"),
        ({"body": "x", "headers": '{"CC": 1}'}, "CC"),
        ({"body": "x", "headers": '{"x-delay": "abc"}'}, "x-delay"),
        ({"body": "x", "headers[x-delay]": "5"}, "x-delay"),
        ({"body": "x", "headers": '{"x-stream-filter-value": 1}'}, "x-stream-filter-value"),
        ({"body": "x", "headers": '{"x-death": [1]}'}, "x-death"),
        ({"body": "x", "headers": '{"h": "%s"}' % ("x" * 140_000)}, "frame"),
    ],
)
def test_what_the_broker_would_close_its_connection_over(gateway, good, form, words):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = gateway.publish(good, data=form, headers=headers)
    assert words in is_problem(answer, 400, "bad-request")["detail"]


def test_the_original_listened_to_guest_from_anywhere_and_this_does_not(start_gateway):
    settings = {"HTTPServer": {"xheaders": True}}
    gateway = start_gateway(settings)
    headers = {"X-Real-IP": "192.0.2.7"}
    answer = gateway.publish(headers=headers)
    is_problem(answer, 403, "forbidden")
    assert gateway.publish().status_code == 204
    settings["Application"] = {"publish": {"allow_remote_guest": True}}
    allowing = start_gateway(settings)
    assert allowing.publish(headers=headers).status_code == 204


def test_a_broker_that_is_down_and_comes_back(own, start_gateway):
    gateway = start_gateway(against=own)
    assert gateway.publish("/test/test/k", data={"body": "before"}).status_code == 204
    own.node.stop()
    answer = gateway.publish(data={"body": "lost"}, headers={"Prefer": "wait=1"})
    is_problem(answer, 503, "broker-unavailable")
    wait_until(lambda: not gateway.stats()["connections"]["test:guest"]["connected"])
    own.node.start()
    assert gateway.publish(data={"body": "after"}).status_code == 204
    with channel_to(own) as channel:
        assert Queue(channel).bodies() == [b"before", b"after"]
