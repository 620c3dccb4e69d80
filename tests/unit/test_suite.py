"""Root file systems of other Debian releases: made once, by one process, or not at all.

What unshare would run is scripted here; make test-brokers does it for real.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
ENSURE = "import os, suite; os.getuid = lambda: {user}; suite.Suite('somewhen').ensure()"
MAKES_A_ROOT = """#!/bin/sh
case "$*" in *debootstrap*) ;; *) exit ;; esac
echo made >> "$ROOTS_LOG"
sleep 0.5
mkdir -p "$6/etc/apt/apt.conf.d" "$6/usr/sbin" "$6/usr/lib/rabbitmq/bin"
touch "$6/usr/lib/rabbitmq/bin/rabbitmq-server"
"""
BREAKS_OFF = """#!/bin/sh
mkdir -p "$6/usr/lib/rabbitmq/bin"
touch "$6/usr/lib/rabbitmq/bin/rabbitmq-server"
echo the mirror is away >&2
exit 1
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that wants the root, as that user and with that as its unshare."""
    (tmp_path / "bin").mkdir()

    def run(unshare, user=0):
        program = tmp_path / "bin" / "unshare"
        program.write_text(unshare)
        program.chmod(0o755)
        environment = os.environ | {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(SCRIPTS),
            "ROOTS_LOG": str(tmp_path / "log"),
            "STATELESSD_ROOTS": str(tmp_path / "roots"),
        }
        return subprocess.Popen(
            [sys.executable, "-c", ENSURE.format(user=user)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def outcome(process):
    """Its exit status, and what it said."""
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def test_two_processes_make_one_root(start, tmp_path):
    both = [start(MAKES_A_ROOT) for _ in range(2)]
    assert [outcome(process) for process in both] == [(0, ""), (0, "")]
    assert (tmp_path / "log").read_text() == "made\n"
    root = tmp_path / "roots" / "somewhen"
    assert (root / "usr/sbin/policy-rc.d").stat().st_mode & 0o111  # no package starts a service
    assert (root / "etc/hosts").read_text().split() == ["127.0.0.1", "localhost"]


def test_half_a_root_is_not_used(start, tmp_path):
    status, said = outcome(start(BREAKS_OFF))
    assert status
    assert "the mirror is away" in said
    assert [each.name for each in (tmp_path / "roots").iterdir()] == [".somewhen.lock"]
    assert outcome(start(MAKES_A_ROOT)) == (0, "")


def test_others_than_root_are_told(start, tmp_path):
    """Before anything is made."""
    status, said = outcome(start(MAKES_A_ROOT, user=1000))
    assert status
    assert "not root" in said
    assert not (tmp_path / "roots").exists()
