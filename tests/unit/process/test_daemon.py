import contextlib
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from statelessd.process.daemon import DaemonError, PidFile, check_user


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


def test_a_second_one_is_refused_while_the_first_lives(path):
    first = PidFile(path)
    first.acquire()
    with first:
        with pytest.raises(DaemonError, match=f"runs already, as process {os.getpid()}"):
            PidFile(path).acquire()
        assert path.read_text() == f"{os.getpid()}\n"
    PidFile(path).acquire()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DaemonError):
        PidFile(tmp_path / "file" / "s.pid").acquire()


def test_users():
    check_user(None)
    check_user(pwd.getpwuid(os.getuid()).pw_name)
    with pytest.raises(DaemonError, match="no user 'no-such-user'"):
        check_user("no-such-user")


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
