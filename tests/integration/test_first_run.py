"""The first ten minutes: README's commands, in a copy of the checkout, as a user types them."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pika
import pytest
from gateway import free_port
from queues import channel_to
from waiting import wait_until

import broker as broker_script

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PRETENDED = "#!/bin/sh\nexit 0\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy whose environment is the tests' own: another file is about how it is made."""
    copy = tmp_path_factory.mktemp("first") / "statelessd"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("scripts", "src"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "requirements-dev.txt"):
        shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(Path(sys.prefix))
    return copy


@pytest.fixture(scope="module")
def make(checkout):
    """Runs make with these words."""

    def make(*words, **variables):
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            # Whatever the times of the files are: make must not renew the tests' environment.
            ["make", "--no-print-directory", "--old-file=.venv/.runtime", *words],
            cwd=checkout, env=keep | variables, capture_output=True, text=True, timeout=100,
            check=False,
        )  # fmt: skip

    return make


def commands_of_readme():
    """Return the commands of README's first example, in their order."""
    example = README.partition("```console\n")[2].partition("```")[0]
    return re.findall(r"^\$ (.*)$", example, re.MULTILINE)


@pytest.fixture(scope="module")
def running(checkout, tmp_path_factory):
    """``make run`` on a port of its own: the port, and the file with what it prints."""
    port = free_port()
    log = tmp_path_factory.mktemp("run") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "--old-file=.venv/.runtime", "run", f"PORT={port}"],
            cwd=checkout, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(
            lambda: "Ctrl-C ends" in log.read_text() or process.poll() is not None,
            what="make run's hint", seconds=150,
        )  # fmt: skip
        assert process.poll() is None, log.read_text()
        yield port, log
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
        process.wait(100)
    broker = broker_script.Broker(checkout / ".run" / "broker")
    assert not broker.running
    assert not broker.epmd_runs
