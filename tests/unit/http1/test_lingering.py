"""The rest of a request that was answered early is discarded, so that its client can read."""

import ssl

import pytest
from certificates import Authority
from edge import AUTH, FORM, edge_test, post
from hosting import hosting

RATE = 64 * 1024  # bytes a second
LARGE = 20_000_000  # bytes, where 10 MiB are allowed
STRANGER = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /v/e/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PAGE = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def received(edge, client, data):
    """Send the data, and wait until the edge has it."""
    size = edge.gateway.places.received + len(data)
    client.send(data)
    await edge.until(lambda: edge.gateway.places.received >= size)


async def refused(edge, head=STRANGER % LARGE):
    """Return a client that was answered early and sends more, and its connection."""
    client = await edge.connect()
    await received(edge, client, head)
    await edge.until(lambda: edge.is_doing("lingering"))
    return client, next(c for c in edge.connections if "lingering" in repr(c))


class TestSize:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (post(b"x" * LARGE), 413),
            (post(b"x" * LARGE, headers=FORM), 401),
            (post(b"x" * LARGE, headers=b""), 401),
            (post(b"x" * LARGE, headers=AUTH + b"Sec-Fetch-Site: cross-site\r\n"), 403),
            (post(b"x" * LARGE, path=b"/v/e", headers=FORM), 401),
            (CHUNKED + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * (LARGE // 65536), 401),
            (CHUNKED.replace(b"Tr", AUTH + b"Tr") + b"1312d00\r\n" + b"x" * LARGE, 413),
            (b"\x00" * LARGE, 431),
            (b"GET /" + b"x" * LARGE, 431),
        ],
    )
    @edge_test()
    async def test_a_client_that_reads_last_is_told(self, edge, head, status):
        client = await edge.connect()
        client.writer.transport.pause_reading()
        client.send(head)
        await edge.until(lambda: edge.gateway.places.received == len(head))
        client.writer.transport.resume_reading()
        answer = await client.answer()
        assert answer.status == status
        if answer.headers.get("connection") == "close":
            assert await client.at_end()
        else:
            client.send(GET)
            assert (await client.answer()).status == 200

    @edge_test()
    async def test_a_page_that_wants_no_body_keeps_the_connection(self, edge):
        client = await edge.connect()
        client.send(PAGE % LARGE + b"x" * LARGE + GET)
        assert [(await client.answer()).status for _ in range(2)] == [405, 200]

    @edge_test()
    async def test_what_is_pipelined_behind_it_is_neither_answered_nor_published(self, edge):
        client = await edge.connect()
        client.send(post(b"x" * LARGE) + post(b"body=no") + GET)
        assert (await client.answer()).status == 413
        assert await client.at_end()
        assert edge.publisher.published == []


class TestTime:
    @edge_test()
    async def test_a_client_that_is_silent_has_some_seconds(self, edge):
        client, _ = await refused(edge)
        edge.sweep(4)
        assert edge.is_doing("lingering")
        edge.sweep(6)
        await edge.until(lambda: not edge.connections)
        assert (await client.answer()).status == 401

    @edge_test()
    async def test_a_client_that_trickles_has_no_more(self, edge):
        client, connection = await refused(edge)
        now = edge.loop.time()
        for second in range(5):
            await received(edge, client, b"x" * 100)
            connection.check_timeouts(now + second)
        connection.check_timeouts(now + 5.1)
        await edge.until(lambda: not edge.connections)

    @edge_test()
    async def test_a_client_that_is_fast_enough_goes_on_for_half_a_minute(self, edge):
        client, connection = await refused(edge)
        now = edge.loop.time()
        for second in range(1, 30):
            await received(edge, client, b"x" * RATE)
            connection.check_timeouts(now + second)
            assert edge.is_doing("lingering")
        connection.check_timeouts(now + 30.1)
        await edge.until(lambda: not edge.connections)

    @edge_test(linger_rate=1000, linger_timeout=100)
    async def test_rate_and_time_are_settings(self, edge):
        client, connection = await refused(edge)
        now = edge.loop.time()
        for second in range(1, 100, 3):
            await received(edge, client, b"x" * 3000)
            connection.check_timeouts(now + second)
            assert edge.is_doing("lingering")
        connection.check_timeouts(now + 100.1)
        await edge.until(lambda: not edge.connections)

    @edge_test()
    async def test_haste_at_the_beginning_buys_no_silence_later(self, edge):
        client, connection = await refused(edge)
        now = edge.loop.time()
        await received(edge, client, b"x" * RATE * 20)
        connection.check_timeouts(now + 1)
        connection.check_timeouts(now + 6.1)
        await edge.until(lambda: not edge.connections)

    @edge_test()
    async def test_it_holds_for_a_connection_that_is_kept(self, edge):
        client = await edge.connect()
        client.send(PAGE % LARGE)
        assert (await client.answer()).status == 405
        [connection] = edge.connections
        now = edge.loop.time()
        for second in range(20):
            await received(edge, client, b"x" * RATE)
            connection.check_timeouts(now + second)
        connection.check_timeouts(now + 26)
        await edge.until(lambda: not edge.connections)

    @edge_test()
    async def test_a_kept_connection_has_the_usual_time_again_behind_it(self, edge):
        client = await edge.connect()
        client.send(PAGE % 1000)
        assert (await client.answer()).status == 405
        edge.sweep(1)
        client.send(b"x" * 1000 + GET)
        assert (await client.answer()).status == 200
        edge.sweep(60)
        client.send(GET)
        assert (await client.answer()).status == 200

    @edge_test()
    async def test_what_waits_in_the_socket_counts(self, edge):
        """The process stood still."""
        client, _ = await refused(edge)
        client.send(b"x")
        edge.sweep(6)
        assert edge.is_doing("lingering")
        edge.sweep(31)
        await edge.until(lambda: not edge.connections)


