"""docs/how-to/deployment.md and tls.md: their commands as they stand, with a real systemd."""

import os
import re
import shlex
import subprocess

import control
import pytest
from gateway import free_ports
from proxies import DEPLOY
from service_manager import LOG, ServiceManager
from waiting import wait_until

ROOT = DEPLOY.parent
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)

# What step 1 installs: here it is this working tree, with its interpreter.
PROGRAM = """#!/bin/sh
export PYTHONHOME=/opt/python PYTHONPATH=/opt/source:/opt/packages
export LD_LIBRARY_PATH=/opt/python/lib PYTHONDONTWRITEBYTECODE=1
exec /opt/python/bin/python3 -m statelessd "$@"
"""
# Nothing of a whole boot may run, and there is no journal.
AROUND = f"""
[Unit]
DefaultDependencies=no

[Service]
StandardOutput=append:{LOG}
StandardError=append:{LOG}
"""
# The company's broker, which is there before.
DEFINITIONS = {
    "vhosts": [{"name": "shop"}],
    "permissions": [
        {"user": "guest", "vhost": "shop", "configure": ".*", "write": ".*", "read": ".*"}
    ],
    "exchanges": [
        {
            "vhost": "shop",
            "name": "orders",
            "type": "topic",
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": {},
        }
    ],
    "queues": [
        {
            "vhost": "shop",
            "name": "orders",
            "durable": True,
            "auto_delete": False,
            "arguments": {},
        }
    ],
    "bindings": [
        {
            "vhost": "shop",
            "source": "orders",
            "destination": "orders",
            "destination_type": "queue",
            "routing_key": "#",
            "arguments": {},
        }
    ],
}


def blocks(heading, name="deployment.md"):
    """Return the shell's blocks of the section whose heading begins so."""
    page = (ROOT / "docs/how-to" / name).read_text()
    found = re.search(
        rf"^#+ {re.escape(heading)}.*?(?=^#+ [A-Z0-9]|\Z)", page, re.MULTILINE | re.DOTALL
    )
    assert found, f"the page has no section {heading}"
    return [text for language, text in BLOCK.findall(found[0]) if language == "sh"]


def test_the_prometheus_of_the_page_takes_its_configuration_and_the_rules(tmp_path):
    [first, _] = blocks("6. Monitor it")
    [configuration] = re.findall(r"<< 'EOF'\n(.*?)^EOF$", first, re.DOTALL | re.MULTILINE)
    (tmp_path / "prometheus.yml").write_text(configuration)
    rules = DEPLOY / "prometheus/statelessd.rules.yml"
    (tmp_path / rules.name).write_text(rules.read_text())
    command = ["promtool", "check", "config", "prometheus.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "1 rule files found" in done.stdout) == (0, True), done.stdout


def test_haproxy_takes_the_configuration_after_debians():
    files = ["-f", "/etc/haproxy/haproxy.cfg", "-f", str(DEPLOY / "haproxy.cfg")]
    command = ["/usr/sbin/haproxy", "-c", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Operator:
    """Runs the page's blocks, with ports of its own because the network is shared."""

    def __init__(self, manager, broker):
        self._manager = manager
        self._first, self._second = free_ports(2)
        self._broker = broker

    def shell(self, text):
        """Run the text as root in the checkout, and return what it prints."""
        text = text.replace("8000", str(self._first)).replace("8001", str(self._second))
        there = f"{self._broker.host}\n    port: {self._broker.amqp_port}"
        text = text.replace("host: localhost", f"host: {there}").replace("PASSWORD", "secret")
        done = self._manager.run("sh", "-euc", f"cd {ROOT}\n{text}")
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}{self._manager.log}"
        return done.stdout

    def logs(self, text, times=1):
        wait_until(lambda: self._manager.log.count(text) >= times, what=f"{text!r} in the log")


@pytest.fixture(scope="module")
def operator(tmp_path_factory, broker):
    """Somebody on a host where the program is installed, at the end of step 1."""
    control.import_definitions(broker, DEFINITIONS)
    with ServiceManager(tmp_path_factory.mktemp(f"systemd-{os.getpid()}")) as manager:
        assert manager.run("userdel", "statelessd").returncode == 0
        manager.write("/opt/statelessd/bin/statelessd", PROGRAM, mode="0755")
        manager.write("/etc/systemd/system/statelessd.service.d/test.conf", AROUND)
        yield Operator(manager, broker)
        manager.run("systemctl", "stop", "statelessd")
    broker.ctl("delete_vhost", "shop")
    broker.ctl("delete_user", "web")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can boot a service manager")
def test_the_steps_lead_from_one_to_the_next(operator, broker):
    [create] = blocks("2. Create a RabbitMQ user")
    for line in create.replace("PASSWORD", "secret").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "rabbitmqctl"
        told = broker.ctl(*arguments)
    assert "shop\t\t^orders$\t" in told

    write, check = blocks("3. Configure")
    operator.shell(write)
    assert operator.shell(check) == "The configuration is valid.\n"

    start, publish, rate = blocks("4. Start the service")
    told = operator.shell(start)
    assert all(words in told for words in ("Active: active (running)", 'Status: "Serving"'))
    assert operator.shell(publish).startswith("HTTP/1.1 204 No Content")
    assert "statelessd.service: 1." in operator.shell(rate)

    socket, certificate, _ = blocks("5. Put nginx in front")
    assert re.search(r"srw-rw---- 1 statelessd www-data .*\.sock\n", operator.shell(socket))
    operator.shell(certificate)

    edit, _, wait = blocks("7. Change the configuration")
    operator.shell(edit)
    operator.logs("SIGHUP: reloading")
    operator.logs("stopped: all requests were answered", 4)  # two stopped in the restart of step 5
    for line in ("Type=notify-reload", "ExecReload="):
        assert f"\n{line}\n" in wait

    [tls] = blocks("TLS in the gateway", "tls.md")
    assert operator.shell(tls).startswith("HTTP/1.1 204 No Content")
