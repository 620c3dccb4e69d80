"""Pipelined requests take turns, and none is answered before the one it came behind."""

import asyncio

import pytest
from edge import AUTH, FORM, edge_test, post

from statelessd.message import Outcome


class TestPipelining:
    @edge_test()
    async def test_answers_come_in_order_across_publishes_and_pages(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        page = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"
        client.send(post(b"body=1") + page + post(b"body=2") + post(headers=FORM) + page)
        await edge.until(lambda: edge.publisher.held)
        assert len(edge.publisher.held) == 1  # one at a time
        edge.publisher.settle()
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle(Outcome.NACKED)
        answers = [(await client.answer()).status for _ in range(5)]
        assert answers == [204, 200, 503, 401, 200]
        assert [p[3] for p in edge.publisher.published] == [b"1", b"2"]

    @edge_test()
    async def test_a_request_that_has_come_in_part_goes_on_after_the_one_before(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        second = post(b"body=second")
        client.send(post() + second[:-3])
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.hold = False
        edge.publisher.settle()
        assert (await client.answer()).status == 204
        client.send(second[-3:])
        assert (await client.answer()).status == 204
        assert edge.publisher.published[-1][3] == b"second"

    @edge_test()
    async def test_one_that_has_come_in_part_does_not_expire_while_it_has_to_wait(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post() + post()[:-3])
        await edge.until(lambda: edge.publisher.held)
        edge.sweep(1000)
        edge.publisher.settle()
        client.send(post()[-3:])
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle()
        assert [(await client.answer()).status for _ in range(2)] == [204, 204]

    @edge_test()
    async def test_a_client_that_hangs_up_ends_what_waits(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n" + post())
        await edge.until(lambda: edge.publisher.held)
        client.writer.transport.abort()
        await edge.until(lambda: edge.sweep(0) or edge.publisher.cancelled)

    @pytest.mark.parametrize(("headers", "status"), [(AUTH + FORM, 204), (FORM, 401)])
    @edge_test()
    async def test_a_thousand_in_one_write(self, edge, headers, status):
        client = await edge.connect()
        client.send(post(headers=headers) * 1000)
        assert {(await client.answer()).status for _ in range(1000)} == {status}

    @edge_test()
    async def test_nothing_behind_a_closing_request_is_published(self, edge):
        client = await edge.connect()
        client.send(post(headers=AUTH + FORM + b"Connection: close\r\n") + post(b"body=no"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (204, "close")
        assert await client.at_end()
        assert [p[3] for p in edge.publisher.published] == [b"hi"]

    @edge_test()
    async def test_garbage_behind_a_pending_publish_waits_for_its_answer(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post() + b"\x00garbage\r\n\r\n")
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle()
        assert (await client.answer()).status == 204
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")

    @edge_test()
    async def test_a_client_that_does_not_read_is_not_served_further(self, edge):
        client = await edge.connect()
        client.writer.transport.pause_reading()
        for _ in range(60):
            client.send(post(headers=FORM) * 1000)
            await asyncio.sleep(0)
        [connection] = edge.connections
        await edge.until(lambda: connection.flow.write_paused)
        assert connection.transport.get_write_buffer_size() < 1_000_000

    @edge_test()
    async def test_a_client_that_hangs_up_behind_a_pipeline_cancels_what_it_asked(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post() * 3)
        await edge.until(lambda: edge.publisher.held)
        client.writer.close()
        await edge.until(lambda: edge.sweep(0) or edge.publisher.cancelled)
        await edge.until(lambda: not edge.connections)
        assert len(edge.publisher.published) == 1

    @edge_test()
    async def test_a_client_that_closed_its_half_behind_a_pipeline_gets_its_answers(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post() * 3)
        await edge.until(lambda: edge.publisher.held)
        client.writer.write_eof()
        await edge.until(lambda: edge.sweep(0) or edge.is_doing("half-closed"))
        edge.sweep(0)
        for _ in range(3):
            edge.publisher.settle()
            await edge.until(lambda: edge.publisher.held or not edge.connections)
        told = [(await client.answer()).status for _ in range(4)]
        assert [status for status in told if status != 100] == [204] * 3
