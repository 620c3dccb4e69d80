"""``/stats``: the figures of the original."""

import json

from edge import FORM, edge_test, post

STATS = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"


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