class TestPlaces:
    @edge_test(max_lingering=2)
    async def test_only_so_many_linger_at_once(self, edge):
        one, _ = await refused(edge)
        await refused(edge)
        third = await edge.connect()
        third.send(STRANGER % LARGE)
        assert (await third.answer()).status == 401
        await edge.until(lambda: len(edge.connections) == 2)
        one.writer.transport.abort()
        await edge.until(lambda: len(edge.connections) == 1)
        await refused(edge)
        assert len(edge.connections) == 2

    @edge_test(max_lingering=1)
    async def test_a_body_that_comes_at_once_needs_no_place(self, edge):
        await refused(edge)
        client = await edge.connect()
        for _ in range(3):
            client.send(PAGE % 1000)
            assert (await client.answer()).status == 405
            client.send(b"x" * 1000)
        client.send(PAGE % 1000)
        assert (await client.answer()).status == 405
        edge.sweep(0)
        assert await client.at_end()

    @edge_test(max_lingering=0)
    async def test_none_at_all(self, edge):
        client = await edge.connect()
        client.send(STRANGER % LARGE)
        assert (await client.answer()).status == 401
        assert await client.at_end()

    @edge_test(max_lingering=1)
    async def test_a_place_is_free_when_the_body_was_read(self, edge):
        for _ in range(3):
            client = await edge.connect()
            client.send(PAGE % 1000)
            assert (await client.answer()).status == 405
            edge.sweep(0)
            client.send(b"x" * 1000 + GET)
            assert (await client.answer()).status == 200


class TestStop:
    @edge_test(max_lingering=1)
    async def test_idle_connections_linger_whatever_the_places(self, edge):
        clients = [await edge.connect() for _ in range(5)]
        for client in clients:
            client.send(GET)
            assert (await client.answer()).status == 200
        edge.shared.draining = True
        for connection in list(edge.connections):
            connection.shutdown()
        assert all("lingering" in repr(each) for each in edge.connections)
        edge.sweep(2.1)
        await edge.until(lambda: not edge.connections)

    @edge_test()
    async def test_a_body_under_way_does_not_outlast_it(self, edge):
        await refused(edge)
        assert not any(each.has_pending for each in edge.connections)
        for connection in list(edge.connections):
            connection.close()  # as a stop does when its time is nearly up
        await edge.until(lambda: not edge.connections)


class TestBehindTheLastRequest:
    @edge_test()
    async def test_what_comes_before_its_response_waits_in_the_kernel(self, edge):
        edge.publisher.hold = True
        client = await edge.connect()
        request = post(headers=AUTH + FORM + b"Connection: close\r\n")
        client.send(request)
        await edge.until(lambda: edge.publisher.held)
        client.send(b"x" * LARGE)
        [connection] = edge.connections
        await edge.until(lambda: connection.flow.read_paused)
        assert edge.gateway.places.received < 1_000_000
        edge.sweep(5)
        edge.publisher.settle()
        await edge.until(lambda: edge.gateway.places.received == LARGE + len(request))
        assert (await client.answer()).status == 204
        assert await client.at_end()


def over_tls(application):
    """Run the test with a server that speaks TLS, and a function that connects to it."""

    def decorate(test):
        def run(self, tmp_path):
            authority = Authority(tmp_path)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.certificate, authority.key)
            trust = ssl.create_default_context(cafile=str(authority.ca))

            @hosting(application, context=context)
            async def check(host):
                client = await host.connect(ssl=trust, server_hostname="localhost")
                await test(self, host, client)

            check()

        return run

    return decorate


async def refuse(scope, receive, send):
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body"})


class TestOverTls:
    """One half cannot be closed, so the end comes when the request was read."""

    @over_tls(refuse)
    async def test_the_end_comes_behind_the_body(self, host, client):
        client.send(STRANGER % 1000)
        assert (await client.answer()).status == 401
        [connection] = host.shared.connections
        connection.check_timeouts(host.shared.loop.time() + 4)
        client.send(b"x" * 1000)
        assert await client.at_end()
        await host.until(lambda: not host.shared.connections)

    @over_tls(refuse)
    async def test_a_large_body_loses_no_answer(self, host, client):
        client.writer.transport.pause_reading()
        client.send(STRANGER % LARGE + b"x" * LARGE)
        await client.writer.drain()
        client.writer.transport.resume_reading()
        assert (await client.answer()).status == 401
        assert await client.at_end()

    @over_tls(refuse)
    async def test_a_client_that_is_silent_has_some_seconds(self, host, client):
        client.send(STRANGER % LARGE)
        assert (await client.answer()).status == 401
        [connection] = host.shared.connections
        now = host.shared.loop.time()
        connection.check_timeouts(now + 4)
        assert host.shared.connections
        connection.check_timeouts(now + 6)
        assert await client.at_end()

    @over_tls(refuse)
    async def test_what_cannot_be_read_is_discarded_as_well(self, host, client):
        client.writer.transport.pause_reading()
        client.send(b"\x00" * 1_000_000)
        await client.writer.drain()
        client.writer.transport.resume_reading()
        assert (await client.answer()).status == 500  # the test's handler says so
        await host.until(lambda: host.shared.places.received == 1_000_000)
        [connection] = host.shared.connections
        now = host.shared.loop.time()
        connection.check_timeouts(now)
        connection.check_timeouts(now + 6)
        assert await client.at_end()
