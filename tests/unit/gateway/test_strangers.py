"""Senders whom the broker does not know: from where they come, and what they may not displace."""

import gc
import tracemalloc

import pytest
from edge import FORM, edge_test, post
from outcomes import JSON

AUTH = b"Authorization: Basic eDp4\r\n"  # not guest, who may come from this machine only
PROXIED = b"X-Forwarded-For: 203.0.113.9\r\n"
BATCH = post(b'[{"routing_key":"k","body":"x"}]', b"/v/e", AUTH + JSON + PROXIED)


@pytest.mark.parametrize("request_", [post(headers=AUTH + FORM + PROXIED), BATCH])
@edge_test(xheaders=True, trusted_proxies=("127.0.0.1",))
async def test_a_trusted_proxy_says_where_a_sender_is(edge, request_):
    client = await edge.connect()
    for _ in range(3):  # the head is known then
        client.send(request_)
        await client.answer()
    assert edge.publisher.senders == ["203.0.113.9"] * 3


@pytest.mark.parametrize("request_", [post(headers=AUTH + FORM + PROXIED), BATCH])
@edge_test()
async def test_nobody_else_does(edge, request_):
    await edge.ask(request_)
    assert edge.publisher.senders == ["127.0.0.1"]


def of(number):
    return post(headers=FORM + b"Authorization: Basic %b\r\n" % (b"eDp4" * number))


@edge_test()
async def test_strangers_do_not_displace_what_is_known_of_users(edge):
    user = of(1)
    await edge.ask(user)
    edge.publisher.known = False
    client = await edge.connect()
    for number in range(2, 40):
        client.send(of(number))
        await client.answer()
    before = edge.parsed
    await edge.ask(of(39))
    assert edge.parsed == before + 1
    await edge.ask(user)
    assert edge.parsed == before + 1


@pytest.mark.parametrize("zeros", [20, 4_400])
@edge_test()
async def test_a_length_with_many_digits_is_refused_without_a_traceback(edge, zeros, caplog):
    length = b"Content-Length: %b5\r\n" % (b"0" * zeros)
    answer = await edge.ask(b"POST /v/e/k HTTP/1.1\r\nHost: x\r\n" + AUTH + FORM + length + b"\r\n")
    assert (answer.status, answer.problem) == (400, "bad-request")
    assert "Traceback" not in caplog.text


@edge_test()
async def test_a_path_that_is_refused_again_and_again_takes_no_memory(edge):
    client = await edge.connect()

    async def refused(times):
        for _ in range(times):
            client.send(post(path=b"/%zz/e/k", headers=AUTH + FORM))
            assert (await client.answer()).status == 400
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = await refused(300)  # the recent errors are full then
        assert await refused(1_000) - before < 200_000
    finally:
        tracemalloc.stop()
