"""TLS to a real RabbitMQ that wants a client certificate, and all that can be wrong with it."""

import types
from concurrent.futures import ThreadPoolExecutor

import pytest
from certificates import Authority
from gateway import At, free_port
from problems import is_problem
from waiting import wait_until

import broker as broker_script

PATIENCE = 2.0  # seconds for a publish that is refused: on a busy machine a handshake takes one
NAME = "rabbit.example"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Of the broker and of its clients alike."""
    return Authority(tmp_path_factory.mktemp("authority"), (NAME,))


@pytest.fixture(scope="module")
def tls_port():
    return free_port()


@pytest.fixture(scope="module")
def broker(tmp_path_factory, authority, tls_port):
    """In place of the session's; it listens in plain text as well, where the tests look."""
    conf = f"""
        listeners.ssl.1 = 127.0.0.1:{tls_port}
        ssl_options.cacertfile = {authority.ca}
        ssl_options.certfile = {authority.certificate}
        ssl_options.keyfile = {authority.key}
        ssl_options.verify = verify_peer
        ssl_options.fail_if_no_peer_cert = true
    """
    directory = tmp_path_factory.mktemp("broker")
    with broker_script.Broker(directory, extra_conf=conf) as running:
        yield running


@pytest.fixture
def client(tmp_path, authority):
    """A copy of the files that are right, for a test to replace."""
    copied = types.SimpleNamespace()
    for file in ("ca", "certificate", "key"):
        path = tmp_path / f"client-{file}.pem"
        path.write_bytes(getattr(authority, file).read_bytes())
        setattr(copied, file, path)
    return copied


@pytest.fixture
def stranger(tmp_path):
    return Authority(tmp_path / "stranger", (NAME,))


@pytest.fixture
def start(start_gateway, client, tls_port):
    """A gateway for which everything is right, but for ``changes``."""

    def start(port=tls_port, timeout=4.0, **changes):
        tls = {
            "enabled": True,
            "ca": str(client.ca),
            "certificate": str(client.certificate),
            "key": str(client.key),
            "server_name": NAME,
        }
        tls = {k: v for k, v in (tls | changes).items() if v is not None}
        settings = {"rabbitmq": {"tls": tls}, "publish": {"timeout": timeout}}
        return start_gateway({"Application": settings}, against=At("127.0.0.1", port))

    return start


def takes(gateway):
    return gateway.publish().status_code == 204


def test_messages_are_confirmed_and_the_end_is_in_order(start, broker, queue):
    gateway = start(minimum_version="1.3")
    large = bytes(range(256)) * (8 * MIB // 256)
    answers = [
        gateway.publish(f"/test/{queue.name}/k", data=body, headers={"Content-Type": "x/y"})
        for body in (b"", b"hi", large, b"last")
    ]
    assert [answer.status_code for answer in answers] == [204] * 4
    assert queue.bodies() == [b"", b"hi", large, b"last"]
    shown = broker.ctl("list_connections", "name", "ssl", "ssl_protocol", "peer_cert_subject")
    [ours] = [line for line in shown.splitlines() if "true" in line]
    assert "tlsv1.3" in ours
    assert "trustme" in ours  # our certificate
    assert "over TLS" in gateway.text
    hung_up = broker.node.log_path.read_text().count("unexpectedly closed")
    assert gateway.stop() == 0
    assert broker.node.log_path.read_text().count("unexpectedly closed") == hung_up


class TestWhatIsWrong:
    def refused(self, gateway, said):
        """Many publishes are told the same, and the log has one line."""
        with ThreadPoolExecutor(20) as pool:
            ask = [pool.submit(gateway.publish) for _ in range(20)]
            details = {is_problem(a.result(), 503, "broker-unavailable")["detail"] for a in ask}
        assert details == {f"No connection to the broker: {said}."}
        [line] = [each for each in gateway.text.splitlines() if "statelessd.broker" in each]
        assert f"cannot reach the broker: {said}" in line

    def test_no_certificate_of_ours(self, start):
        gateway = start(certificate=None, key=None, timeout=PATIENCE)
        self.refused(gateway, "the broker wants a client certificate, and the gateway has none")

    def test_a_certificate_that_the_broker_does_not_trust(self, start, stranger):
        gateway = start(**stranger.settings, timeout=PATIENCE)
        said = "the broker does not accept the gateway's certificate: unknown ca"
        self.refused(gateway, said)

    def test_a_port_without_tls(self, start, broker):
        gateway = start(port=broker.amqp_port, timeout=PATIENCE)
        self.refused(gateway, "the broker does not speak TLS on that port")


def test_renewed_files_are_taken_up(start, client, authority, stranger):
    stranger.ca.replace(client.ca)
    stranger.certificate.replace(client.certificate)
    stranger.key.replace(client.key)
    gateway = start(timeout=PATIENCE)
    assert not takes(gateway)
    client.ca.write_bytes(authority.ca.read_bytes())
    gateway.says("using the changed files", 1)
    answer = gateway.publish()
    assert "does not accept the gateway's certificate" in answer.json()["detail"]
    client.certificate.write_bytes(authority.certificate.read_bytes())
    gateway.says("TLS to the broker stays in use")
    client.key.write_bytes(authority.key.read_bytes())
    gateway.says("using the changed files", 2)
    wait_until(lambda: takes(gateway), what="a publish")


def test_a_reload_with_files_that_are_not_there_changes_nothing(start, client):
    gateway = start()
    backends = gateway.backends()
    client.ca.unlink()
    gateway.hang_up()
    gateway.says("is not valid; nothing changes")
    said = f"Application.rabbitmq.tls.ca: {client.ca} cannot be read: No such file or directory"
    gateway.says(said)
    assert gateway.backends() == backends
    assert takes(gateway)
