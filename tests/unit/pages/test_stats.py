"""``/stats``: the figures of the original."""

import json
import time

from edge import FORM, edge_test, post

STATS = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"

# The document that the original's README shows.
ORIGINAL = {
    "page_faults": {"major": 0, "minor": 26193},
    "cpu_time": {"user": 10448.162637, "system": 784.450745},
    "memory_usage": 0,
    "timestamp": 1364403057,
    "context_switches": 7278258,
    "swap_outs": 0,
    "page_size": 4096,
    "requests": {"processing_time": 7926.826567411423},
    "port": 8011,
    "block": {"input": 0, "output": 0},
    "signals_received": 0,
}


def shape(value):
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return type(value)


@edge_test()
async def test_it_has_the_originals_keys_and_types_and_the_host(edge):
    connections = {"vhost0:www": {"connected": True, "publishes": 3, "queue_size": 0}}
    edge.publisher.connection_statistics = lambda: connections
    answer = await edge.ask(STATS)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    document = json.loads(answer.body)
    assert isinstance(document.pop("host"), str)
    assert document.pop("broker") == {"state": "unused", "reason": ""}
    assert document.pop("connections") == connections
    del document["requests"]["method.GET"]
    assert shape(document) == shape(ORIGINAL)
    assert abs(document["timestamp"] - time.time()) < 60
    assert document["memory_usage"] > 1000
    assert document["cpu_time"]["user"] > 0
    assert document["port"] == edge.gateway.port


@edge_test()
async def test_requests_are_counted_as_the_original_did(edge):
    """Its README: method.GET 2548, response.200 2547, as the one that shows it has no answer."""
    client = await edge.connect()
    client.send(post() + post(headers=FORM) + b"HEAD /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(2):
        await client.answer()
    await client.answer(head_only=True)
    for seen in range(2):
        client.send(STATS)
        counted = json.loads((await client.answer()).body)["requests"]
        assert counted.pop("processing_time") >= 0
        expected = {"response.204": 1, "response.401": 1, "response.405": 1,
                    "method.POST": 2, "method.HEAD": 1, "method.GET": seen + 1}  # fmt: skip
        assert counted == expected | ({"response.200": 1} if seen else {})


@edge_test()
async def test_time_until_the_answer_is_counted(edge):
    edge.publisher.hold = True
    client = await edge.connect()
    client.send(post())
    await edge.until(lambda: edge.publisher.held)
    began = edge.loop.time()
    await edge.until(lambda: edge.loop.time() - began > 0.01)
    edge.publisher.settle()
    await client.answer()
    assert edge.gateway.statistics.document()["processing_time"] > 0.01


@edge_test()
async def test_garbage_counts_as_an_answer_and_as_no_method(edge):
    await edge.ask(b"garbage\r\n\r\n")
    counted = edge.gateway.statistics.document()
    assert counted["response.400"] == 1
    assert not [name for name in counted if name.startswith("method.")]
