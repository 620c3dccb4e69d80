"""TLS to the broker: whom we trust, what is said of failures, and that messages keep their fate."""

import asyncio
import contextlib
import datetime as dt
import ssl

import pytest
from fakebroker import FakeBroker
from scenario import O, outcomes

from statelessd.broker.unreachable import why
from statelessd.config.settings import BrokerTls
from statelessd.tls.client import Trust

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def broker(authority, both_loops):
    return FakeBroker(authority.server_context())


@pytest.fixture
def settings(authority):
    return {"tls": BrokerTls(enabled=True, ca=str(authority.ca))}


def trust(authority, **settings):
    return Trust(BrokerTls(**{"enabled": True, "ca": str(authority.ca)} | settings))


def shake(trust, server_context, host="localhost"):
    """A handshake in memory, and a byte back; the error that the client gets, or None."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.context.wrap_bio(to_client, to_server, server_hostname=trust.name_of(host))
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        try:
            client.do_handshake()
            client.read()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return error
        with contextlib.suppress(ssl.SSLError):
            server.do_handshake()
    return None


class TestWhoIsTrusted:
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    def test_a_host_of_the_certificate(self, authority, host):
        assert shake(trust(authority), authority.server_context(), host) is None

    @pytest.mark.parametrize("host", ["rabbit.example", "127.0.0.2"])
    def test_not_one_of_another_name(self, authority, host):
        error = shake(trust(authority), authority.server_context(), host)
        assert why(error) == "the broker's certificate is for another name"
        named = trust(authority, server_name="localhost")
        assert shake(named, authority.server_context(), host) is None

    def test_the_brokers_own_certificate_may_be_named(self, authority):
        own = trust(authority, ca=str(authority.certificate))
        assert shake(own, authority.server_context()) is None
        authority.issue()
        assert shake(own, authority.server_context()) is not None

    @pytest.mark.parametrize(
        ("validity", "said"),
        [
            ({"not_before": NOW - 2 * DAY, "not_after": NOW - DAY}, "has expired"),
            ({"not_before": NOW + DAY, "not_after": NOW + 2 * DAY}, "is not valid yet"),
        ],
    )
    def test_not_one_of_another_time(self, authority, validity, said):
        authority.issue(**validity)
        error = shake(trust(authority), authority.server_context())
        assert why(error) == f"a certificate of the broker {said}"

    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_not_an_older_version(self, authority, version):
        context = authority.server_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        minimum = version.removeprefix("TLSv").replace("_", ".")
        error = shake(trust(authority, minimum_version=minimum), context)
        assert (error is None) == (version == "TLSv1_2")
        if error is not None:
            assert why(error) == "the broker speaks no version of TLS that is allowed here"

    def test_the_name_is_sent_and_an_address_is_not(self, authority):
        context = authority.server_context()
        seen = []
        context.sni_callback = lambda _, name, __: seen.append(name)
        shake(trust(authority), context, "localhost")
        shake(trust(authority), context, "127.0.0.1")
        shake(trust(authority, server_name="localhost"), context, "127.0.0.1")
        assert seen == ["localhost", None, "localhost"]


async def test_a_broker_that_stops_reading_is_felt_and_a_cut_loses_no_answer(broker, publish):
    await publish.opens()
    broker.peers[0].reading.clear()
    pending = [publish.start(b"%04d" % i + b"x" * 100_000) for i in range(500)]
    await publish.until(lambda: publish.shows("not writable"))
    handed_over = [p.publish.handed_over for p in pending]
    assert 0 < handed_over.count(True) < 300
    broker.peers[0].cut()
    told = await outcomes(*pending)
    assert told == [O.UNCONFIRMED if was else O.CONFIRMED for was in handed_over]
    numbers = [int(body[:4]) for body in broker.published if len(body) > 5]
    again = [i for i, was in enumerate(handed_over) if not was]
    assert numbers[-len(again) :] == again  # and nothing twice
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (-1, "the broker's host does not answer, or not in TLS"),
        (100, "the broker hung up during the TLS handshake"),
    ],
    ids=["hangs", "hangs up"],
)
async def test_a_handshake_that_fails_is_given_up(client, size, said):
    hung_up = asyncio.Event()

    async def serve(reader, writer):
        await reader.read(size)
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        publish = client(port=server.sockets[0].getsockname()[1], connect_timeout=0.2)
        outcome, detail = await publish.start(timeout=1.5)
        assert outcome is O.BROKER_UNAVAILABLE
        assert said in detail
        await hung_up.wait()
