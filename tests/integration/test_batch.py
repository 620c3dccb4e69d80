"""Batches with the real broker: each item exact, in order, and the good ones in the queue."""

import base64
import concurrent.futures
import http.client
import itertools
import json
import subprocess

import pytest
import requests
from waiting import wait_until

NDJSON = {"Content-Type": "application/x-ndjson"}
STREAM = {**NDJSON, "Prefer": "results=stream"}
LOGIN = "Basic " + base64.b64encode(b"guest:guest").decode()
MIXED = [
    {"id": "good", "routing_key": "a", "body": "grün", "headers": {"n": 1}, "priority": 3},
    {"id": "unroutable", "routing_key": "nowhere", "body": "x", "mandatory": True},
    {"id": "invalid", "routing_key": "a", "body": "x", "priority": 300},
    {"id": "too large", "routing_key": "a", "body": "x" * 2000},
    {"id": "bytes", "routing_key": "a", "body_base64": base64.b64encode(b"\0\xff").decode()},
    {"id": "json", "routing_key": "a", "json": {"order": [42, None]}},
    {"id": "not mine", "routing_key": "a", "body": "x", "user_id": "somebody"},
    {"routing_key": "a", "body": "last"},
]
EXPECTED = [
    ("good", 204), ("unroutable", 404), ("invalid", 400), ("too large", 413), ("bytes", 204),
    ("json", 204), ("not mine", 403), (None, 204),
]  # fmt: skip
SMALL = {"HTTPServer": {"max_body_bytes": 1500}}


def lines(items):
    return "".join(json.dumps(item) + "\n" for item in items).encode()


@pytest.fixture
def small(start_gateway):
    return start_gateway(SMALL)


@pytest.fixture
def topic(queue):
    """The queue takes routing key "a" alone."""
    queue.channel.queue_unbind(queue.name, queue.name, "#")
    queue.channel.queue_bind(queue.name, queue.name, "a")
    return queue


def told(results):
    return [(result.get("id"), result["status"]) for result in results]


def is_exact(results):
    assert told(results) == EXPECTED
    for index, result in enumerate(results):
        assert result["index"] == index
        if result["status"] != 204:
            assert result["outcome"] == "not-published"
            assert result["type"].startswith("/docs#")
            assert result["title"]
            assert result["detail"]
    assert "priority" in results[2]["detail"]


def has_the_good_ones(queue):
    found = [queue.get() for _ in range(4)]
    assert [body for _, body, _ in found] == [
        "grün".encode(), b"\0\xff", b'{"order": [42, null]}', b"last"
    ]  # fmt: skip
    properties = found[0][0]
    assert (properties.headers, properties.priority, properties.delivery_mode) == ({"n": 1}, 3, 2)
    assert found[2][0].content_type == "application/json"
    assert queue.get() is None


def test_ndjson_with_a_stream_of_results(small, topic):
    answer = small.publish(f"/test/{topic.name}", data=lines(MIXED), headers=STREAM)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    *results, summary = [json.loads(line) for line in answer.text.splitlines()]
    is_exact(results)
    assert summary == {"published": 4, "failed": 4, "unknown": 0}
    has_the_good_ones(topic)


def test_ndjson_with_a_summary(small, topic):
    answer = small.publish(f"/test/{topic.name}", data=lines(MIXED), headers=NDJSON)
    document = answer.json()
    assert (answer.status_code, document["published"], document["failed"]) == (200, 4, 4)
    assert told(document["failures"]) == [pair for pair in EXPECTED if pair[1] != 204]
    has_the_good_ones(topic)


def test_json(start_gateway, topic):
    gateway = start_gateway({"HTTPServer": {"max_body_bytes": 3000}})
    items = [dict(item) for item in MIXED]
    items[3]["body"] = "x" * 1000
    answer = gateway.publish(f"/test/{topic.name}", json=items)
    document = answer.json()
    assert answer.status_code == 207
    expected = [pair if pair[0] != "too large" else ("too large", 204) for pair in EXPECTED]
    assert told(document["results"]) == expected
    assert (document["published"], document["failed"]) == (5, 3)
    answer = gateway.publish(f"/test/{topic.name}", json={"messages": MIXED[:1]})
    assert (answer.status_code, answer.json()["published"]) == (200, 1)


