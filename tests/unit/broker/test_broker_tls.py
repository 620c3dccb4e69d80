"""TLS to the broker: whom we trust, what is said of failures, and that messages keep their fate."""

import asyncio
import contextlib
import datetime as dt
import itertools
import logging
import ssl

import pytest
from fakebroker import FakeBroker
from scenario import O, outcomes

from statelessd.broker.unreachable import why
from statelessd.config.settings import BrokerTls
from statelessd.tls.client import Trust
from statelessd.tls.files import LOOK

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

    def test_not_one_of_another_authority(self, authority, stranger):
        error = shake(trust(stranger), authority.server_context())
        assert why(error) == "the broker's certificate is from an authority that is not trusted"
        assert shake(trust(stranger, ca=None), authority.server_context()) is not None

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

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_what_the_broker_says_of_our_certificate(self, authority, stranger, version):
        context = authority.server_context()
        context.load_verify_locations(authority.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = context.maximum_version = version
        assert shake(trust(authority, **authority.settings), context) is None
        assert "client certificate" in why(shake(trust(authority), context))
        refused = why(shake(trust(authority, **stranger.settings), context))
        assert refused == "the broker does not accept the gateway's certificate: unknown ca"


class TestChangedFiles:
    seconds = itertools.count(1000)

    def looks(self, trust, times=3):
        for _ in range(times):
            trust.refresh(next(self.seconds) * LOOK)

    def test_another_authority_takes_the_place_of_the_old_one(self, authority, stranger, caplog):
        caplog.set_level(logging.INFO)
        trusting = trust(authority)
        self.looks(trusting)
        assert not caplog.records
        old = authority.server_context()
        stranger.ca.replace(authority.ca)
        self.looks(trusting)
        assert shake(trusting, stranger.server_context()) is None
        assert shake(trusting, old) is not None
        assert caplog.text.count("have changed: using them") == 1

    @pytest.mark.parametrize("file", ["ca", "certificate", "key"])
    def test_a_broken_file_is_told_once_and_changes_nothing(self, authority, caplog, file):
        trusting = trust(authority, **authority.settings)
        context = authority.server_context()
        getattr(authority, file).write_text("garbage")
        self.looks(trusting, 6)
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert f"Application.rabbitmq.tls.{file}: " in caplog.text
        assert "TLS to the broker stays as it was" in caplog.text
        assert shake(trusting, context) is None


async def test_bodies_of_all_sizes_are_confirmed(broker, publish):
    bodies = [b"", b"hi", b"x" * 131_072, b"y" * 7_000_001, b"last"]
    assert [await publish(body) for body in bodies] == [O.CONFIRMED] * 5
    together = await asyncio.gather(*(publish.start(body) for body in bodies))
    assert [outcome for outcome, _ in together] == [O.CONFIRMED] * 5
    assert broker.published == bodies * 2


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


async def test_a_broker_that_refuses_connections_is_said_to_do_so(broker, publish):
    await broker.stop()
    outcome, detail = await publish.start(timeout=1.5)
    assert outcome is O.BROKER_UNAVAILABLE
    assert "Connection refused" in detail
