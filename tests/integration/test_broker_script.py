"""The development broker: private, repeatable, and gone when it is stopped."""

import json
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

import broker as broker_script

SCRIPTS = Path(__file__).parents[2] / "scripts"


def processes_of(run_dir):
    """Command lines that mention the run directory or the node's name: nothing may be left."""
    name = broker_script.Broker(run_dir).name
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environment = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if name in command or f"RABBITMQ_NODENAME={name}" in environment:
                found.append(command)
    return found


@pytest.fixture
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("ordinary")


@pytest.fixture
def command(directory):
    """Runs the script as an ordinary user; root is who runs the other tests."""
    scripts = directory / "scripts"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    who: dict[str, Any] = {}
    if os.getuid() == 0:
        user = pwd.getpwnam("nobody")
        for parent in [directory, *directory.parents][:4]:  # one more where tests run in parallel
            parent.chmod(0o755)
        shutil.chown(directory, user.pw_uid, user.pw_gid)
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def run(*arguments):
        return subprocess.run(
            ["/usr/bin/python3", "-B", scripts / "broker.py", *arguments],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            **who,
        )

    yield run
    assert run("stop").returncode == 0
    assert processes_of(directory / ".run" / "broker") == []
    assert run("status").returncode == 1


def test_start_use_and_kill(command, directory, broker):
    run_dir = directory / ".run" / "broker"
    with socket.create_server(("127.0.0.1", 0)):  # it chooses ports that are free
        started = command("start")
    assert started.returncode == 0, started.stderr
    assert "runs already" in command("start").stdout
    assert command("status").returncode == 0
    own = broker_script.Broker(run_dir)
    assert broker_script.takes_logins(own.host, own.amqp_port)
    assert not broker_script.takes_logins(own.host, own.amqp_port, password="wrong")
    for vhost in ("/", "test"):
        columns = "source_name", "destination_name"
        assert "test\ttest" in command("ctl", "list_bindings", "-p", vhost, *columns).stdout
    listening = command("ctl", "status", "--formatter", "json").stdout
    assert all("0.0.0.0" not in str(x) for x in json.loads(listening)["listeners"])

    first = own.pid
    own.node.kill()
    # Erlang's helper for child processes notices the death a moment later, and ends.
    wait_until(lambda: processes_of(run_dir) == [], what="all processes' end")
    assert not broker_script.takes_logins(own.host, own.amqp_port)
    assert command("start").returncode == 0
    assert own.pid != first
    assert "test" in command("ctl", "list_queues", "-p", "test", "name").stdout
    # The other one, that of these tests, is as it was.
    assert broker_script.takes_logins(broker.host, broker.amqp_port)


def test_a_process_id_that_was_used_again_is_not_touched(tmp_path):
    own = broker_script.Broker(tmp_path)
    own.node.directory.mkdir(parents=True)
    other = subprocess.Popen(["sleep", "60"])
    try:
        recorded = {"pid": other.pid, "started": "12345"}
        (own.node.directory / "process.json").write_text(json.dumps(recorded))
        assert not own.running
        own.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_node_that_cannot_start_says_why(tmp_path):
    own = broker_script.Broker(tmp_path, extra_conf="no.such.setting = 1")
    with pytest.raises(broker_script.BrokerError, match=r"no\.such\.setting"):
        own.start()
    assert processes_of(tmp_path) == []  # neither the node nor epmd
