"""Batches over HTTP, with a publisher that the test plays."""

import asyncio
import json

import pytest
from edge import AUTH, edge_test, post
from outcomes import JSON, NDJSON, chunked, item, lines

from statelessd.config.settings import Publish
from statelessd.gateway.batch import WINDOW, Lines
from statelessd.message import Outcome

HEAD = b"POST /v/e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
STREAM = b"Prefer: results=stream\r\n"


def batch(items, headers=JSON):
    body = lines(items) if b"ndjson" in headers else json.dumps(items).encode()
    return post(body, path=b"/v/e", headers=AUTH + headers)


async def ask(edge, items, headers=JSON):
    answer = await edge.ask(batch(items, headers))
    return answer, json.loads(answer.body)


def nested(levels):
    """An item with so many levels below its own."""
    return b'{"routing_key":"k","json":%b}' % (b"[" * levels + b"]" * levels)


LEVELS = pytest.mark.parametrize("levels", [512, 5_000, 2_000_000])


def statuses(document):
    return [result["status"] for result in document["results"]]


async def read_lines(client, count):
    """So many results of a stream, as they arrive."""
    found = []
    async with asyncio.timeout(100):  # there may be many
        while len(found) < count:
            size = int(await client.reader.readline(), 16)
            if not size:
                break
            data = await client.reader.readexactly(size + 2)
            found += [json.loads(line) for line in data.splitlines() if line]
    return found


