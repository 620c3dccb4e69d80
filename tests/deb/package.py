"""The Debian package on a fresh, booted Debian 13 beside its RabbitMQ: ``make test-deb``.

It is installed, serves, reloads, is upgraded and downgraded, and leaves nothing when it is
purged. Making the package and the root takes minutes, so this is not in ``make test``.
The tests go on from one another, in order.
"""

import json
import re
import shutil

import pytest
from booted_root import BootedRoot
from waiting import wait_until

import deb
import suite

APT = "apt-get -qq -y --no-install-recommends"
DEFINITIONS = {
    "vhosts": [{"name": "test"}],
    "permissions": [
        {"user": "guest", "vhost": "test", "configure": ".*", "write": ".*", "read": ".*"}
    ],
    "exchanges": [
        {
            "name": "test", "vhost": "test", "type": "topic", "durable": True,
            "auto_delete": False, "internal": False, "arguments": {},
        }
    ],
    "queues": [
        {"name": "test", "vhost": "test", "durable": True, "auto_delete": False, "arguments": {}}
    ],
    "bindings": [
        {
            "source": "test", "vhost": "test", "destination": "test",
            "destination_type": "queue", "routing_key": "#", "arguments": {},
        }
    ],
}  # fmt: skip
CURL = (
    "curl", "-i", "-sS", "-d", "body=hi", "-d", "content-type=text/plain",
    "http://guest:guest@localhost:8000/test/test/foo",
)  # fmt: skip
LIST = ("rabbitmqctl", "-q", "list_queues", "-p", "test", "name", "messages")
# Publishes one message after the other until /tmp/stop exists, and writes each answer.
TRAFFIC = """
rm -f /tmp/stop /tmp/answers
while ! test -e /tmp/stop; do
    curl -sS -o /dev/null -w '%{http_code}\\n' -d body=hi \
        http://guest:guest@localhost:8000/test/test/foo >> /tmp/answers 2>&1
done
touch /tmp/stopped
"""
# What other packages and the machine itself write.
ELSEWHERE = "/proc|/sys|/dev|/run|/tmp|/root|/var/lib/dpkg|/var/log|/var/cache|/var/lib/apt"
# RabbitMQ's, and what every change of an account leaves.
KEPT = re.compile(rf"({ELSEWHERE}|/var/lib/rabbitmq|/etc/(passwd|group|shadow|gshadow)-)(/|$)")


@pytest.fixture(scope="module")
def machine():
    package = max(deb.DIST.glob("statelessd_*.deb"), key=lambda each: each.stat().st_mtime)
    with deb.fresh_root("trixie") as root:
        suite.run_in(root, "apt-get -qq update")
        suite.run_in(root, f"{APT} install systemd systemd-sysv rabbitmq-server curl")
        shutil.copy(package, root / "root" / "statelessd.deb")
        suite.run_in(root, f"{APT} install --download-only /root/statelessd.deb")
        (root / "opt" / "definitions.json").write_text(json.dumps(DEFINITIONS))
        (root / "usr/sbin/policy-rc.d").unlink()
        with BootedRoot(root) as booted:
            wait_until(
                lambda: booted.run("rabbitmqctl", "await_startup").returncode == 0,
                300,
                what="RabbitMQ",
            )
            booted.do("rabbitmqctl", "import_definitions", "/opt/definitions.json")
            wait_until(lambda: "test" in booted.do(*LIST), what="the queue")
            booted.before = files(booted)
            yield booted


def files(machine):
    """Return the files of the machine that the package may have made."""
    found = machine.do("find", "/", "-xdev", "-print").splitlines()
    return {each for each in found if not KEPT.match(each)}


def install(machine, package):
    return machine.do(
        *("apt-get", "-y", "-q", "--no-install-recommends"),
        *("--allow-downgrades", "install", package),
    )


def messages(machine):
    """Return how many messages the queue has."""
    return int(machine.do(*LIST).split()[-1])


def journal(machine):
    return machine.do("journalctl", "--unit=statelessd", "--no-pager", "--output=cat")


def main_process(machine):
    return machine.do("systemctl", "show", "--property=MainPID", "--value", "statelessd").strip()


def newer(machine):
    """Make a package of a higher version of it, and return its path."""
    machine.do("dpkg-deb", "--raw-extract", "/root/statelessd.deb", "/tmp/newer")
    machine.do("sed", "-i", r"s/^Version: .*/Version: 99.0-1/", "/tmp/newer/DEBIAN/control")
    place = "/tmp/newer/opt/statelessd/lib/*/site-packages/statelessd/version.py"
    [file] = machine.do("sh", "-c", f"ls {place}").split()
    machine.do("sed", "-i", 's/__version__ = .*/__version__ = "99.0"/', file)
    compiler = ["python3.13", "-m", "compileall", "-qf", "--invalidation-mode", "unchecked-hash"]
    machine.do(*compiler, "-s", "/tmp/newer", file)
    machine.do("dpkg-deb", "-Znone", "--build", "/tmp/newer", "/root/newer.deb")
    return "/root/newer.deb"


