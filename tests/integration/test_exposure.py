"""A start that lets everybody in says so once, with the settings that change it."""

from gateway import free_port, listening
from waiting import wait_until

WORDS = "other machines can connect without TLS"


def test_one_warning_at_a_start_and_one_at_a_reload_while_it_holds(start_gateway):
    gateway = start_gateway({"HTTPServer": {"address": ""}}, ports=2)
    assert gateway.text.count(WORDS) == 1
    [line] = [line for line in gateway.text.splitlines() if WORDS in line]
    assert "WARNING" in line
    gateway.reload(Application={"access_log": 1})
    assert gateway.text.count(WORDS) == 2


def test_none_on_loopback_and_on_unix_sockets(start_gateway, tmp_path):
    gateway = start_gateway({"HTTPServer": {"address": "127.0.0.1"}}, unix=[tmp_path / "x.sock"])
    assert WORDS not in gateway.text


def test_the_check_says_it_too(start_gateway):
    gateway = start_gateway()
    gateway.change(HTTPServer={"address": "", "ports": [free_port()]})
    done = gateway.run("--check-config")
    assert done.returncode == 0
    assert done.stderr.count(WORDS) == 1


def test_a_socket_of_systemd_on_loopback_is_not_open(start_gateway):
    gateway = start_gateway({"HTTPServer": {"address": ""}})
    gateway.stop()
    said = gateway.text.count(WORDS)
    with gateway.activated(f"127.0.0.1:{gateway.port}"):
        wait_until(lambda: gateway.port in listening(), what="systemd's socket")
        gateway.get("/healthz")
        gateway.says("listening on ", 2)
    assert gateway.text.count(WORDS) == said
