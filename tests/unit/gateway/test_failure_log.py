"""Each 5xx has a line in the log with what identifies it; a flood of them has few."""

import json
import logging
import time
import tracemalloc

import pytest
from edge import AUTH, edge_test, post
from outcomes import JSON

from statelessd.gateway.failure_log import FailureLog
from statelessd.message import TABLE, Outcome
from statelessd.telemetry.log_limit import LINES

FAILURES = [each for each in Outcome if TABLE[each].status >= 500]
NDJSON = b"Content-Type: application/x-ndjson\r\n"


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records]


@pytest.mark.parametrize("outcome", FAILURES)
@edge_test()
async def test_a_publish_that_fails(edge, lines, caplog, outcome):
    edge.publisher.outcome = (outcome, "No connection: it hung up.")
    headers = AUTH + b"X-Request-ID: order-7\r\n"
    answer = await edge.ask(post(path=b"/shop/or%20ders/k", headers=headers))
    [line] = lines()
    status, title = answer.status, outcome.value
    unknown = "unknown" if TABLE[outcome].unknown else "not-published"
    assert line == (
        f"{status} {title} request_id=order-7 virtual_host=shop exchange='or ders' user=guest "
        f"outcome={unknown} detail='No connection: it hung up.'"
    )
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert (record.request_id, record.virtual_host, record.exchange) == (
        "order-7", "shop", "or ders",
    )  # fmt: skip
    assert (record.user, record.status, record.type) == ("guest", status, title)


@edge_test(max_unverified_bytes=65536)
async def test_a_batch_without_room_for_its_body(edge, lines):
    edge.publisher.known = False
    headers = AUTH + JSON + b"X-Request-ID: order-7\r\n"
    answer = await edge.ask(post(b" " * 200_000, b"/shop/orders?mandatory=true", headers))
    assert answer.status == 503
    [line] = lines()
    assert line.startswith(
        "503 overloaded request_id=order-7 virtual_host=shop exchange=orders user=guest "
    )


@edge_test()
async def test_names_cannot_forge_a_line(edge, lines):
    edge.publisher.outcome = (Outcome.UNCONFIRMED, "Lost:\n\x1b[2Jx\u202ey")
    path = b"/a%0A2026%20ERROR/b%1B%5B2J%E2%80%AE/k"
    await edge.ask(post(path=path))
    [line] = lines()
    assert line.isprintable()
    assert r"virtual_host='a\n2026 ERROR'" in line


@edge_test()
async def test_a_flood_is_counted(edge, lines):
    edge.publisher.outcome = (Outcome.BROKER_UNAVAILABLE, "away")
    for number in range(LINES + 5):
        await edge.ask(post(headers=AUTH + b"X-Request-ID: r%d\r\n" % number))
    assert len(lines()) == LINES
    edge.publisher.outcome = (Outcome.UNCONFIRMED, "lost")
    await edge.ask(post(headers=AUTH + b"X-Request-ID: other\r\n"))
    assert "request_id=other" in lines()[-1]  # another reason is not hidden by the flood
    edge.gateway.failures.write_left_out(at_once=True)
    assert f"request_id=r{LINES + 4}" in lines()[-1]
    assert "(and 4 more like it in the last " in lines()[-1]


@edge_test()
async def test_the_items_of_a_batch_share_a_line_for_each_outcome(edge, lines):
    edge.publisher.outcome = (Outcome.NACKED, "full")
    items = json.dumps([{"routing_key": "k", "body": "x"}] * 300).encode()
    for name in (b"first", b"second"):
        headers = AUTH + JSON + b"X-Request-ID: %b\r\n" % name
        await edge.ask(post(items, path=b"/v/e", headers=headers))
    assert len(lines()) == 2
    assert "request_id=first virtual_host=v exchange=e user=guest" in lines()[0]
    edge.gateway.failures.write_left_out(at_once=True)
    assert [line.rpartition(" (")[2][:11] for line in lines()[2:]] == ["and 298 mor"] * 2


@edge_test(max_connections=1)
async def test_a_connection_above_the_limit(edge, lines):
    await edge.connect()
    await edge.until(lambda: edge.connections)
    answer = await edge.ask(b"")
    assert answer.status == 503
    [line] = lines()
    assert line.startswith("503 overloaded request_id=")


@edge_test()
async def test_a_page_that_fails_is_logged_with_its_request(edge, lines, monkeypatch):
    monkeypatch.setattr(edge.publisher, "figures", lambda: 1 / 0)
    answer = await edge.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Request-ID: p1\r\n\r\n")
    assert answer.status == 500
    assert any(line.startswith("500 internal-error request_id=p1") for line in lines())


def test_thousands_a_second_cost_little():
    log = FailureLog(clock=lambda: 0.0)
    about = {"virtual_host": "v", "exchange": "e", "user": "u", "request_id": b"r"}

    def add(count):
        for number in range(count):
            log.add(Outcome.BROKER_UNAVAILABLE, "away", handed_over=False, **about)
            about["exchange"] = f"e{number}"

    add(LINES)
    tracemalloc.start()
    add(10_000)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50_000
    began = time.process_time()
    add(100_000)
    assert time.process_time() - began < 3.0  # of which logging would take ten times as much
