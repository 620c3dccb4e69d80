import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from statelessd.process.daemon import DaemonError, PidFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made" / "s.pid"


# In a container that was started again, it may be of this process or of another.
@pytest.mark.parametrize("before", ["", "what?", "999999999", "{own}", "{parent}"])
def test_a_pidfile_holds_the_process_id_and_goes_at_the_end(path, before, caplog):
    path.parent.mkdir()
    before = before.format(own=os.getpid(), parent=os.getppid())
    path.write_text(f"{before}\n")
    pidfile = PidFile(path)
    pidfile.acquire()
    with pidfile:
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()
    assert ("is stale" in caplog.text) is before.isdigit()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DaemonError):
        PidFile(tmp_path / "file" / "s.pid").acquire()


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        (["statelessd", "-c", "input()"], True),
        (["/usr/bin/python3", "./statelessd", "-c", "x"], True),
        (["python3.11", "-m", "statelessd"], True),
        (["vi", "statelessd.yml"], False),
        (["python3", "-c", "input()", "statelessd"], False),
        (["grep", "statelessd"], False),
    ],
)
def test_what_runs_this_program(path, tmp_path, command, runs):
    for name in ("statelessd", "statelessd.py", "statelessd.yml"):
        (tmp_path / name).write_text("input()")
    path.parent.mkdir()
    with subprocess.Popen(
        command, executable=sys.executable, stdin=subprocess.PIPE, cwd=tmp_path
    ) as process:
        path.write_text(f"{process.pid}\n")
        wait_until(Path(f"/proc/{process.pid}/cmdline").read_bytes)
        owner = None
        with contextlib.suppress(DaemonError):
            owner = PidFile(path).owner()
        process.communicate(b"\n")
    assert owner == (process.pid if runs else None)
