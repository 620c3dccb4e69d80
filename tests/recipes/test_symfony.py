"""The transport for Symfony Messenger, with Symfony's own bus, serializers and worker."""

import json
import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from flaky import CLOSED, PUBLISHED, Flaky, problem
from gateway import free_port
from keeping import ForgetfulServer
from queues import Queue
from users import add_users

TRANSPORT = "symfony_transport.php"
PROGRAM = Path(__file__).parent / "php" / "symfony.php"
PHP = ["php", "-d", "error_reporting=E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED"]


def run(action, dsn, **options):
    """Return what the PHP program prints, line by line."""
    options = {"json": False, "transport": {}} | options
    done = subprocess.run(
        [*PHP, PROGRAM, action, dsn, json.dumps(options)],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def dsn_of(url, path="/%2f/test/orders.new", user="guest", password="guest"):
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"statelessd://{login}@{url.removeprefix('http://')}{path}"


def send(url, *stamps, **options):
    """Dispatch a message for each set of stamps; return what became of each."""
    path = options.pop("path", "/%2f/test/orders.new")
    messages = [[42 + i, "Käse & ☃", each] for i, each in enumerate(stamps or [{}])]
    return run("send", dsn_of(url, path), messages=messages, **options)


@pytest.fixture
def consume(broker, arrived):
    """Runs Symfony's worker for one message, with its AMQP transport."""

    def consume(**options):
        dsn = f"amqp://guest:guest@{broker.host}:{broker.amqp_port}/%2f/test"
        transport = {"queues": {arrived.name: {}}, "auto_setup": "false"}
        return run("consume", dsn, transport=transport, count=1, **options)

    return consume


def test_symfonys_worker_handles_the_message(gateway, consume):
    (told,) = send(gateway.url)
    received, handled = consume()
    assert handled == {"number": 42, "note": "Käse & ☃"}
    assert received["message_id"] == told["sent"]
    assert received["delivery_mode"] == 2
    assert received["routing_key"] == "orders.new"
    assert received["bus"] == "orders.bus"


def test_symfonys_json_serializer_gets_its_headers(gateway, consume):
    send(gateway.url, json=True)
    received, handled = consume(json=True)
    assert handled == {"number": 42, "note": "Käse & ☃"}
    assert received["content_type"] == "application/json"
    assert received["headers"]["type"] == "Order"
    assert received["bus"] == "orders.bus"


def test_stamps_of_symfonys_amqp_transport_count(gateway, consume):
    stamp = ["orders.urgent", 0, {"priority": 7, "message_id": None, "headers": {"shop": "eu"}}]
    (told,) = send(gateway.url, {"amqp": stamp})
    received, _ = consume()
    assert received["routing_key"] == "orders.urgent"
    assert received["priority"] == 7
    assert received["headers"] == {"shop": "eu"}
    assert received["message_id"] == told["sent"]


def test_the_message_id_may_be_given(gateway, consume):
    assert send(gateway.url, {"message_id": "order-42"}) == [{"sent": "order-42"}]
    assert consume()[0]["message_id"] == "order-42"


@pytest.mark.parametrize(
    ("stamps", "said"),
    [
        ({"delay": 5000}, "statelessd cannot delay a message: send it without DelayStamp."),
        ({"amqp": [None, 2]}, "statelessd takes no flags of AmqpStamp"),
    ],
)
def test_what_is_not_supported_is_refused(gateway, arrived, stamps, said):
    (told,) = send(gateway.url, stamps)
    assert told["threw"].endswith("LogicException")
    assert told["message"].startswith(said)
    assert len(arrived) == 0


def test_no_delay_is_none(gateway, consume):
    assert "sent" in send(gateway.url, {"delay": 0})[0]
    assert consume()[1]["number"] == 42


def test_no_queue_takes_the_message(gateway):
    (told,) = send(gateway.url, path="/%2f/amq.direct/nobody")
    assert told["outcome"] == "not-published"
    assert told["retryable"] is False
    assert told["failed"].startswith("Not published: ")
    path = "/%2f/amq.direct/nobody?mandatory=false"
    assert "sent" in send(gateway.url, path=path)[0]


def test_it_says_what_the_broker_says(gateway):
    (told,) = send(gateway.url, path="/%2f/missing/k")
    detail = "The broker says: no exchange 'missing' in vhost '/'"
    assert told["failed"] == f"Not published: The exchange does not exist: {detail}"


def test_the_password_and_the_path_may_have_any_characters(gateway, amqp, broker):
    queue = Queue(amqp("test"), "q /ä%")
    queue.channel.queue_declare(queue.name)
    add_users(broker, {"us er": "p@ss:/?#%"})
    path = f"/test/amq.default/{quote(queue.name, safe='')}"
    dsn = dsn_of(gateway.url, path, user="us er", password="p@ss:/?#%")
    (told,) = run("send", dsn, messages=[[1, "", {}]])
    assert queue.get()[0].message_id == told["sent"]
    queue.channel.queue_delete(queue.name)


def test_it_tries_again_with_the_same_message_id():
    with Flaky(problem(503, retry_after=1), CLOSED, PUBLISHED) as server:
        (told,) = send(server.url)
    assert [each.message_id.decode() for each in server.requests] == [told["sent"]] * 3
    assert server.requests[1].at - server.requests[0].at >= 1


def test_what_was_unknown_once_stays_unknown():
    refusal = problem(403, detail="Not any more", retryable=False)
    with Flaky(problem(504, outcome="unknown", retry_after=0), refusal) as server:
        (told,) = send(server.url)
    assert told["failed"] == "Perhaps published: Flaky: Not any more"
    assert told["outcome"] == "unknown"
    assert told["id"] == server.requests[0].message_id.decode()


def test_it_gives_up_in_time():
    with Flaky(problem(503, retry_after=5)) as server:
        (told,) = send(server.url, transport={"timeout": 2})
    assert told["outcome"] == "not-published"
    assert told["retryable"] is True
    assert len(server.requests) == 1


def test_nobody_listens():
    (told,) = send(f"http://127.0.0.1:{free_port()}", transport={"timeout": 2})
    assert told["outcome"] == "unknown"
    assert told["failed"].startswith("Perhaps published: No answer: ")


def test_a_kept_connection_that_ends_makes_no_second_request_behind_its_back():
    """libcurl would send it again, and the answer to that would hide the first."""
    with ForgetfulServer(problem(403, retryable=False)) as server:
        first, second = send(server.url, {"message_id": "a"}, {"message_id": "b"})
    assert first == {"sent": "a"}
    assert second["outcome"] == "unknown"


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("statelessd://localhost/%2f/test/k", "A DSN of statelessd is"),
        ("statelessd://a:b@localhost/test", "A DSN of statelessd is"),
        ("statelessd://a:b@localhost/%2f/test/k?delay=3", "Unknown options of statelessd: delay"),
    ],
)
def test_a_wrong_dsn_is_refused(dsn, said):
    options = json.dumps({"json": False, "transport": {}, "messages": []})
    done = subprocess.run(
        [*PHP, PROGRAM, "send", dsn, options], capture_output=True, text=True, check=False
    )
    assert said in done.stdout + done.stderr
    assert done.returncode == 255
