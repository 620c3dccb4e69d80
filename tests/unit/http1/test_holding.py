"""What a client may make the edge hold, and how much it may make it work at once."""

import asyncio
import contextlib
import gc
import socket
import time
import tracemalloc

import pytest
import uvloop
from edge import AUTH, FORM, Edge, edge_test, post, provided
from hosting import hosting

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
PART = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nX: "
CHUNKED = (
    b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + AUTH + FORM + b"\r\n"
)
TURN = 0.1  # seconds of CPU, which a slow machine may need for what takes 0.02
MIB = 1024 * 1024


async def longest_turn(until):
    """Return the seconds of CPU that the longest turn of the loop took."""
    longest, begun = 0.0, time.process_time()
    async with asyncio.timeout(60):
        while not until():
            await asyncio.sleep(0)
            now = time.process_time()
            longest, begun = max(longest, now - begun), now
    return longest


def on_uvloop(**settings):
    return provided("edge", lambda: Edge(**settings), uvloop.new_event_loop)


@pytest.mark.parametrize("step", [1000, None])
@edge_test()
async def test_line_ends_without_a_request_are_refused(edge, step):
    answer = await edge.ask(b"\r\n" * 9000, step)
    assert answer.status == 431


class TestTurns:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(REFUSED * 4500, id="refusals"),
            pytest.param(post() * 2000, id="publishes"),
            pytest.param(b"\r\n" * 100_000, id="line-ends"),
            pytest.param(CHUNKED + b"30000\r\n" + b"\r\n\r\n" * 49152, id="blank-lines"),
            pytest.param(CHUNKED + b"1\r\nx\r\n" * 30_000, id="small-chunks"),
            pytest.param(CHUNKED + b"4\r\n\r\n\r\n\r\n" * 20_000, id="both"),
        ],
    )
    @on_uvloop()
    async def test_one_read_keeps_nobody_waiting(self, edge, data):
        longest = 1.0
        for _ in range(5):
            if longest < TURN:
                break  # else the machine may have been busy
            client = await edge.connect()
            size = edge.gateway.places.received + len(data)
            client.send(data)
            longest = await longest_turn(
                lambda size=size: (
                    edge.gateway.places.received == size
                    and not any(each.pipeline.size for each in edge.connections)
                )
            )
        assert longest < TURN

    @on_uvloop()
    async def test_others_are_answered_meanwhile(self, edge):
        client, other = await edge.connect(), await edge.connect()
        client.send(REFUSED * 4500)
        await edge.until(lambda: edge.gateway.places.received)
        other.send(post())
        assert (await other.answer()).status == 204
        assert any(each.pipeline.size for each in edge.connections)
        assert {(await client.answer()).status for _ in range(4500)} == {401}

    @edge_test()
    async def test_a_body_in_many_pieces_keeps_its_order(self, edge):
        """More is sent while the rest of a read waits for the next turn."""
        client = await edge.connect()
        body = b"body=" + b"%0D%0A".join(b"%d" % number for number in range(5000))
        pieces = b"".join(b"1\r\n%c\r\n" % each for each in body) + b"0\r\n\r\n"
        client.send(CHUNKED + pieces + post(b"body=2") + post(b"body=3"), step=10_000)
        assert [(await client.answer()).status for _ in range(3)] == [204] * 3
        first, *others = [each[3] for each in edge.publisher.published]
        assert first == b"\r\n".join(b"%d" % number for number in range(5000))
        assert others == [b"2", b"3"]

    @edge_test()
    async def test_a_client_that_hangs_up_between_two_turns(self, edge):
        client = await edge.connect()
        client.send(REFUSED * 1000)
        await edge.until(lambda: any(each.pipeline.size for each in edge.connections))
        for connection in list(edge.connections):
            connection.transport.abort()
        await edge.until(lambda: not edge.connections)
        assert edge.shared.budget.held == 0


