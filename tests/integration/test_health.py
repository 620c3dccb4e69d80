"""The broker's state where nobody publishes, and what a real one's absence leaves in the logs."""

import concurrent.futures
import re
import socket
import ssl

import pytest
from certificates import Authority
from users import add_users
from waiting import wait_until

LOGINS = 25
PROBE = {"interval": 0.1, "username": "watch", "password": "hush-hush", "virtual_host": "test"}
UNEXPECTED = "client unexpectedly closed TCP connection"


@pytest.fixture(scope="module")
def own(broker, heal):
    add_users(broker, {"watch": PROBE["password"]}, write="")
    wait_until(lambda: UNEXPECTED in log(broker), what="the end of the script's own look")
    yield broker
    heal()


def log(own):
    return own.node.log_path.read_text(errors="replace")


def settings(**probe):
    return {
        "Application": {"rabbitmq": {"probe": probe}},
        "HTTPServer": {"ready_needs_broker": True},
    }


def ready(gateway):
    """The status of /readyz, its word, and what it says of the broker."""
    answer = gateway.get("/readyz")
    document = answer.json()
    return answer.status_code, document["status"], document["broker"]["state"]


def lines(gateway, level):
    """Of the broker."""
    said = gateway.text.splitlines()
    return [line for line in said if f" {level} " in line and " statelessd.broker." in line]


def test_the_greeting_is_enough_and_is_asked_for_once_in_the_interval(start_gateway, own):
    before = log(own).count(UNEXPECTED)
    gateway = start_gateway(settings(), against=own)
    for _ in range(5):
        assert ready(gateway) == (200, "ready", "reachable")
    wait_until(lambda: log(own).count(UNEXPECTED) > before, what="RabbitMQ's warning")
    assert log(own).count(UNEXPECTED) == before + 1
    assert gateway.stats()["broker"] == {"state": "reachable", "reason": ""}
    assert gateway.publish().status_code == 204
    assert ready(gateway) == (200, "ready", "connected")


def test_an_account_leaves_in_order(start_gateway, own):
    before = len(log(own))
    gateway = start_gateway(settings(**PROBE), against=own)
    assert ready(gateway) == (200, "ready", "reachable")
    # RabbitMQ 4 ends the line with a duration.
    ended = re.compile(r"closing AMQP connection .*user: 'watch'[,)]")
    wait_until(lambda: ended.search(log(own)[before:]), what="the end of the probe")
    said = log(own)[before:]
    assert "user 'watch' authenticated and granted access to vhost 'test'" in said
    assert "[warning]" not in said
    assert "[error]" not in said


def test_an_account_that_the_broker_refuses(start_gateway, own):
    gateway = start_gateway(settings(**PROBE | {"password": "hush-wrong"}), against=own)
    for _ in range(3):
        assert ready(gateway) == (503, "not-ready", "refused")
    assert gateway.run("--print-config").stdout.count("hush") == 0
    gateway.stop()
    [line] = lines(gateway, "WARNING")
    assert line.endswith(
        "the broker refuses the probe's login: The broker refused the user name or password"
    )
    assert "hush" not in gateway.text


def test_a_broker_that_stops_under_many_logins(start_gateway, own):
    add_users(own, {f"u{number}": "pw" for number in range(LOGINS)})
    gateway = start_gateway(settings(), against=own)

    def publish(number, wait):
        login = {"user": f"u{number}", "password": "pw"}
        return gateway.publish(headers={"Prefer": f"wait={wait}"}, **login).status_code

    def publish_as_all(wait):
        with concurrent.futures.ThreadPoolExecutor(LOGINS) as threads:
            return set(threads.map(publish, range(LOGINS), [wait] * LOGINS))

    assert publish_as_all(30) == {204}
    own.node.stop()
    for _ in range(4):
        assert publish_as_all(0.5) == {503}
    assert ready(gateway) == (503, "not-ready", "unreachable")
    own.start()
    # Nobody publishes, as behind a balancer that goes by /readyz.
    wait_until(lambda: ready(gateway) == (200, "ready", "reachable"), what="it to be ready")
    assert publish_as_all(30) == {204}
    gateway.stop()
    down, again = lines(gateway, "WARNING")
    assert down.endswith("cannot reach the broker: Connection refused")
    assert "the broker is reachable again, after " in again
    # Of the logins: at most 20 lines in 10 seconds, and a count of the others.
    assert len(lines(gateway, "INFO")) < 4 * LOGINS


def test_a_tls_port_that_gets_something_else_is_quiet(start_gateway, own, tmp_path):
    authority = Authority(tmp_path)
    gateway = start_gateway(
        {"HTTPServer": {"tls": authority.settings}}, against=own, ca=authority.ca
    )
    before = gateway.text
    for request in (b"GET / HTTP/1.1\r\n\r\n", b"", b"\x16\x03\x01\x00\x05junk!"):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1000):
                pass
    strangers = ssl.create_default_context()  # who does not trust the authority
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as client,
    ):
        strangers.wrap_socket(client, server_hostname="localhost")
    assert gateway.stats()
    assert gateway.text == before