class TestWhole:
    @edge_test()
    async def test_each_item_is_published_in_order_and_has_its_result(self, edge):
        answer, document = await ask(edge, [item(n) for n in range(3)])
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert document == {
            "published": 3,
            "failed": 0,
            "unknown": 0,
            "results": [{"index": n, "status": 204, "id": n} for n in range(3)],
        }
        assert edge.publisher.published == [("v", "e", "k", b"m%d" % n) for n in range(3)]

    @pytest.mark.parametrize("items", [{"messages": [item(1)]}, [], {"messages": []}])
    @edge_test()
    async def test_the_items_may_be_in_an_object_and_there_may_be_none(self, edge, items):
        answer, document = await ask(edge, items)
        assert (answer.status, document["failed"]) == (200, 0)
        assert document["published"] == len(edge.publisher.published) == str(items).count("id")

    @edge_test()
    async def test_an_invalid_item_fails_alone_and_says_where(self, edge):
        answer, document = await ask(edge, [item(0), item(1, priority=300), item(2)])
        assert (answer.status, statuses(document)) == (207, [204, 400, 204])
        assert (document["published"], document["failed"], document["unknown"]) == (2, 1, 0)
        result = document["results"][1]
        assert (result["id"], result["type"]) == (1, "/docs#bad-request")
        assert (result["outcome"], result["retryable"]) == ("not-published", False)
        assert "priority" in result["detail"]

    @edge_test()
    async def test_each_outcome_is_told_and_counted(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(batch([item(n) for n in range(3)]))
        await edge.until(lambda: len(edge.publisher.held) == 3)
        edge.publisher.held.reverse()  # confirms come out of order
        edge.publisher.settle(Outcome.UNCONFIRMED)
        edge.publisher.settle(Outcome.NO_ROUTE)
        edge.publisher.settle()
        answer = await client.answer()
        document = json.loads(answer.body)
        assert (answer.status, statuses(document)) == (207, [204, 404, 504])
        assert (document["published"], document["failed"], document["unknown"]) == (1, 1, 1)

    @pytest.mark.parametrize("headers", [JSON, NDJSON])
    @edge_test()
    async def test_after_a_fault_of_ours_what_was_handed_over_is_not_denied(self, edge, headers):
        publish = edge.publisher.publish

        def fails_at_the_third(virtual_host, credentials, message, *rest):
            if message.body == b"m2":
                raise RuntimeError("a fault of ours")
            return publish(virtual_host, credentials, message, *rest)

        edge.publisher.publish = fails_at_the_third
        answer, document = await ask(edge, [item(n) for n in range(4)], headers)
        assert len(edge.publisher.published) == 2
        assert (answer.status, answer.problem) == (504, "unconfirmed")
        assert document["outcome"] == "unknown"

    @pytest.mark.parametrize(
        "body", [b"", b"[", b"{}", b'"x"', b'{"messages": 1}', b'[{"routing_key": "k"}', b"\xff"]
    )
    @edge_test()
    async def test_what_cannot_be_parsed_is_a_400_and_nothing_is_published(self, edge, body):
        answer = await edge.ask(post(body, path=b"/v/e", headers=AUTH + JSON))
        assert (answer.status, answer.problem) == (400, "bad-request")
        assert not edge.publisher.published

    @LEVELS
    @edge_test()
    async def test_an_array_with_an_item_that_nests_too_deep_is_refused_whole(self, edge, levels):
        body = b"[%b]" % b",".join(lines([item(0), nested(levels)]).splitlines())
        answer = await edge.ask(post(body, path=b"/v/e", headers=AUTH + JSON))
        assert (answer.status, edge.publisher.published) == (400, [])
        assert b"more than 512 levels" in answer.body

    @edge_test(max_body_bytes=200, publish=Publish(max_batch=2))
    async def test_too_many_items_or_too_large_a_body_are_a_413(self, edge):
        data = json.dumps([item(1, body="x" * 200)]).encode()
        for request in (
            batch([item(n) for n in range(3)]),
            post(data, path=b"/v/e", headers=AUTH + JSON),
            HEAD + AUTH + JSON + b"\r\n" + chunked(data[:90], data[90:]),
        ):
            answer = await edge.ask(request)
            assert (answer.status, answer.problem) == (413, "too-large")
        assert (edge.publisher.published, edge.publisher.reserved) == ([], 0)

    @edge_test()
    async def test_bodies_that_arrive_are_counted_and_given_back(self, edge):
        edge.publisher.room = 10
        answer = await edge.ask(batch([item(1)]))
        assert (answer.status, answer.problem) == (503, "overloaded")
        assert edge.publisher.reserved == 0

    @pytest.mark.parametrize("headers", [b"", b"Content-Type: text/plain\r\n",
                                         JSON + b"Content-Encoding: gzip\r\n"])  # fmt: skip
    @edge_test()
    async def test_other_bodies_are_refused(self, edge, headers):
        answer = await edge.ask(post(b"[]", path=b"/v/e", headers=AUTH + headers))
        assert (answer.status, answer.problem) == (400, "bad-request")
        answer = await edge.ask(post(b"[]", path=b"/v/e", headers=headers))
        assert (answer.status, answer.problem) == (401, "unauthorized")

    @edge_test()
    async def test_other_methods_are_refused(self, edge):
        answer = await edge.ask(b"GET /v/e HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, answer.headers["allow"]) == (405, "options, post")
        answer = await edge.ask(b"OPTIONS /v/e HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, answer.headers["allow"]) == (204, "options, post")

    @edge_test()
    async def test_names_are_checked(self, edge):
        for path in (b"/%ff/e", b"/v/" + b"e" * 256, b"/v/%zz"):
            answer = await edge.ask(post(b"[]", path=path, headers=AUTH + JSON))
            assert (answer.status, answer.problem) == (400, "bad-request")

    @edge_test()
    async def test_the_deadline_is_each_items(self, edge):
        await ask(edge, [item(n) for n in range(2)], JSON + b"Prefer: wait=9\r\n")
        assert [round(d) for d in edge.publisher.deadlines] == [9, 9]


class TestLines:
    @edge_test()
    async def test_the_answer_is_one_summary(self, edge):
        answer, document = await ask(edge, [item(0), b"{nonsense", item(2), b" ", b""], NDJSON)
        [failure] = document.pop("failures")
        assert (answer.status, failure["index"], failure["status"]) == (200, 1, 400)
        assert document == {"published": 2, "failed": 1, "unknown": 0, "failures_left_out": 0}

    @pytest.mark.parametrize("headers", [JSON, NDJSON])
    @edge_test()
    async def test_any_json_may_nest_as_deep_as_every_python_reads_it(self, edge, headers):
        body = nested(511) if headers is NDJSON else b"[%b]" % nested(511)
        answer = await edge.ask(post(body, path=b"/v/e", headers=AUTH + headers))
        assert json.loads(answer.body)["published"] == 1
        assert edge.publisher.published == [("v", "e", "k", b"[" * 511 + b"]" * 511)]

    @LEVELS
    @edge_test()
    async def test_a_line_that_nests_too_deep_fails_alone(self, edge, levels):
        _, document = await ask(edge, [item(0), nested(levels), item(2)], NDJSON)
        assert document["published"] == 2
        [failure] = document["failures"]
        assert (failure["index"], failure["status"]) == (1, 400)
        assert "more than 512 levels" in failure["detail"]

    @edge_test()
    async def test_lines_are_published_while_the_body_arrives(self, edge):
        client = await edge.connect()
        client.send(HEAD + AUTH + NDJSON + b"\r\n" + chunked(lines([item(0)]), end=False))
        await edge.until(lambda: len(edge.publisher.published) == 1)
        client.send(chunked(lines([item(1)])[:-1]))  # the last line needs no end
        assert json.loads((await client.answer()).body)["published"] == 2

    @edge_test()
    async def test_the_summary_says_how_many_failures_it_left_out(self, edge):
        _, document = await ask(edge, [b"{}"] * 1500, NDJSON)
        assert (document["failed"], document["failures_left_out"]) == (1500, 500)
        assert [f["index"] for f in document["failures"]] == list(range(1000))

    @edge_test()
    async def test_no_more_than_the_window_is_under_way(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(batch([item(n) for n in range(WINDOW + 50)], NDJSON))
        await edge.until(lambda: len(edge.publisher.held) == WINDOW)
        for _ in range(50):
            edge.publisher.settle()
        await edge.until(lambda: len(edge.publisher.published) == WINDOW + 50)
        while edge.publisher.held:
            edge.publisher.settle()
        assert json.loads((await client.answer()).body)["published"] == WINDOW + 50

    @edge_test()
    async def test_large_messages_fill_the_window_by_their_bytes(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(batch([item(n, body="x" * 1_500_000) for n in range(4)], NDJSON))
        await edge.until(lambda: len(edge.publisher.held) == 2)
        edge.publisher.settle()
        await edge.until(lambda: len(edge.publisher.published) == 3)
        client.writer.close()  # while nothing more is read
        await edge.until(lambda: edge.sweep(0) or edge.publisher.cancelled)

    @edge_test(max_body_bytes=1000)
    async def test_a_line_or_a_body_that_is_too_large_fails_alone(self, edge):
        long_line = lines([item(1, body="x" * 100_000)])[:-1]
        large = item(2, body="x" * 1001)
        _, document = await ask(edge, [item(0), long_line, large, item(3)], NDJSON)
        assert [f["status"] for f in document["failures"]] == [413, 413]
        assert document["failures"][1]["id"] == 2
        assert document["published"] == 2

    @pytest.mark.parametrize(
        ("more", "kind"), [(b"", "request-timeout"), (b"zz\r\n", "bad-request")]
    )
    @edge_test()
    async def test_a_body_that_stalls_or_is_malformed_is_cut(self, edge, more, kind):
        client = await edge.connect()
        body = lines([item(0), item(1)])
        client.send(HEAD + AUTH + NDJSON + b"\r\n" + chunked(body[:-5], end=False))
        await edge.until(lambda: edge.publisher.published)
        client.send(more)
        edge.sweep(11)
        document = json.loads((await client.answer()).body)
        assert (document["published"], document["failed"]) == (1, 0)  # half a line is no item
        assert document["error"]["type"] == f"/docs#{kind}"
        assert await client.at_end()

    @pytest.mark.parametrize("outcome", [Outcome.UNAUTHORIZED, Outcome.TOO_MANY_FAILURES])
    @edge_test()
    async def test_nothing_more_is_read_of_a_user_who_is_refused(self, edge, outcome):
        edge.publisher.outcome = (outcome, "No.")
        client = await edge.connect()
        items = [item(n) for n in range(5000)]
        client.send(HEAD + AUTH + NDJSON + b"\r\n" + chunked(lines(items), end=False))
        document = json.loads((await client.answer()).body)  # although the body has not ended
        assert 0 < document["failed"] < 5000
        assert document["failures"][0]["type"] == f"/docs#{outcome.value}"
        assert document["error"]["type"] == f"/docs#{outcome.value}"

    @edge_test()
    async def test_a_client_that_hangs_up_stops_what_was_not_handed_over(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        items = [item(n) for n in range(WINDOW + 50)]
        client.send(HEAD + AUTH + NDJSON + b"\r\n" + chunked(lines(items), end=False))
        await edge.until(lambda: len(edge.publisher.held) == WINDOW)
        client.writer.transport.abort()
        await edge.until(lambda: len(edge.publisher.cancelled) == WINDOW)
        assert len(edge.publisher.published) == WINDOW

    @edge_test()
    async def test_an_item_waits_for_room_that_others_take(self, edge):
        edge.publisher.outcome = (Outcome.OVERLOADED, "full")
        client = await edge.connect()
        client.send(batch([item(0)], NDJSON))
        await edge.until(lambda: len(edge.publisher.published) > 1)
        edge.publisher.outcome = (Outcome.CONFIRMED, "")
        assert json.loads((await client.answer()).body)["published"] == 1
        assert {p[3] for p in edge.publisher.published} == {b"m0"}

    @edge_test(publish=Publish(timeout=0.1))
    async def test_only_the_first_waits_until_its_deadline_where_there_is_no_room(self, edge):
        edge.publisher.outcome = (Outcome.OVERLOADED, "full")
        _, document = await ask(edge, [item(n) for n in range(100)], NDJSON)
        assert {f["status"] for f in document["failures"]} == {503}
        assert document["failed"] == 100


class TestStream:
    @edge_test()
    async def test_results_come_in_order_while_the_body_arrives(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        start = HEAD + AUTH + NDJSON + STREAM + b"\r\n"
        client.send(start + chunked(lines([item(0), item(1)]), end=False))
        answer = await client.answer()
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["preference-applied"] == "results=stream"
        await edge.until(lambda: len(edge.publisher.held) == 2)
        edge.publisher.held.reverse()
        edge.publisher.settle()  # the second; its line has to wait for the first's
        edge.publisher.settle(Outcome.NO_ROUTE)
        first, second = await read_lines(client, 2)
        assert (first["index"], first["status"]) == (0, 404)
        assert (second["index"], second["status"]) == (1, 204)
        client.send(chunked(b"nonsense"))
        failure, summary = await read_lines(client, 2)
        assert failure["status"] == 400
        assert summary == {"published": 1, "failed": 2, "unknown": 0}

    @edge_test()
    async def test_a_slow_reader_slows_the_publishing(self, edge):
        client = await edge.connect()
        client.writer.transport.pause_reading()
        start = HEAD + AUTH + NDJSON + STREAM + b"\r\n"
        everything = chunked(lines([item(n, id="x" * 250) for n in range(50_000)]))
        client.send(start + everything)
        connection = next(iter(edge.connections))
        await edge.until(lambda: connection.flow.write_paused)
        seen = -1
        while len(edge.publisher.published) != seen:  # until it stands still
            seen = len(edge.publisher.published)
            await asyncio.sleep(0.05)
        assert seen < 50_000
        client.writer.transport.resume_reading()
        await client.answer()
        found = await read_lines(client, 50_001)
        assert [result["index"] for result in found[:-1]] == list(range(50_000))
        assert found[-1]["published"] == 50_000

    @pytest.mark.parametrize("preference", [b"", STREAM])
    @edge_test()
    async def test_hanging_up_is_no_fault_of_ours_and_gets_no_answer(
        self, edge, preference, caplog
    ):
        client = await edge.connect()
        start = HEAD + AUTH + NDJSON + preference + b"\r\n"
        client.send(start + chunked(lines([item(0)]), b'{"routing_key": "k", ', end=False))
        await edge.until(lambda: edge.publisher.published)
        client.writer.transport.abort()
        await edge.until(lambda: not edge.connections and not edge.tasks)
        assert len(edge.publisher.published) == 1
        assert not caplog.records
        assert "response.408" not in edge.gateway.statistics.document()

    @edge_test()
    async def test_what_no_item_can_inherit_is_refused_before_the_answer_begins(self, edge):
        headers = AUTH + NDJSON + STREAM + b"baggage: \xff\r\n"
        answer = await edge.ask(post(lines([item(0)]), path=b"/v/e", headers=headers))
        assert (answer.status, answer.problem) == (400, "bad-request")
        assert edge.publisher.published == []

    @edge_test()
    async def test_its_preference_may_be_in_any_of_several_lines(self, edge):
        headers = AUTH + NDJSON + STREAM + b"Prefer: respond-async\r\n"
        answer = await edge.ask(post(lines([item(0)]), path=b"/v/e", headers=headers))
        assert answer.headers["preference-applied"] == "results=stream"

    @edge_test()
    async def test_http_1_0_gets_a_summary(self, edge):
        headers = AUTH + NDJSON + STREAM
        request = post(lines([item(0)]), path=b"/v/e", headers=headers, version=b"1.0")
        assert json.loads((await edge.ask(request)).body)["published"] == 1


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_lines_are_cut_alike_however_the_stream_is(size):
    data = b"a\n\nbb\r\n" + b"c" * 11 + b"\n" + b"d" * 10 + b"\n \nlast"
    cut = Lines(10)
    found = []
    for at in range(0, len(data), size):
        found += cut.feed(data[at : at + size])
    assert [*found, *cut.feed(b"\n")] == [b"a", b"bb\r", None, b"d" * 10, b"last"]
