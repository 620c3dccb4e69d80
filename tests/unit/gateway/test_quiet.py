"""What anybody can send again and again has no line of its own in the log."""

import logging
import socket
import struct

import pytest
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON

from statelessd.message import TABLE, Outcome

REQUESTS = {
    "garbage": b"nonsense\r\n\r\n",
    "not HTTP/1.1": b"GET / HTTP/7.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no host": b"GET /stats HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /v/e/k HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "headers too large": b"GET / HTTP/1.1\r\nx: " + 20_000 * b"x" + b"\r\n\r\n",
    "body too large": post(headers=AUTH + FORM, body=b"body=" + 100_000 * b"x"),
    "no page": b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    "no file": b"GET /static/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "wrong method": b"DELETE /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n",
    "no credentials": post(headers=FORM),
    "bad credentials": post(headers=FORM + b"Authorization: Basic !\r\n"),
    "bad form": post(b"bodie=1"),
    "bad batch": post(b"[{", path=b"/v/e", headers=AUTH + JSON),
    "upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
}
OUTCOMES = [each for each in Outcome if 400 <= TABLE[each].status < 500]


@pytest.fixture
def said(caplog):
    """What a section Logging with everybody at INFO would write."""
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]


@pytest.mark.parametrize("request_", REQUESTS)
@edge_test(max_body_bytes=50_000)
async def test_a_request_that_is_refused(edge, said, request_):
    for _ in range(2):
        answer = await edge.ask(REQUESTS[request_])
        assert answer.status == 200 or 400 <= answer.status < 500
    assert said() == []


@pytest.mark.parametrize("outcome", OUTCOMES)
@edge_test()
async def test_a_publish_that_fails(edge, said, outcome):
    edge.publisher.outcome = (outcome, "")
    for _ in range(2):
        assert (await edge.ask(post())).status >= 400
    assert said() == []


@edge_test()
async def test_a_client_that_hangs_up(edge, said):
    edge.publisher.hold = True
    for request in (post(), post()[:-2], post()[:20], b""):
        client = await edge.connect()
        client.send(request)
        await edge.until(lambda: edge.connections)
        peer = client.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()  # by a reset
        await edge.until(lambda: not edge.connections)
    assert said() == []
