"""The Python environment that make makes: renewed when it has to be, whole after a Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

SCRIPTS = Path(__file__).parents[2] / "scripts"
# pip is what each environment has from the start: nothing has to be downloaded.
PROJECT = """\
[project]
dependencies = ["{}"]
optional-dependencies = {{compression = []}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with the scripts, whose gateway needs pip alone, in a path with a space."""
    root = tmp_path_factory.mktemp("our first projéct")
    shutil.copytree(SCRIPTS, root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "constraints.txt").touch()
    (root / "requirements-dev.txt").touch()
    (root / "pyproject.toml").write_text(PROJECT.format("pip"))
    return root


def command(project):
    return [sys.executable, project / "scripts" / "environment.py", "runtime"]


def environment():
    """Return variables with which pip asks an index where nobody listens, once."""
    pip = {
        "PIP_INDEX_URL": "http://127.0.0.1:1",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    return {k: v for k, v in os.environ.items() if not k.startswith("PIP_")} | pip


def made(project):
    return subprocess.run(
        command(project), env=environment(), capture_output=True, text=True, check=False
    )


def test_an_interruption_leaves_nothing_and_the_next_run_begins_anew(project):
    process = subprocess.Popen(command(project), env=environment(), stderr=subprocess.PIPE)
    venv = project / ".venv"
    wait_until((venv / "bin" / "python").exists, what="half an environment")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert b"Interrupted" in said
    assert b"Traceback" not in said
    assert not any(Path("/proc", each).exists() for each in children)
    done = made(project)
    assert done.returncode == 0, done.stderr
    assert "Making a Python environment" in done.stdout


def test_it_installs_again_only_when_the_packages_change(project):
    made(project)
    os.utime(project / "pyproject.toml")  # newer, and the same
    assert made(project).stdout == ""
    (project / "pyproject.toml").write_text(PROJECT.format("pip >=1"))
    changed = made(project)
    assert "pip downloads and installs them" in changed.stdout
    assert "Making" not in changed.stdout


def test_without_a_network_it_says_what_to_do(project):
    (project / "pyproject.toml").write_text(PROJECT.format("uvloop"))
    done = made(project)
    assert done.returncode == 1
    assert "PyPI is not reached. Check the network" in done.stderr
    assert "HTTPS_PROXY" in done.stderr
    (project / "pyproject.toml").write_text(PROJECT.format("pip"))
    done = made(project)  # what was there is still good
    assert (done.returncode, "Making" in done.stdout) == (0, False)
