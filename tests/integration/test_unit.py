"""The systemd unit in deploy/, run by a real systemd with its whole sandbox."""

import json
import os
import re
import socket
import ssl
from pathlib import Path

import pytest
import yaml
from certificates import Authority
from gateway import PATIENCE, free_port
from proxies import DEPLOY
from service_manager import ServiceManager
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can boot a service manager")

UNIT = DEPLOY / "statelessd.service"
SOCKET = "/run/statelessd/8000.sock"
LINEAGE = "/etc/letsencrypt/live/gateway.example.com"


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    with ServiceManager(tmp_path_factory.mktemp(f"systemd-{os.getpid()}")) as booted:
        yield booted


@pytest.fixture
def configure(manager, broker):
    """Writes the service's configuration file, with these settings of HTTPServer."""

    def write(**http_server):
        document = {
            "Application": {"rabbitmq": {"host": broker.host, "port": broker.amqp_port}},
            "HTTPServer": {"address": "127.0.0.1", **http_server},
        }
        manager.write("/etc/statelessd.yml", yaml.safe_dump(document))

    return write


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


def as_shipped(*lines):
    """Return these lines of the unit, in which they are comments, as lines that count."""
    text = UNIT.read_text()
    assert all(f"\n#{line}\n" in text for line in lines), "the unit does not have the comment"
    return "\n".join(lines)


def publish(manager, user):
    """Publish over the Unix socket as this user, and return the status as text."""
    command = f"curl -s -o /dev/null -w %{{http_code}} --unix-socket {SOCKET} -u guest:guest"
    form = ["-d", "body=x", "http://localhost/test/test/k"]
    return manager.run(*command.split(), *form, user=user).stdout


def certificate_at(port, ca):
    """Return the certificate that is shown on the port, once it is verified."""
    context = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        return encrypted.getpeercert(binary_form=True)


def test_the_group_of_nginx_may_use_the_unix_socket(manager, configure):
    configure(ports=[f"unix:{SOCKET}"], unix_group="www-data")
    with manager.service(UNIT, as_shipped("SupplementaryGroups=www-data ssl-cert")):
        assert publish(manager, "www-data") == "204"
        assert publish(manager, "daemon") == "000"
        # A reload applies the group anew, and starts the program anew in the sandbox.
        manager.systemctl("reload", "statelessd")
        wait_until(lambda: ": draining" in manager.log, what="the old backend's end")
        wait_until(lambda: publish(manager, "www-data") == "204", what="the new backend")


def test_a_group_that_the_service_is_not_in_is_named(manager, configure):
    configure(ports=[f"unix:{SOCKET}"], unix_group="www-data")
    with pytest.raises(AssertionError), manager.service(UNIT):
        pass
    assert "HTTPServer.unix_group: Operation not permitted" in manager.log


def test_a_key_of_the_group_ssl_cert(manager, configure, authority):
    port = free_port()
    key = "/etc/ssl/private/gateway.pem"
    configure(ports=[port], tls={"certificate": "/etc/ssl/gateway.pem", "key": key})

    def install():
        manager.write("/etc/ssl/gateway.pem", authority.certificate.read_text())
        manager.write(key, authority.key.read_text(), owner="root:ssl-cert", mode="0640")

    manager.run("chown", "root:ssl-cert", "/etc/ssl/private")
    manager.run("chmod", "0710", "/etc/ssl/private")
    install()
    with manager.service(UNIT, as_shipped("SupplementaryGroups=www-data ssl-cert")):
        first = certificate_at(port, authority.ca)
        authority.issue()
        install()
        wait_until(
            lambda: certificate_at(port, authority.ca) != first, what="the renewed certificate"
        )


@pytest.fixture
def renew(manager, authority):
    """Issues a certificate and puts it where certbot does, for root alone."""

    def issue():
        authority.issue()
        manager.run("install", "-d", "-m", "0700", str(Path(LINEAGE).parent))
        for name, file in (("fullchain", authority.certificate), ("privkey", authority.key)):
            manager.write(f"{LINEAGE}/{name}.pem", file.read_text(), mode="0600")

    issue()
    return issue


def pair(directory):
    """Return settings with a certificate and key as certbot calls them."""
    return {"certificate": f"{directory}/fullchain.pem", "key": f"{directory}/privkey.pem"}


@pytest.mark.usefixtures("renew")
def test_a_key_that_only_root_may_read_is_named(manager, configure):
    configure(ports=[free_port()], tls=pair(LINEAGE))
    with pytest.raises(AssertionError), manager.service(UNIT):
        pass
    assert "fullchain.pem cannot be read: Permission denied" in manager.log


def test_a_key_as_a_credential(manager, configure, authority, renew):
    port = free_port()
    configure(ports=[port], tls=pair("/run/credentials/statelessd.service"))
    lines = [f"LoadCredential={each}.pem:{LINEAGE}/{each}.pem" for each in ("fullchain", "privkey")]
    with manager.service(UNIT, as_shipped(*lines)):
        first = certificate_at(port, authority.ca)
        renew()
        manager.systemctl("restart", "statelessd")
        assert certificate_at(port, authority.ca) != first


def test_a_key_that_the_documented_hook_copies(manager, configure, authority, renew):
    port = free_port()
    configure(ports=[port], tls=pair("/etc/statelessd-tls"))
    manager.run("install", "-d", "/etc/statelessd-tls")
    page = (DEPLOY.parent / "docs/how-to/tls.md").read_text()
    hook = re.search(r"```sh\n( +#!/bin/sh\n.*?)```", page, re.DOTALL)[1]

    def copy():
        done = manager.run("env", f"RENEWED_LINEAGE={LINEAGE}", "sh", "-ec", hook)
        assert done.returncode == 0, done.stderr

    copy()
    with manager.service(UNIT):
        first = certificate_at(port, authority.ca)
        renew()
        copy()
        wait_until(
            lambda: certificate_at(port, authority.ca) != first, what="the renewed certificate"
        )


def test_a_port_below_1024(manager, configure):
    port = next(p for p in range(600, 1024) if not _is_taken(p))
    configure(ports=[port])
    names = ("CapabilityBoundingSet", "AmbientCapabilities")
    with manager.service(UNIT, "\n".join(f"{each}=CAP_NET_BIND_SERVICE" for each in names)):
        answer = manager.run("curl", "-s", f"http://127.0.0.1:{port}/healthz").stdout
        assert json.loads(answer) == {"status": "alive"}


def test_it_sees_nothing_that_it_does_not_need(manager, configure):
    configure(ports=[f"unix:{SOCKET}"])
    with manager.service(UNIT):
        pid = manager.systemctl("show", "--property=MainPID", "--value", "statelessd").strip()
        status = manager.run("cat", f"/proc/{pid}/status").stdout
        assert "NoNewPrivs:\t1\n" in status
        assert "CapBnd:\t0000000000000000\n" in status
        enter = ["nsenter", f"--target={pid}", "--mount"]
        for place in ("/etc/x", "/opt/x", "/var/x", "/home/x", "/root/x"):
            assert manager.run(*enter, "touch", place).returncode != 0, place
        assert manager.run(*enter, "ls", "-A", "/home", "/root", "/tmp").stdout.split() == [
            "/home:",
            "/root:",
            "/tmp:",
        ]


def _is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