class TestCost:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(CHUNKED + b"0\r\n" + b"a:b\r\n" * 3000, id="trailers"),
            pytest.param(CHUNKED + b"1;a=b\r\nx\r\n" * 1500, id="extensions"),
            pytest.param(b"GET /" + b"a" * 15_000, id="target"),
            pytest.param(b"GET / HTTP/1.1\r\n" + b"a" * 15_000, id="name"),
            pytest.param(PART + b"a" * 15_000, id="value"),
        ],
    )
    @edge_test()
    async def test_a_byte_at_a_time_costs_the_same_for_each(self, edge, data):
        def cost(end):
            nonlocal at
            begun, first = time.process_time(), at
            while at < end:
                connection.data_received(data[at : at + 1])
                at += 1
            return (time.process_time() - begun) / (end - first)

        await edge.connect()
        await edge.until(lambda: edge.connections)
        [connection] = edge.connections
        at, tenth = 0, len(data) // 10
        early = cost(2 * tenth)
        cost(8 * tenth)
        assert cost(len(data)) < 4 * early


class TestBudget:
    @pytest.mark.parametrize("rest", [b"body=x", b"0" * 5000])
    @edge_test()
    async def test_requests_ahead_of_their_turn_count(self, edge, rest):
        edge.publisher.hold = True
        client = await edge.connect()
        first, second = post(), post(rest, headers=AUTH)
        client.send(first + second)
        await edge.until(lambda: edge.publisher.held)
        assert len(second) <= edge.shared.budget.held <= len(first + second)
        edge.publisher.settle()
        await edge.until(lambda: edge.publisher.held)
        assert edge.shared.budget.held == 0

    @edge_test()
    async def test_heads_in_pieces_count(self, edge):
        client, other = await edge.connect(), await edge.connect()
        client.send(PART)
        other.send(PART)
        await edge.until(lambda: edge.shared.budget.held == 2 * len(PART))
        client.send(b"x" * 1000)
        await edge.until(lambda: edge.shared.budget.held == 2 * len(PART) + 1000)
        client.send(b"\r\nContent-Length: 0\r\n\r\n")
        assert (await client.answer()).status == 401
        edge.sweep(0)
        assert edge.shared.budget.held == len(PART)
        other.writer.close()
        await edge.until(lambda: len(edge.connections) == 1)
        assert edge.shared.budget.held == 0

    @edge_test()
    async def test_so_do_large_heads_while_their_bodies_arrive(self, edge):
        client = await edge.connect()
        head = AUTH + b"X: " + b"x" * 10_000 + b"\r\n"
        client.send(post(headers=head)[:-1])
        await edge.until(lambda: edge.publisher.reserved)
        assert edge.shared.budget.held > 10_000
        client.send(b"!")
        assert (await client.answer()).status == 204
        edge.sweep(0)
        assert edge.shared.budget.held == 0

    @edge_test()
    async def test_a_small_head_in_one_read_does_not(self, edge):
        client = await edge.connect()
        client.send(post()[:-1])
        await edge.until(lambda: edge.publisher.reserved)
        assert edge.shared.budget.held == 0

    @edge_test(max_unverified_bytes=64 * 1024)
    async def test_what_has_no_room_is_a_503(self, edge):
        holders = []
        for _ in range(4):
            holders.append(await edge.connect())
            holders[-1].send(PART + b"x" * 16_000)
        await edge.until(lambda: edge.shared.budget.held > 4 * 16_000)
        answer = await edge.ask(PART + b"x" * 5000)
        assert (answer.status, answer.problem) == (503, "overloaded")
        assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")
        large = await edge.ask(post(headers=AUTH + b"X: " + b"x" * 10_000 + b"\r\n"))
        assert (large.status, large.problem) == (503, "overloaded")
        assert (await edge.ask(post())).status == 204  # who holds nothing is served

        edge.publisher.hold = True
        client = await edge.connect()
        client.send(post() + post(b"x" * 5000, headers=AUTH))
        await edge.until(lambda: edge.publisher.held)
        edge.publisher.settle()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (204, "close")
        assert await client.at_end()
        assert [each[3] for each in edge.publisher.published] == [b"hi", b"hi"]

        for holder in holders:
            holder.writer.close()
        await edge.until(lambda: not edge.shared.budget.held)

    @edge_test(max_unverified_bytes=64 * 1024)
    async def test_a_pipeline_that_goes_on_in_the_next_turn_needs_room_as_well(self, edge):
        client = await edge.connect()
        assert edge.shared.budget.take(64 * 1024)
        client.send(REFUSED * 100)
        answers = [await client.answer()]
        while "connection" not in answers[-1].headers:
            answers.append(await client.answer())
        assert {each.status for each in answers[:-1]} == {401}
        assert answers[-1].problem == "overloaded"
        assert await client.at_end()

    @pytest.mark.parametrize("data", [PART, PART + b"x" * 20_000, b"\x00", b"GET / HTTP/9.9\r\n"])
    @edge_test()
    async def test_whatever_comes_of_a_head_it_is_given_back(self, edge, data):
        client = await edge.connect()
        client.send(data[:1])
        await edge.until(lambda: edge.gateway.places.received == 1)
        client.send(data[1:])
        await edge.until(lambda: edge.gateway.places.received == len(data))
        edge.sweep(11)
        with contextlib.suppress(ConnectionError):
            assert (await client.answer()).status in (400, 408, 431)
        client.writer.close()
        await edge.until(lambda: not edge.connections)
        assert edge.shared.budget.held == 0


