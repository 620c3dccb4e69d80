"""The access log: off by default, sampled, one line for each logged request."""

import json
import logging

import pytest
from edge import AUTH, FORM, Edge, edge_test, post
from outcomes import JSON, NDJSON, item

from statelessd.message import Outcome
from statelessd.process.logs import JsonFormatter

NAMED = AUTH + FORM + b"X-Request-ID: r-1\r\n"


@pytest.fixture
def records(caplog):
    caplog.set_level(logging.INFO, "statelessd.access")
    return lambda: [r for r in caplog.records if r.name == "statelessd.access"]


@edge_test(access_log=1)
async def test_a_publish_is_a_line_that_tells_all_but_secrets(edge, records):
    async with Edge() as other:  # with the default
        assert (await other.ask(post())).status == 204
    edge.publisher.outcome = (Outcome.NO_ROUTE, "")
    await edge.ask(post(path=b"/v%20x/e/key?message_id=1", headers=NAMED))
    [record] = records()
    text = record.getMessage()
    assert text.startswith("request_id=r-1 method=POST virtual_host='v x' exchange=e user=guest ")
    assert " status=404 outcome=no-route seconds=" in text
    assert (record.request_id, record.user, record.outcome) == ("r-1", "guest", "no-route")
    assert "key" not in text


@edge_test(access_log=1)
async def test_as_json_each_of_that_is_a_field(edge, records):
    await edge.ask(post(headers=NAMED))
    [record] = records()
    document = json.loads(JsonFormatter().format(record))
    assert document["seconds"] > 0
    place = {"method": "POST", "virtual_host": "v", "exchange": "e", "user": "guest"}
    expected = {"request_id": "r-1", "status": 204, "outcome": "confirmed", **place}
    assert document.items() >= expected.items()


@edge_test(access_log=1)
async def test_pages_and_batches_and_what_cannot_be_read(edge, records):
    await edge.ask(b"GET /stats?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    body = json.dumps([item(1)]).encode()
    await edge.ask(post(body, path=b"/v/e", headers=AUTH + JSON))
    await edge.ask(post(b"{", path=b"/v/e", headers=AUTH + JSON))
    await edge.ask(b"nonsense\r\n\r\n")
    await edge.ask(b"OPTIONS /v/e/k HTTP/1.1\r\nHost: x\r\n\r\n")
    page, batch, refused, garbage, options = records()
    assert (page.path, page.status) == ("/stats", 200)
    assert (batch.virtual_host, batch.exchange, batch.user) == ("v", "e", "guest")
    assert (batch.status, batch.outcome, batch.published) == (200, "confirmed", 1)
    assert (refused.status, refused.outcome, refused.user) == (400, "bad-request", "guest")
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


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
@edge_test(access_log=1)
async def test_a_batch_tells_how_its_messages_went(edge, records, media_type):
    items = [item(number) for number in range(3)]
    lines = b"\n".join(json.dumps(each).encode() for each in items)
    body = json.dumps(items).encode() if media_type is JSON else lines
    edge.publisher.outcome = (Outcome.NACKED, "")
    await edge.ask(post(body, path=b"/v/e", headers=AUTH + media_type + b"X-Request-ID: b-1\r\n"))
    [record] = records()
    assert (record.request_id, record.outcome) == ("b-1", "incomplete")
    assert (record.published, record.failed, record.unknown) == (0, 0, 3)
    assert record.seconds >= 0
    assert " outcome=incomplete published=0 failed=0 unknown=3 seconds=" in record.getMessage()


@edge_test(access_log=1)
async def test_no_password_is_in_it_whatever_is_asked(edge, caplog):
    caplog.set_level(logging.DEBUG)
    secrets = [b"Z3Vlc3Q6Z3Vlc3Q=", b"hush-hush"]
    await edge.ask(post())
    await edge.ask(post(headers=FORM + b"Authorization: Bearer hush-hush\r\n"))
    await edge.ask(post(headers=FORM + b"Authorization: Basic hush-hush\r\n"))
    await edge.ask(post(b"[]", path=b"/v/e", headers=AUTH + JSON))
    await edge.ask(b"GET /stats?password=hush-hush HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n")
    await edge.ask(b"GET /nowhere?password=hush-hush HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n")
    said = "".join(repr(vars(record)) for record in caplog.records)
    assert "guest" in said
    assert not any(secret.decode() in said for secret in secrets)
