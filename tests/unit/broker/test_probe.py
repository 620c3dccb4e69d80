"""The probe: what it asks, when, and what is known afterwards."""

import asyncio
import contextlib

import pytest
from scenario import O

from statelessd.broker import publisher as publisher_module
from statelessd.config.settings import Probe

ACCOUNT = Probe(username="watch", password="hush-hush", virtual_host="/w")


async def ask(client):
    state = await client.publisher.ask_broker()
    return state.state.value, state.reason


async def asked_until(client, condition):
    async with asyncio.timeout(30):
        while not condition(await ask(client)):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def test_it_is_asked_again_only_after_the_interval(broker, client):
    often, seldom = client(probe=Probe(interval=0.05)), client()
    for _ in range(3):
        await ask(seldom)
    assert len(broker.peers) == 1
    await asked_until(often, lambda _: len(broker.peers) >= 4)


async def test_nobody_waits_for_a_probe_when_connections_tell(broker, client, monkeypatch):
    asked = client(login_timeout=60.0)
    broker.accept = False
    await ask(asked)  # has no answer in time; the probe goes on
    broker.accept = True
    await asked.opens()
    monkeypatch.setattr(publisher_module, "PATIENCE", 120.0)
    assert await ask(asked) == ("connected", "")


async def test_many_who_ask_at_once_are_one_probe(broker, publish):
    assert {s for s, _ in await asyncio.gather(*(ask(publish) for _ in range(20)))} == {"reachable"}
    assert len(broker.peers) == 1


async def test_while_there_is_a_connection_nobody_is_asked(broker, client):
    publish = client(probe=Probe(interval=0.01))
    assert await publish() is O.CONFIRMED
    for _ in range(5):
        assert await ask(publish) == ("connected", "")
        await asyncio.sleep(0.01)
    assert len(broker.peers) == 1
    broker.peers[0].cut()
    await publish.until(lambda: publish.state == "unused")
    assert await ask(publish) == ("reachable", "")  # at once: the loss made it doubtful


async def test_interval_0_asks_nobody(broker, client):
    asked = client(probe=Probe(interval=0))
    assert await ask(asked) == ("unused", "")
    assert broker.peers == []


@pytest.mark.parametrize(
    ("closing", "reason"),
    [
        ((403, "ACCESS_REFUSED - no"), "The broker refused the user name or password"),
        ((530, "NOT_ALLOWED - vhost /w not found"),
         "The broker says: vhost /w not found"),
        ((541, "INTERNAL_ERROR - vhost '/w' is down"),
         "The broker refused a connection: 541 vhost '/w' is down"),
    ],
)  # fmt: skip
async def test_a_refused_account_is_told(broker, client, caplog, closing, reason):
    asked = client(probe=ACCOUNT)
    broker.refuses_logins(*closing)
    assert await ask(asked) == ("refused", reason)
    assert await ask(asked) == ("refused", reason)
    assert len(broker.peers) == 1
    assert broker.peers[0].methods == ["Connection.StartOk", "Connection.CloseOk"]
    assert "hush" not in caplog.text


async def test_a_login_that_ends_without_a_word_is_not_the_brokers_absence(broker, client):
    asked, greeted = client(probe=ACCOUNT), client()
    broker.cut_at = "Connection.Open"
    state, reason = await ask(asked)
    assert (state, bool(reason)) == ("refused", True)
    assert await ask(greeted) == ("reachable", "")


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_what_is_no_broker_is_told(broker, client, says):
    """A proxy takes connections though the broker behind it is gone."""

    async def serve(_, writer):
        writer.write(says)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        state, reason = await ask(client(port=server.sockets[0].getsockname()[1]))
    assert state == "unreachable"
    assert "broke the protocol" in reason or "closed the socket" in reason or "reset" in reason


async def test_a_silent_broker_is_waited_for_with_patience_and_then_given_up(
    broker, client, monkeypatch
):
    monkeypatch.setattr(publisher_module, "PATIENCE", 0.05)
    broker.accept = False
    asked = client(login_timeout=0.5)
    assert await ask(asked) == ("unreachable", "the broker has not answered yet")
    await asked.until(lambda: broker.peers and broker.peers[0].gone)
    state = ("unreachable", "the broker did not complete the login in time")
    assert await ask(asked) == state