class TestMemory:
    @pytest.fixture
    def traced(self):
        tracemalloc.start()
        yield lambda: (gc.collect() and 0) or tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()

    @edge_test()
    async def test_more_fields_than_allowed_are_refused_before_the_head_ends(self, edge):
        answer = await edge.ask(b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 150)
        assert (answer.status, answer.problem) == (431, "headers-too-large")

    @on_uvloop()
    async def test_a_target_in_small_pieces(self, traced, edge):
        await edge.connect()
        await edge.until(lambda: edge.connections)
        [connection] = edge.connections
        before = traced()
        connection.data_received(b"GET /")
        for _ in range(5000):
            connection.data_received(b"abc")
        assert traced() - before < 50_000

    @pytest.mark.parametrize(
        ("start", "status"),
        [
            (b"GET /nothing HTTP/1.1\r\nHost: x\r\n", 404),
            (b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + AUTH, 204),
        ],
    )
    @on_uvloop()
    async def test_an_idle_connection_holds_nothing_of_its_last_request(
        self, traced, edge, start, status
    ):
        head = start + b"X: " + b"x" * 15_000 + b"\r\n\r\n"
        assert (await edge.ask(head)).status == status
        clients = [await edge.connect() for _ in range(40)]
        before = traced()
        for client in clients:
            client.send(head)
            assert (await client.answer()).status == status
        edge.sweep(0)
        assert traced() - before < 40 * 8000

    def test_clients_that_ask_and_do_not_read(self, traced):
        answered = 0

        async def kilobyte(scope, receive, send):
            nonlocal answered
            answered += 1
            headers = [(b"content-length", b"1000")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"x" * 1000})

        @hosting(kilobyte)
        async def check(host):
            before = traced()
            with contextlib.ExitStack() as stack:
                for _ in range(10):
                    client = stack.enter_context(socket.socket())
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    client.setblocking(False)
                    await host.shared.loop.sock_connect(client, host.address)
                    await host.shared.loop.sock_sendall(client, GET * 7000)
                await host.until(
                    lambda: (
                        len(host.shared.connections) == 10
                        and all(each.flow.write_paused for each in host.shared.connections)
                    )
                )
                assert traced() - before < 10 * 0.5 * MIB
                assert answered < 10 * 1000  # neither did the kernel take them all

        check()


class TestLineEnds:
    @edge_test()
    async def test_they_buy_no_time(self, edge):
        client = await edge.connect()
        client.send(post())
        assert (await client.answer()).status == 204
        await edge.connect()
        await edge.until(lambda: len(edge.connections) == 2)
        now = edge.loop.time()
        for second in range(0, 75, 15):
            for each in edge.clients:
                each.send(b"\r\n" * 100)
            await asyncio.sleep(0)
            for connection in list(edge.connections):
                connection.check_timeouts(now + second)
            await asyncio.sleep(0)
        assert len(edge.connections) == 1  # one has not asked anything
        for connection in list(edge.connections):
            connection.check_timeouts(now + 76)
            connection.check_timeouts(now + 76)
        await edge.until(lambda: not edge.connections)
