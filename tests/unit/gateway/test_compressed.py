"""Compressed forms, batches and streams over HTTP, with a publisher that the test plays."""

import asyncio
import gc
import gzip
import json
import time
import tracemalloc

import pytest
from codings import MIB, WAYS, deflate_bomb, gzip_bomb
from contents import properties_in
from edge import AUTH, FORM, edge_test, post
from outcomes import JSON, NDJSON, chunked, item, lines

from statelessd.config.settings import Tracing
from statelessd.message import Outcome
from statelessd.parsing.decoding import Decoder

USER = b"Authorization: Basic dTpw\r\n"  # u:p, whose heads all connections share
MULTIPART = b"Content-Type: multipart/form-data; boundary=b\r\n"
EVENTS = b"Content-Type: application/cloudevents-batch+json\r\n"
PARTS = b'--b\r\nContent-Disposition: form-data; name="body"\r\n\r\n%b\r\n--b--\r\n'
GZIP = b"Content-Encoding: gzip\r\n"
STREAM = b"Prefer: results=stream\r\n"
CHUNKED = b"POST /v/e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"


def coding(name):
    return b"Content-Encoding: %b\r\n" % name.encode()


def stream(body, headers=GZIP):
    return post(body, path=b"/v/e", headers=AUTH + NDJSON + headers)


async def summary(edge, body, headers=GZIP):
    answer = await edge.ask(stream(body, headers))
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def bodies(edge):
    return [body for *_, body in edge.publisher.published]


def nothing_is_held(edge):
    return (edge.publisher.reserved, edge.gateway.budget.held) == (0, 0)


class TestForms:
    @pytest.mark.parametrize("way", WAYS)
    @edge_test()
    async def test_each_coding_of_each_form(self, edge, way):
        name, compress = WAYS[way]
        for kind, form in ((FORM, b"body=%b&priority=3"), (MULTIPART, PARTS)):
            for text in (b"hi", b"x" * 300_000):
                request = post(compress(form % text), headers=USER + kind + coding(name))
                client = await edge.connect()
                for _ in range(2):  # the second head is known
                    client.send(request)
                    assert (await client.answer()).status == 204
                assert (await edge.ask(request)).status == 204
                assert bodies(edge)[-3:] == [text] * 3
        assert edge.parsed < 12
        assert nothing_is_held(edge)

    @edge_test()
    async def test_the_other_fields_are_properties_and_the_coding_is_not(self, edge):
        form = b"body=x&priority=3&headers[a]=b"
        answer = await edge.ask(post(gzip.compress(form), headers=AUTH + FORM + GZIP))
        assert answer.status == 204
        assert properties_in(edge.publisher.headers[-1]) == {
            "delivery_mode": 2, "priority": 3, "headers": {"a": "b"},
        }  # fmt: skip

    @pytest.mark.parametrize("kind", [FORM, MULTIPART])
    @edge_test(tracing=Tracing(enabled=True))
    async def test_a_traced_form(self, edge, kind):
        form = (PARTS if kind == MULTIPART else b"body=%b") % b"hi"
        answer = await edge.ask(post(gzip.compress(form), headers=AUTH + kind + GZIP))
        assert (answer.status, bodies(edge)) == (204, [b"hi"])
        (span,) = await edge.spans()
        assert b"%016x" % span.context.span_id in edge.publisher.headers[-1]

    @edge_test()
    async def test_a_raw_body_passes_as_it_is(self, edge):
        for name in (b"gzip", b"compress", b"gzip, br"):
            headers = AUTH + JSON + b"Content-Encoding: %b\r\n" % name
            assert (await edge.ask(post(b"not compressed", headers=headers))).status == 204
            found = properties_in(edge.publisher.headers[-1])
            assert found["content_encoding"] == name.decode()
        assert bodies(edge) == [b"not compressed"] * 3

    @edge_test(max_body_bytes=1000)
    async def test_the_limit_of_a_body_is_that_of_the_form(self, edge):
        for size, status in ((1000, 204), (1001, 413)):
            form = b"body=" + b"x" * (size - 5)
            answer = await edge.ask(post(gzip.compress(form), headers=AUTH + FORM + GZIP))
            assert answer.status == status
        assert answer.problem == "too-large"
        assert "decompressed" in json.loads(answer.body)["detail"]
        assert nothing_is_held(edge)

    @pytest.mark.parametrize("kind", [FORM, MULTIPART, JSON, NDJSON])
    @edge_test()
    async def test_what_is_not_valid_is_a_400_with_the_reason(self, edge, kind):
        whole = gzip.compress(b"body=" + b"x" * 1000)
        path = b"/v/e" if kind in (JSON, NDJSON) else b"/v/e/k"
        for body, reason in (
            (whole[:-3], "cut short"), (b"", "cut short"), (b"body=x", "not valid gzip data"),
            (whole + b"x", "Bytes follow"), (whole[:-8] + bytes(8), "check"),
        ):  # fmt: skip
            answer = await edge.ask(post(body, path=path, headers=AUTH + kind + GZIP))
            assert (answer.status, answer.problem) == (400, "bad-request")
            assert reason in json.loads(answer.body)["detail"]
        assert bodies(edge) == []
        assert nothing_is_held(edge)

    @edge_test()
    async def test_what_a_form_needs_counts_while_it_is_decoded(self, edge):
        edge.publisher.known = False
        edge.publisher.hold = True
        form = gzip.compress(b"body=" + b"x" * 9 * MIB)
        requests = [edge.ask(post(form, headers=AUTH + FORM + GZIP)) for _ in range(9)]
        asked = [asyncio.create_task(each) for each in requests]
        await edge.until(lambda: any(task.done() for task in asked))
        assert edge.gateway.budget.held <= 32 * MIB
        await edge.until(lambda: len(edge.publisher.held) + sum(t.done() for t in asked) == 9)
        while edge.publisher.held:
            edge.publisher.settle()
        answers = {answer.status for answer in await asyncio.gather(*asked)}
        assert answers == {204, 503}
        assert nothing_is_held(edge)


