"""The access log: off by default, sampled, one line for each logged request."""

import json
import logging

import pytest
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, item

from statelessd.message import Outcome

NAMED = AUTH + FORM + b"X-Request-ID: r-1\r\n"


@pytest.fixture
def records(caplog):
    caplog.set_level(logging.INFO, "statelessd.access")
    return lambda: [r for r in caplog.records if r.name == "statelessd.access"]


@edge_test()
async def test_it_is_off_by_default(edge, records):
    assert (await edge.ask(post())).status == 204
    assert records() == []


@edge_test(access_log=1)
async def test_a_publish_is_a_line_that_tells_all_but_secrets(edge, records):
    edge.publisher.outcome = (Outcome.NO_ROUTE, "")
    await edge.ask(post(path=b"/v%20x/e/key?message_id=1", headers=NAMED))
    [record] = records()
    text = record.getMessage()
    assert text.startswith("request_id=r-1 method=POST virtual_host='v x' exchange=e user=guest ")
    assert " status=404 outcome=no-route seconds=" in text
    assert (record.request_id, record.user, record.outcome) == ("r-1", "guest", "no-route")
    assert "key" not in text


@edge_test(access_log=1)
async def test_pages_and_batches_and_what_cannot_be_read(edge, records):
    await edge.ask(b"GET /stats?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    body = json.dumps([item(1)]).encode()
    await edge.ask(post(body, path=b"/v/e", headers=AUTH + JSON))
    await edge.ask(b"nonsense\r\n\r\n")
    await edge.ask(b"OPTIONS /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n")
    page, batch, garbage, options = records()
    assert (page.path, page.status) == ("/stats", 200)
    assert (batch.virtual_host, batch.exchange, batch.user, batch.status) == (
        "v",
        "e",
        "guest",
        200,
    )
    assert (garbage.status, garbage.outcome) == (400, "bad-request")
    assert (options.method, options.status) == ("OPTIONS", 204)


@edge_test(access_log=10)
async def test_one_of_so_many_is_logged(edge, records):
    client = await edge.connect()
    for _ in range(25):
        client.send(post())
        await client.answer()
    assert len(records()) == 2


@edge_test(access_log=1)
async def test_a_line_stays_one_whatever_the_names_are(edge, records):
    await edge.ask(post(path=b"/v%0Aforged/e%22x/k", headers=NAMED))
    [record] = records()
    assert "\n" not in record.getMessage()
    assert r"virtual_host='v\nforged'" in record.getMessage()
