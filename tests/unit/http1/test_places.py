"""The places of client connections: who gets one, who is told no, and who gives way."""

import asyncio
import json
import ssl

import pytest
import uvloop
from certificates import Authority
from edge import edge_test, post, provided
from hosting import GET, hosted

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
TLS_HELLO = b"\x16\x03\x01"  # the beginning of a handshake


async def hello(scope, receive, send):
    await send(START)
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trust(authority):
    context = ssl.create_default_context(cafile=str(authority.ca))
    return {"ssl": context, "server_hostname": "localhost"}


def over_tls(authority, check, factory=uvloop.new_event_loop, **limits):
    """Run ``check(host)`` with a server that speaks TLS."""

    async def test(host):
        await check(host)

    made = lambda: hosted(hello, context=authority.server_context(), **limits)  # noqa: E731
    provided("host", made, factory)(test)()


class TestAboveTheLimit:
    @edge_test(max_connections=2)
    async def test_each_is_told_so_however_many_come(self, edge):
        edge.shared.places.spare = 3
        for _ in range(2):
            await edge.connect()
        late = [await edge.connect() for _ in range(20)]
        for client in late:
            answer = await client.answer()
            assert (answer.status, answer.problem) == (503, "overloaded")
            assert json.loads(answer.body)["outcome"] == "not-published"
            assert answer.headers["retry-after"]
        await edge.until(lambda: len(edge.connections) <= 2 + 3)
        assert edge.gateway.places.refused_clients == 20

    @edge_test(max_connections=1)
    async def test_one_that_sends_a_body_first_can_read_the_answer(self, edge):
        await edge.connect()
        late = await edge.connect()
        late.send(post(b"body=" + b"x" * 1_000_000))
        await late.writer.drain()
        assert (await late.answer()).status == 503

    @edge_test(max_connections=2)
    async def test_those_who_were_told_so_take_no_place(self, edge):
        first, _ = await edge.connect(), await edge.connect()
        refused = [await edge.connect() for _ in range(5)]
        for client in refused:
            assert (await client.answer()).status == 503
        first.writer.close()
        await edge.until(lambda: len(edge.connections) <= 6)
        assert (await edge.ask(post())).status == 204


class TestALowerLimit:
    @edge_test(max_connections=10)
    async def test_connections_without_a_request_end_and_the_others_are_answered(self, edge):
        edge.publisher.hold = True
        busy = await edge.connect()
        busy.send(post())
        await edge.until(lambda: edge.publisher.held)
        idle = [await edge.connect() for _ in range(3)]
        await edge.until(lambda: len(edge.connections) == 4)
        edge.shared.places.fit(1, 5)
        for client in idle:
            assert await client.at_end()
        edge.publisher.settle()
        assert (await busy.answer()).status == 204

    @edge_test(max_connections=10)
    async def test_requests_under_way_are_their_connections_last(self, edge):
        edge.publisher.hold = True
        busy = [await edge.connect() for _ in range(2)]
        for client in busy:
            client.send(post())
        await edge.until(lambda: len(edge.publisher.held) == 2)
        edge.shared.places.fit(1, 5)
        for _ in busy:
            edge.publisher.settle()
        told = [(await client.answer()).headers for client in busy]
        assert sorted(headers.get("connection", "") for headers in told) == ["", "close"]


class TestHandshakes:
    @pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
    def test_the_oldest_give_way_and_a_client_gets_in(self, authority, trust, factory):
        async def check(host):
            silent = [await host.connect() for _ in range(100)]
            for client in silent[::2]:
                client.send(TLS_HELLO)
            client = await host.connect(**trust)
            client.send(GET)
            assert (await client.answer()).status == 200
            assert await silent[0].at_end()
            assert len(host.shared.connections) <= 10 + 1
            assert host.shared.places.refused_handshakes >= 90
            assert host.shared.places.accepted == 101

        over_tls(authority, check, factory, max_connections=40)

    def test_one_counts_as_a_connection_until_its_client_hangs_up(self, authority):
        async def check(host):
            client = await host.connect()
            await host.until(lambda: len(host.shared.connections) == 1)
            assert host.shared.places.has_handshakes
            client.writer.transport.abort()
            await host.until(lambda: not host.shared.connections)
            assert not host.shared.places.has_handshakes

        over_tls(authority, check)

    @pytest.mark.parametrize("sent", [b"", TLS_HELLO])
    def test_one_has_the_time_of_a_head(self, authority, sent):
        async def check(host):
            client = await host.connect()
            client.send(sent)
            assert await client.at_end()
            await host.until(lambda: not host.shared.connections)

        over_tls(authority, check, head_timeout=0.1)

    def test_what_is_no_tls_ends_without_a_word_in_the_log(self, authority, caplog):
        async def check(host):
            client = await host.connect()
            client.send(GET)
            await client.reader.read()
            await host.until(lambda: not host.shared.connections)
            assert not [each for each in caplog.records if each.levelname != "DEBUG"]

        over_tls(authority, check)

    def test_a_client_above_the_limit_is_told_so(self, authority, trust):
        async def check(host):
            good = await host.connect(**trust)
            silent = await host.connect()
            late = [await host.connect(**trust) for _ in range(3)]
            for client in late:
                assert b"overloaded" in await client.reader.readuntil(b"\r\n\r\n")
            good.send(GET)
            assert (await good.answer()).status == 200
            silent.writer.close()

        over_tls(authority, check, max_connections=1)
