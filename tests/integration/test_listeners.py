"""Where clients come in: TLS, Unix sockets, IPv6, with the clients that people use."""

import contextlib
import functools
import grp
import os
import signal
import socket
import ssl
import stat
import subprocess

import pytest
import requests
from certificates import Authority
from clients import KEPT, PATH, REQUEST, UnixConnection
from gateway import GatewayProcess, free_port, gone, listens
from waiting import wait_until

MIB = 1024 * 1024


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def start_tls(start_gateway, authority):
    def start(minimum_version="1.2", **http_server):
        tls = {**authority.settings, "minimum_version": minimum_version}
        settings = {"HTTPServer": {"tls": tls, **http_server}}
        return start_gateway(settings, ca=authority.ca)

    return start


@pytest.fixture
def path(tmp_path):
    """Of a Unix socket."""
    return tmp_path / "8000.sock"


def curl(*arguments, given=b""):
    """The status that curl was told; it has to be content with how it was told."""
    done = subprocess.run(
        ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def publish(*arguments, url, path=PATH):
    return curl("-d", "body=hi", "-u", "guest:guest", *arguments, f"{url}{path}")


def upload(*arguments, url, user="guest:guest"):
    """Send 30 MiB, and return what curl was told before it had sent them."""
    arguments = ["-u", user, "-H", "Expect:", *arguments]
    return curl(*arguments, f"{url}{PATH}", given=b"x" * (30 * MIB))


def trusting(authority, **versions):
    context = ssl.create_default_context(cafile=str(authority.ca))
    for name, version in versions.items():
        setattr(context, name, version)
    return context


@contextlib.contextmanager
def handshake(port, context):
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        yield connection


class TestTLS:
    def test_a_publish(self, start_tls, authority, queue):
        gateway = start_tls()
        path = f"/test/{queue.name}/k"
        assert publish("--cacert", authority.ca, url=gateway.url, path=path) == 204
        assert queue.bodies() == [b"hi"]
        with pytest.raises(requests.ConnectionError):  # it speaks nothing else
            requests.get(f"http://127.0.0.1:{gateway.port}/stats", timeout=5)

    def test_older_versions_are_refused(self, start_tls, authority):
        gateway = start_tls("1.3")
        with handshake(gateway.port, trusting(authority)) as connection:
            assert connection.version() == "TLSv1.3"
        old = trusting(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
        with pytest.raises(ssl.SSLError), handshake(gateway.port, old):
            pass

    def test_1_2_is_the_oldest_by_default(self, start_tls, authority):
        gateway = start_tls()
        context = trusting(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
        with handshake(gateway.port, context) as connection:
            assert connection.version() == "TLSv1.2"
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError), handshake(gateway.port, context):
            pass

    def test_a_changed_certificate_is_taken_up_and_a_broken_one_is_not(self, start_tls, authority):
        gateway = start_tls()

        def shown():
            return ssl.get_server_certificate(("127.0.0.1", gateway.port), timeout=5).split()

        first = authority.certificate.read_text().split()
        with handshake(gateway.port, trusting(authority)) as old_connection:
            assert shown() == first
            second = authority.issue().split()
            wait_until(lambda: shown() == second, what="the new certificate")
            authority.certificate.write_text("garbage")
            gateway.says("the certificate stays in use")
            assert shown() == second
            third = authority.issue().split()
            wait_until(lambda: shown() == third, what="the next certificate")
            old_connection.sendall(REQUEST)
            assert old_connection.recv(100).startswith(b"HTTP/1.1 204")
        assert gateway.text.count("the certificate stays in use") == 1

    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    @pytest.mark.parametrize(("user", "status"), [("guest:guest", 413), (":", 401)])
    def test_an_early_answer_reaches_curl(self, start_tls, authority, version, user, status):
        gateway = start_tls()
        arguments = ["--cacert", authority.ca, "--tls-max", version, "--data-binary", "@-"]
        for _ in range(5):
            assert upload(*arguments, url=gateway.url, user=user) == status
        wait_until(lambda: gateway.connections() == 0, what="the connections to end")

    def test_a_chunked_body_that_grows_too_large(self, start_tls, authority):
        gateway = start_tls()
        arguments = ["-X", "POST", "--cacert", authority.ca, "-T", "-"]
        assert upload(*arguments, url=gateway.url) == 413

    def test_a_client_that_hangs_up_does_no_harm(self, start_tls, authority):
        gateway = start_tls()
        for hang_up in (ssl.SSLSocket.unwrap, socket.socket.close) * 10:
            with handshake(gateway.port, trusting(authority)) as connection:
                connection.sendall(REQUEST)
                with contextlib.suppress(OSError):  # the answer may come first
                    hang_up(connection)
        wait_until(lambda: gateway.connections() == 0, what="the connections to end")
        assert publish("--cacert", authority.ca, url=gateway.url) == 204
        assert "eof_received" not in gateway.text

    def test_a_client_that_says_nothing_more_does_not_hold_up_a_stop(self, start_tls, authority):
        gateway = start_tls(drain_timeout=60)
        with handshake(gateway.port, trusting(authority)) as idle:
            idle.sendall(KEPT)
            assert idle.recv(1000).startswith(b"HTTP/1.1 204")
            assert gateway.stop(30) == 0  # not the whole of its time for a drain
            assert idle.recv(100) == b""  # in order: it was told
        assert "unanswered" not in gateway.text

    def test_one_that_is_shaking_hands_when_it_stops_is_answered(self, start_tls, authority):
        gateway = start_tls()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
            gateway.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(gateway.port, 0.1), what="the listener to close")
            with trusting(authority).wrap_socket(raw, server_hostname="localhost") as late:
                late.sendall(REQUEST)
                assert late.recv(100).startswith(b"HTTP/1.1 204")

    def test_a_key_that_does_not_match_is_told_before_the_start(self, authority, tmp_path, broker):
        Authority(tmp_path / "other").key.replace(authority.key)
        settings = {"HTTPServer": {"tls": authority.settings}}
        gateway = GatewayProcess(tmp_path, broker, settings)
        for arguments in ([], ["--check-config"]):
            done = gateway.run(*arguments)
            assert done.returncode == 2
            assert "HTTPServer.tls.key: the key in" in done.stderr
            assert "Traceback" not in done.stderr


class TestUnixSockets:
    def test_a_publish_beside_a_port(self, start_gateway, path, queue):
        gateway = start_gateway(unix=[path])
        target = f"/test/{queue.name}/k"
        assert publish("--unix-socket", path, url="http://x", path=target) == 204
        assert publish(url=gateway.url, path=target) == 204
        assert queue.bodies() == [b"hi", b"hi"]
        with contextlib.closing(UnixConnection(path)) as connection:
            connection.request("GET", "/stats")
            assert f'"port":"unix:{path}"' in connection.getresponse().read().decode()
        assert gateway.stats()["port"] == gateway.port
        gateway.says(f"listening on unix:{path}")

    def test_mode_group_and_end(self, start_gateway, path):
        group = grp.getgrgid(os.getgid() if os.getuid() else 1).gr_name  # root may give it away
        settings = {"HTTPServer": {"unix_mode": "0640", "unix_group": group}}
        gateway = start_gateway(settings, unix=[path])
        found = path.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o640
        assert grp.getgrgid(found.st_gid).gr_name == group
        assert gateway.stop() == 0
        assert not path.exists()

    def test_a_stale_one_is_replaced_and_a_live_one_is_not(
        self, start_gateway, path, tmp_path, broker
    ):
        killed = GatewayProcess(tmp_path, broker, unix=[path]).start()
        backends = killed.backends()
        killed.kill()
        wait_until(lambda: all(map(gone, backends)), what="its backends to end")
        assert path.exists()
        start_gateway(unix=[path])
        assert publish("--unix-socket", path, url="http://x") == 204
        done = GatewayProcess(tmp_path, broker, unix=[path]).run()
        assert done.returncode == 1
        assert f"cannot listen on unix:{path}: another process listens there" in done.stderr
        assert publish("--unix-socket", path, url="http://x") == 204

    def test_guest_is_near_unless_a_header_says_otherwise(self, start_gateway, path):
        settings = {"HTTPServer": {"xheaders": True, "trusted_proxies": []}}
        start_gateway(settings, unix=[path])
        ask = functools.partial(publish, "--unix-socket", path, url="http://x")
        assert ask() == 204
        for name in ("X-Real-IP", "X-Forwarded-For"):
            assert ask("-H", f"{name}: 127.0.0.1") == 204
            assert ask("-H", f"{name}: 192.0.2.1") == 403
            assert ask("-H", f"{name}: unix:") == 403

    def test_an_early_answer_reaches_curl(self, start_gateway, path):
        start_gateway(unix=[path])
        arguments = ["--unix-socket", path, "--data-binary", "@-"]
        for _ in range(5):
            assert upload(*arguments, url="http://x") == 413

    def test_tls_is_for_ports_only(self, start_gateway, path, authority):
        settings = {"HTTPServer": {"tls": authority.settings}}
        gateway = start_gateway(settings, unix=[path], ca=authority.ca)
        assert publish("--unix-socket", path, url="http://x") == 204
        assert publish("--cacert", authority.ca, url=gateway.url) == 204


def test_ipv6(start_gateway):
    port = free_port()
    start_gateway({"HTTPServer": {"address": "::1", "ports": [port]}}, ports=0)
    assert publish(url=f"http://[::1]:{port}") == 204
