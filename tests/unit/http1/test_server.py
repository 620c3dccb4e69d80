"""The server: its sockets, TLS, the date, and how it stops."""

import asyncio
import socket
import ssl
from email.utils import parsedate_to_datetime

import pytest
from certificates import Authority
from hosting import GET, hosted, hosting

from statelessd import form

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
END = {"type": "http.response.body"}


async def hello(scope, receive, send):
    await send(START)
    await send(END)


class Held:
    """An application that answers once it is let."""

    def __init__(self):
        self.go = asyncio.Event()
        self.asked = 0

    async def __call__(self, scope, receive, send):
        self.asked += 1
        await self.go.wait()
        await hello(scope, receive, send)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


class TestListening:
    @hosting(hello)
    async def test_a_thousand_clients_may_come_at_once(self, host):
        waiting = []
        for _ in range(1000):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(host.address)
            waiting.append(client)
        await host.until(lambda: host.shared.places.accepted == 1000)
        for client in waiting:
            client.close()

    def test_tls(self, authority):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate, authority.key)
        trust = ssl.create_default_context(cafile=str(authority.ca))

        async def scheme(scope, receive, send):
            headers = [(b"content-length", b"0"), (b"x-scheme", scope["scheme"].encode())]
            await send(START | {"headers": headers})
            await send(END)

        @hosting(scheme, context=context)
        async def check(host):
            client = await host.connect(ssl=trust, server_hostname="localhost")
            client.send(GET * 2)
            answers = [await client.answer() for _ in range(2)]
            assert [each.headers["x-scheme"] for each in answers] == ["https"] * 2

        check()

    @hosting(hello)
    async def test_the_date_goes_on(self, host):
        client, dates = await host.connect(), set()
        async with asyncio.timeout(30):
            while len(dates) < 2:
                client.send(GET)
                dates.add((await client.answer()).headers["date"])
        first, second = sorted(parsedate_to_datetime(date) for date in dates)
        assert (second - first).total_seconds() >= 1

    @pytest.mark.skipif(form.FORM == "compiled", reason="a compiled class takes no other method")
    @hosting(hello)
    async def test_the_date_goes_on_after_an_exception(self, host):
        set_date, calls = host.shared.set_date, []

        def fail_once():
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("once")
            set_date()

        host.shared.set_date = fail_once
        await host.until(lambda: len(calls) == 2)


async def stop(host, seconds=20.0):
    host.shared.draining = True
    await host.server.close_listeners()
    host.server.drain()
    await host.server.finish(asyncio.get_running_loop().time() + seconds)


class TestStopping:
    @hosting()
    async def test_what_is_under_way_is_answered_and_the_idle_are_let_go(self, host):
        host.application = application = Held()
        idle, busy = await host.connect(), await host.connect()
        busy.send(GET)
        await host.until(lambda: application.asked and len(host.shared.connections) == 2)
        stopping = asyncio.create_task(stop(host))
        assert await idle.at_end()
        with pytest.raises(ConnectionRefusedError):
            await host.connect()
        assert not stopping.done()
        application.go.set()
        answer = await busy.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await busy.at_end()
        for client in host.clients:
            client.writer.close()
        await stopping

    @hosting(hello)
    async def test_a_request_that_has_just_come_is_answered(self, host):
        client = await host.connect()
        client.send(GET)
        await client.answer()
        client.send(GET)  # it waits in the socket when the connection is looked at
        host.shared.draining = True
        for connection in host.shared.connections:
            connection.shutdown()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")

    @hosting(hello)
    async def test_one_that_comes_too_late_finds_an_end_and_no_reset(self, host):
        client = await host.connect()
        client.send(GET)
        await client.answer()
        host.shared.draining = True
        for connection in host.shared.connections:
            connection.shutdown()
        client.send(GET)
        assert await client.at_end()

    @hosting()
    async def test_when_the_time_is_up_it_waits_no_longer(self, host):
        host.application = application = Held()
        client = await host.connect()
        client.send(GET)
        await host.until(lambda: application.asked)
        await stop(host, 0.05)
        assert host.shared.connections  # it was waited for in vain

    @hosting()
    async def test_a_hurry_ends_a_stop_that_waits(self, host):
        host.application = application = Held()
        client = await host.connect()
        client.send(GET)
        await host.until(lambda: application.asked)
        stopping = asyncio.create_task(stop(host, 3600))
        await asyncio.sleep(0)
        host.server.hurry()
        async with asyncio.timeout(30):
            await stopping

    def test_its_sockets_are_closed(self):
        async def main():
            listener = socket.create_server(("127.0.0.1", 0))
            async with hosted(hello, listener=listener) as host:
                await stop(host)
            assert listener.fileno() == -1

        asyncio.run(main())