def test_what_the_broker_refuses_is_each_items_outcome(gateway, queue):
    answer = gateway.publish(f"/test/{queue.name}", json=MIXED[:1], password="wrong-batch")
    assert answer.status_code == 207
    [result] = answer.json()["results"]
    assert (result["status"], result["type"]) == (401, "/docs#unauthorized")
    answer = gateway.publish("/test/no-such-exchange", json=[*MIXED[:1] * 3])
    assert [result["status"] for result in answer.json()["results"]] == [404] * 3
    answer = gateway.publish("/nowhere/e", json=MIXED[:1])
    assert answer.json()["results"][0]["type"] == "/docs#virtual-host-not-found"
    assert queue.bodies() == []


def test_requests_sends_a_generator_and_reads_afterwards(gateway, queue):
    """A client that reads only after sending, and an answer that outgrows every buffer."""
    count = 30_000
    bad = b'{"routing_key": "k", "body": "x", "priority": 300}\n'
    answer = gateway.publish(
        f"/test/{queue.name}", data=(bad * 100 for _ in range(count // 100)), headers=NDJSON
    )
    document = answer.json()
    assert (document["failed"], len(document["failures"])) == (count, 1000)
    assert document["failures_left_out"] == count - 1000


def test_results_arrive_while_the_body_is_still_being_sent(gateway, queue):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.putrequest("POST", f"/test/{queue.name}")
    for name, value in {**STREAM, "Authorization": LOGIN, "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders()

    def send(data):
        connection.send(b"%x\r\n%b\r\n" % (len(data), data))

    send(lines(MIXED[:1]))
    response = connection.getresponse()
    for n in range(1, 4):
        assert json.loads(response.readline())["index"] == n - 1
        send(lines(MIXED[:1]))
    assert json.loads(response.readline())["index"] == 3
    send(b"")
    assert json.loads(response.readline())["published"] == 4
    assert response.read() == b""
    connection.close()


def test_a_client_that_hangs_up_stops_the_publishing(gateway, queue):
    before = gateway.stats()["connections"].get("test:guest", {"publishes": 0})["publishes"]
    endless = subprocess.Popen(
        ["curl", "--silent", "--user", "guest:guest", "-H", "Content-Type: application/x-ndjson",
         "--request", "POST", "--upload-file", "-", f"{gateway.url}/test/{queue.name}"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    line = lines([{"routing_key": "k", "body": "x"}])

    def published():
        return gateway.stats()["connections"].get("test:guest", {"publishes": 0})["publishes"]

    endless.stdin.write(line * 100)
    endless.stdin.flush()
    wait_until(lambda: published() == before + 100, what="the first hundred")
    endless.kill()
    endless.wait()
    endless.stdin.close()
    answer = gateway.publish(f"/test/{queue.name}/k", data={"body": "after"})
    assert answer.status_code == 204
    assert published() == before + 101


def test_memory_does_not_grow_with_the_length_of_a_stream(start_gateway, amqp):
    gateway = start_gateway()
    channel = amqp()
    channel.exchange_declare("sink", "topic", auto_delete=True)  # without a queue
    channel.queue_declare("sink", exclusive=True, arguments={"x-max-length": 10})
    channel.queue_bind("sink", "sink", "#")
    line = lines([{"routing_key": "k", "body": "x" * 400}]) * 100
    patient = {**NDJSON, "Prefer": "wait=60"}  # a broker may pause

    def stream(count):
        body = itertools.repeat(line, count // 100)
        answer = gateway.publish("/test/sink", data=body, headers=patient)
        assert answer.json()["published"] == count

    stream(5_000)
    before = gateway.resident()
    stream(40_000)  # 17 MB
    assert gateway.resident() - before < 5 * 1024 * 1024


def test_three_batches_at_once_share_the_room_of_one_login(start_gateway, queue):
    gateway = start_gateway({"Application": {"rabbitmq": {"in_flight_per_connection": 100}}})
    body = lines({"routing_key": "k", "body": "x"} for _ in range(2000))
    sessions = [requests.Session() for _ in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = pool.map(
            lambda session: gateway.publish(
                f"/test/{queue.name}", data=body, headers=NDJSON, session=session
            ),
            sessions,
        )
        assert [answer.json()["published"] for answer in answers] == [2000] * 3
    for session in sessions:
        session.close()
