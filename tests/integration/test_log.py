"""The log of a real gateway, whose broker is scripted: it says enough, and not too much."""

import asyncio
import functools
import inspect
import json
import re

import brokerside
import pytest
from fakebroker import FakeBroker
from gateway import At, running

NASTY = "\x1b[2J\x9b31m\r\n2026-01-01 ERROR forged\u202egpj \x07"
FLAPS = 37_000


class Play:
    """A scripted broker, and a gateway process that publishes to it."""

    def __init__(self, broker, gateway):
        self.broker, self.gateway = broker, gateway

    async def publish(self, path="/v/e/k", **options):
        return await asyncio.to_thread(self.gateway.publish, path, **options)

    async def ask(self, path):
        return await asyncio.to_thread(self.gateway.get, path)

    async def until(self, condition):
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.05)

    async def says(self, pattern):
        await self.until(lambda: re.search(pattern, self.gateway.text))


def played(**application):
    """Make an async test of a broker and a gateway with these settings a test."""

    def decorate(test):
        async def play(tmp_path, given):
            async with FakeBroker() as broker:
                settings = {"Application": {"log": "console"} | application}
                context = running(tmp_path, At("127.0.0.1", broker.port), settings)
                gateway = await asyncio.to_thread(context.__enter__)
                try:
                    await test(Play(broker, gateway), **given)
                finally:
                    await asyncio.to_thread(context.__exit__, None, None, None)

        @functools.wraps(test)
        def run(tmp_path, **given):
            asyncio.run(play(tmp_path, given))

        parameters = list(inspect.signature(test).parameters.values())[1:]
        path = inspect.Parameter("tmp_path", inspect.Parameter.KEYWORD_ONLY)
        run.__signature__ = inspect.Signature([*parameters, path])  # type: ignore[attr-defined]  # pytest reads it
        return run

    return decorate


@played()
async def test_a_block_that_flaps_writes_a_few_lines(play):
    assert (await play.publish()).status_code == 204
    [peer] = play.broker.alive()
    for _ in range(FLAPS // 100):
        peer.send((brokerside.blocked(NASTY) + brokerside.unblocked()) * 100)
        await asyncio.sleep(0)
    peer.send(brokerside.blocked("the last word"))
    await play.says(r"blocks publishers: the last word( \(and [\d,]+ more like it|$)")
    assert len(play.gateway.text) < 20_000
    assert (await play.publish()).status_code == 503
    peer.send(brokerside.unblocked())


def is_clean(text):
    """Whether each line is the log's own, and nothing can command a terminal."""
    lines = text.rstrip("\n").split("\n")
    return all(
        line.isprintable() and re.match("[0-9]{4}-[0-9-]+ [0-9:,]+ ", line) for line in lines
    )


def texts(document):
    """Yield every text in a JSON document."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for each in document.values() if isinstance(document, dict) else document:
            yield from texts(each)


def raw(method, text=NASTY):
    """A method whose text is not UTF-8 either: its X stands for bytes that are not."""
    return method(text + "X" * 20).replace(b"X" * 20, b"\xff\x9b\xe2\x80\xae" * 4)


CLOSES = {
    "a login": lambda play: setattr(
        play.broker,
        "on_login",
        lambda peer: peer.send(raw(functools.partial(brokerside.close, 530))),
    ),
    "a connection": lambda play: setattr(
        play.broker,
        "on_publish",
        lambda peer, *_: peer.send(raw(functools.partial(brokerside.close, 320))),
    ),
    "a channel": lambda play: setattr(
        play.broker,
        "on_publish",
        lambda peer, channel, *_: peer.send(
            raw(functools.partial(brokerside.channel_close, channel, 406))
        ),
    ),
    "publishers": lambda play: setattr(
        play.broker, "on_publish", lambda peer, *_: peer.send(raw(brokerside.blocked))
    ),
}


@pytest.mark.parametrize("what", CLOSES)
@played()
async def test_what_the_broker_says_is_printable(play, what):
    CLOSES[what](play)
    for user in ("guest", "a\x1b[2J\nb"):
        answer = await play.publish(
            "/v%1B%0Ax/e%E2%80%AEy/k", user=user, headers={"Prefer": "wait=1"}
        )
        assert answer.json()["detail"].isprintable()
        assert answer.status_code >= 400
    for page in ("/dashboard.json", "/details.json", "/readyz"):
        document = (await play.ask(page)).json()
        assert all(text.isprintable() for text in texts(document)), document
    assert is_clean(play.gateway.text)


@played()
async def test_each_request_that_failed_is_found_by_its_id(play):
    play.broker.nacks()
    assert (await play.publish(headers={"X-Request-ID": "n1"})).status_code == 503
    play.broker.is_silent()
    late = {"X-Request-ID": "u1", "Prefer": "wait=0.2"}
    assert (await play.publish(headers=late)).status_code == 504
    await play.broker.stop()
    away = await play.publish(user="other", headers={"X-Request-ID": "a1", "Prefer": "wait=0.2"})
    assert away.status_code == 503
    play.broker.confirms()
    await play.broker.start_again()
    for line in (
        "WARNING .*: 503 nacked request_id=n1 virtual_host=v exchange=e user=guest outcome=unknown",
        "504 unconfirmed request_id=u1 virtual_host=v exchange=e user=guest outcome=unknown",
        "503 broker-unavailable request_id=a1 .* user=other outcome=not-published detail='No conn",
    ):
        assert re.search(line, play.gateway.text)


@played(log="json")
async def test_json_has_the_same_in_members(play):
    play.broker.nacks()
    await play.publish("/v%1B/e%0Ax/k", headers={"X-Request-ID": "n1"})
    found = [json.loads(line) for line in play.gateway.text.splitlines()]
    [failure] = [each for each in found if each.get("request_id") == "n1"]
    assert failure["level"] == "WARNING"
    assert (failure["status"], failure["type"], failure["outcome"]) == (503, "nacked", "unknown")
    assert failure["virtual_host"].isprintable()
    assert (failure["exchange"], failure["user"], failure["left_out"]) == ("e\nx", "guest", 0)
    assert failure["detail"].startswith("The broker did not take the message")


@played()
async def test_a_broker_that_closes_everything_writes_a_few_lines(play):
    play.broker.closes_connections(320, NASTY)

    async def publish(number):
        await play.publish(user=f"user-{number % 10}", headers={"Prefer": "wait=1"})

    for start in range(0, 300, 10):
        await asyncio.gather(*(publish(number) for number in range(start, start + 10)))
    assert len(play.gateway.text.splitlines()) < 150
    assert is_clean(play.gateway.text)