class TestUnknownCodings:
    @pytest.mark.parametrize("name", [b"compress", b"gzip, br", b"gzip;q=1", b"aes128gcm"])
    @edge_test()
    async def test_the_answer_says_what_is_taken(self, edge, name):
        for kind, path in ((FORM, b"/v/e/k"), (MULTIPART, b"/v/e/k"), (JSON, b"/v/e"),
                           (NDJSON, b"/v/e")):  # fmt: skip
            headers = AUTH + kind + b"Content-Encoding: %b\r\n" % name
            answer = await edge.ask(post(b"x", path=path, headers=headers))
            assert (answer.status, answer.problem) == (415, "bad-request")
            assert answer.headers["accept-encoding"] == "gzip, deflate, zstd, br"
            document = json.loads(answer.body)
            assert (document["outcome"], document["retryable"]) == ("not-published", False)
        assert bodies(edge) == []

    @edge_test()
    async def test_options_say_it_too(self, edge):
        for path in (b"/v/e/k", b"/v/e"):
            answer = await edge.ask(b"OPTIONS %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert answer.headers["accept-encoding"] == "gzip, deflate, zstd, br"


class TestBatches:
    @pytest.mark.parametrize("way", WAYS)
    @edge_test()
    async def test_each_coding_of_an_array_and_of_a_stream(self, edge, way):
        name, compress = WAYS[way]
        items = [item(n) for n in range(500)]
        for kind, text in ((JSON, json.dumps(items).encode()), (NDJSON, lines(items))):
            answer = await edge.ask(
                post(compress(text), path=b"/v/e", headers=AUTH + kind + coding(name))
            )
            assert answer.status == 200
            assert json.loads(answer.body)["published"] == 500
            assert bodies(edge)[-500:] == [b"m%d" % n for n in range(500)]
        assert nothing_is_held(edge)

    @edge_test(max_body_bytes=10_000)
    async def test_the_limit_of_a_body_is_that_of_an_array(self, edge):
        for size, status in ((10_000, 200), (10_001, 413)):
            text = b'[{"routing_key":"k","body":"x"}]'.ljust(size)
            answer = await edge.ask(
                post(gzip.compress(text), path=b"/v/e", headers=AUTH + JSON + GZIP)
            )
            assert answer.status == status
        assert answer.problem == "too-large"
        assert nothing_is_held(edge)

    @edge_test()
    async def test_a_batch_of_cloud_events(self, edge):
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "k", "data": {"n": 1}}
        headers = AUTH + b"Content-Type: application/cloudevents-batch+json\r\n" + GZIP
        answer = await edge.ask(post(gzip.compress(json.dumps([event]).encode()), b"/v/e", headers))
        assert (answer.status, json.loads(answer.body)["published"]) == (200, 1)

    @edge_test()
    async def test_lines_are_published_while_the_stream_arrives(self, edge):
        client = await edge.connect()
        client.send(CHUNKED + AUTH + NDJSON + GZIP + STREAM + b"\r\n")
        for number in range(3):  # a member each, as of a program that flushes
            member = gzip.compress(lines([item(number)]))
            client.send(chunked(member[:5], member[5:], end=False))
            await edge.until(lambda n=number: len(edge.publisher.published) > n)
        client.send(b"0\r\n\r\n")
        await edge.until(lambda: nothing_is_held(edge))
        assert bodies(edge) == [b"m0", b"m1", b"m2"]

    @pytest.mark.parametrize("headers", [b"", STREAM])
    @edge_test()
    async def test_what_came_before_a_break_is_published(self, edge, headers):
        # The first member is whole. Of the second one a part of a line can be read.
        whole = gzip.compress(lines([item(n) for n in range(100)]))
        rest = gzip.compress(lines([item(100)]))
        for broken, reason in (
            (whole + rest[:-9], "cut short"), (whole + rest[:-8], "cut short"),
            (whole + rest[:-8] + bytes(8), "check"), (whole + b"garbage", "Bytes follow"),
        ):  # fmt: skip
            edge.publisher.published.clear()
            client = await edge.connect()
            client.send(stream(broken, GZIP + headers + b"Connection: close\r\n"))
            answer = await client.reader.read()
            last = [line for line in answer.splitlines() if b'"error"' in line][-1]
            document = json.loads(last)
            assert reason in document["error"]["detail"]
            assert document["error"]["type"] == "/docs#bad-request"
            assert document["published"] == len(bodies(edge))
            assert document["published"] in (100, 101)
        assert nothing_is_held(edge)

    @edge_test()
    async def test_who_hangs_up_gives_everything_back(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        body = gzip.compress(lines([item(n) for n in range(5000)]))
        client.send(CHUNKED + AUTH + NDJSON + GZIP + b"\r\n" + chunked(body, end=False))
        await edge.until(lambda: len(edge.publisher.held) >= 1000)
        client.writer.transport.abort()
        await edge.until(lambda: not edge.connections and nothing_is_held(edge))
        assert len(edge.publisher.published) == 1000  # the window of a batch

    @edge_test()
    async def test_a_long_stream_takes_constant_memory(self, edge):
        edge.publisher.forget = True
        line = b'{"routing_key":"k","body":"' + b"x" * 10_000 + b'"}\n'
        body = gzip.compress(line * 2_000, 1)  # which is 20 MB
        client = await edge.connect()
        client.send(stream(body))
        tracemalloc.start()
        try:
            answer = await client.answer()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        edge.publisher.headers.clear()
        assert json.loads(answer.body)["published"] == 2_000
        assert peak < 10 * MIB
        assert nothing_is_held(edge)


BOMBS = {
    "newlines": gzip_bomb(b"\n", 10_000),
    "spaces": gzip_bomb(b" ", 10_000),
    "an endless line": gzip_bomb(b"x", 10_000, b'{"routing_key":"k","body":"'),
    "lines that are not items": gzip_bomb(b"0\n", 10_000),
    "newlines behind a message": gzip_bomb(b"\n", 10_000, lines([item(0)])),
}
ENDLESS = b'{"routing_key":"k","body":"'
REFUSED = {  # each becomes 60 MB, which is enough to be refused
    "an endless line": (NDJSON, gzip_bomb(b"x", 60, ENDLESS), GZIP),
    "an endless line behind a message": (
        NDJSON, gzip_bomb(b"x", 60, lines([item(0), ENDLESS])[:-1]), GZIP,
    ),
    "with results": (NDJSON, gzip_bomb(b"x", 60, ENDLESS), GZIP + STREAM),
    "an array": (JSON, gzip_bomb(b" ", 60), GZIP),
    "an array that is not valid": (JSON, gzip_bomb(b" ", 9, b"["), GZIP),
    "events": (EVENTS, gzip_bomb(b" ", 60), GZIP),
}  # fmt: skip


class TestBombs:
    """10 MB or less that become 10 GB."""

    @pytest.mark.parametrize("name", BOMBS)
    @pytest.mark.parametrize("known", [True, False])
    @edge_test(max_unverified_bytes=32 * MIB)
    async def test_a_stream_ends_when_no_message_comes_of_it(self, edge, name, known):
        edge.publisher.known = known
        body = BOMBS[name]
        began = time.process_time()
        answer = await edge.ask(stream(body))
        assert time.process_time() - began < 5  # 10 GB would take minutes
        document = json.loads(answer.body)
        if answer.status == 200:
            assert document["published"] == ("behind" in name)
            document = document["error"]
        assert (document["status"], document["type"]) == (413, "/docs#too-large")
        assert "decompressed" in document["detail"]
        assert nothing_is_held(edge)

    @pytest.mark.parametrize("kind", [FORM, JSON])
    @edge_test()
    async def test_a_form_or_array_ends_at_the_limit_of_a_body(self, edge, kind):
        path = b"/v/e" if kind == JSON else b"/v/e/k"
        bomb = deflate_bomb(b" ", 9_500)
        assert len(bomb) < 10 * MIB
        began = time.process_time()
        answer = await edge.ask(post(bomb, path=path, headers=AUTH + kind + coding("deflate")))
        assert answer.problem == "too-large"
        assert time.process_time() - began < 5
        assert nothing_is_held(edge)

    @pytest.mark.parametrize("name", REFUSED)
    @edge_test()
    async def test_a_batch_that_is_refused_leaves_nothing_in_memory(self, edge, name):
        kind, body, way = REFUSED[name]
        headers = AUTH + kind + way + b"Connection: close\r\n"

        async def said():
            client = await edge.connect()
            client.send(post(body, path=b"/v/e", headers=headers))
            answer = await client.reader.read()
            await edge.until(lambda: not edge.connections)
            return answer

        assert b"/docs#" in await said()
        gc.collect()
        gc.disable()  # what is in no circle is freed without it, and at once
        tracemalloc.start()
        try:
            for _ in range(3):
                await said()
            kept = tracemalloc.get_traced_memory()[0]
            # Libraries take the memory of a window where tracemalloc does not see it.
            decoders = [each for each in gc.get_objects() if isinstance(each, Decoder)]
        finally:
            tracemalloc.stop()
            gc.enable()
        assert kept < MIB
        assert decoders == []

    @edge_test()
    async def test_a_stream_whose_messages_are_confirmed_may_be_mostly_blank(self, edge):
        blank = b"\n" * 12 * MIB
        body = gzip.compress(b"".join(blank + lines([item(n)]) for n in range(5)), 1)
        assert (await summary(edge, body))["published"] == 5

    @edge_test()
    async def test_a_stream_whose_messages_fail_ends(self, edge):
        edge.publisher.outcome = (Outcome.EXCHANGE_NOT_FOUND, "no such exchange")
        document = await summary(edge, gzip.compress(lines([item(n) for n in range(7_000)])))
        assert document["published"] == 0
        assert 5_000 < document["failed"] < 7_000
        assert document["error"]["status"] == 413

    @edge_test()
    async def test_a_few_messages_that_fail_do_not_end_it(self, edge):
        items = [item(n) if n % 100 else b"not an item" for n in range(5_000)]
        document = await summary(edge, gzip.compress(lines(items)))
        assert (document["published"], document["failed"]) == (4950, 50)
        assert "error" not in document