def under_traffic(machine, change):
    """Do this while messages are published, and return their answers."""
    machine.do("systemd-run", "--quiet", "--unit=traffic", "sh", "-c", TRAFFIC)

    def answered():
        return len(machine.run("cat", "/tmp/answers").stdout.split())

    wait_until(lambda: answered() > 3, what="traffic")
    change()
    before = answered()
    wait_until(lambda: answered() > before + 3, what="more traffic")
    machine.do("touch", "/tmp/stop")
    wait_until(lambda: machine.run("rm", "/tmp/stopped").returncode == 0, what="its end")
    return machine.do("cat", "/tmp/answers").split()


def test_it_is_installed_and_serves(machine):
    install(machine, "/root/statelessd.deb")
    assert machine.do("systemctl", "is-active", "statelessd").strip() == "active"
    assert machine.do("systemctl", "is-enabled", "statelessd").strip() == "enabled"
    documents = machine.do("systemctl", "show", "--property=Documentation", "statelessd")
    assert "man:statelessd(1)" in documents
    had = messages(machine)
    assert "HTTP/1.1 204 No Content" in machine.do(*CURL)
    assert messages(machine) == had + 1
    listening = machine.do("cat", "/proc/net/tcp", "/proc/net/tcp6")
    assert "0100007F:1F40" in listening  # 127.0.0.1:8000
    assert "00000000:1F40" not in listening
    assert "without TLS" not in journal(machine)


def test_what_it_installs(machine):
    pid = main_process(machine)
    assert machine.do("ps", "-o", "user=", "-p", pid).strip() == "statelessd"
    shown = machine.do("stat", "--format=%U:%G %a", "/etc/statelessd.yml")
    assert shown.strip() == "root:statelessd 640"
    assert machine.do("statelessd", "--check-config", "-c", "/etc/statelessd.yml").endswith(
        "The configuration is valid.\n"
    )
    # All is compiled: nothing was written, and nothing is left to write.
    assert machine.do("dpkg", "--verify", "statelessd") == ""
    owned = set(machine.do("dpkg", "-L", "statelessd").splitlines())
    assert set(machine.do("find", "/opt/statelessd").splitlines()) <= owned
    documents = [each for each in owned if each.startswith("/usr/share/doc/")]
    assert [each for each in documents if each.endswith((".py", ".txt"))] == []
    sources = {each for each in owned if each.startswith("/opt/") and each.endswith(".py")}
    assert all(
        re.sub(r"/([^/]+)\.py$", r"/__pycache__/\1.cpython-313.pyc", each) in owned
        for each in sources
    )


def test_a_reload_applies_a_changed_file(machine):
    pid = main_process(machine)
    machine.do("sed", "-i", "s/#access_log: 0/access_log: 1/", "/etc/statelessd.yml")
    answers = under_traffic(machine, lambda: machine.do("systemctl", "reload", "statelessd"))
    assert set(answers) == {"204"}
    assert main_process(machine) == pid
    assert "statelessd.access" in journal(machine)


def test_an_upgrade_and_a_downgrade_lose_no_request(machine):
    pid = main_process(machine)
    package = newer(machine)
    answers = under_traffic(machine, lambda: install(machine, package))
    assert set(answers) == {"204"}
    assert "statelessd 99.0 on 127.0.0.1, port 8000" in journal(machine)
    # The changed configuration is kept.
    machine.do("grep", "-q", "access_log: 1", "/etc/statelessd.yml")
    starts = journal(machine).count("publishing to")
    answers = under_traffic(machine, lambda: install(machine, "/root/statelessd.deb"))
    assert set(answers) == {"204"}
    assert journal(machine).count("publishing to") == starts + 1
    assert "99.0" not in machine.do("statelessd", "--version")
    assert main_process(machine) == pid


def test_an_upgrade_with_a_configuration_that_it_refuses_goes_on_with_the_former(machine):
    machine.do("sed", "-i", "s/^Application:/Applicatoin:/", "/etc/statelessd.yml")
    said = machine.do("sh", "-c", "dpkg --install /root/newer.deb 2>&1")
    assert "Applicatoin: unknown section" in said
    assert "systemctl reload statelessd" in said
    assert "HTTP/1.1 204" in machine.do(*CURL)
    machine.do("sed", "-i", "s/^Applicatoin:/Application:/", "/etc/statelessd.yml")
    machine.do("systemctl", "reload", "statelessd")
    assert "HTTP/1.1 204" in machine.do(*CURL)


def test_a_service_that_was_stopped_stays_so_after_an_upgrade(machine):
    machine.do("systemctl", "stop", "statelessd")
    install(machine, "/root/statelessd.deb")
    assert machine.run("systemctl", "is-active", "statelessd").stdout.strip() == "inactive"
    machine.do("systemctl", "start", "statelessd")


def test_a_removal_keeps_the_configuration_and_a_purge_keeps_nothing(machine):
    machine.do("apt-get", "-y", "-q", "remove", "statelessd")
    assert machine.run("systemctl", "is-active", "statelessd").stdout.strip() == "inactive"
    assert machine.run("test", "-e", "/opt/statelessd").returncode != 0
    machine.do("grep", "-q", "access_log: 1", "/etc/statelessd.yml")
    machine.do("apt-get", "-y", "-q", "purge", "statelessd")
    machine.do("apt-get", "-y", "-q", "autoremove", "--purge")
    assert sorted(files(machine) - machine.before) == []
    for table in ("passwd", "group"):
        assert machine.run("getent", table, "statelessd").returncode != 0
    assert "statelessd" not in machine.do("systemctl", "list-unit-files")
