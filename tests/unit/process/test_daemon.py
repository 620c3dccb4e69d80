import contextlib
import fcntl
import os
import socket
import stat
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


def locked_by_somebody(path):
    """Lock the file as any of its readers can."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_a_symbolic_link_is_refused_and_its_target_stays(path, tmp_path):
    path.parent.mkdir()
    target = tmp_path / "precious"
    target.write_text("precious")
    for name in (target, tmp_path / "nowhere"):
        path.symlink_to(name)
        for what in (PidFile(path).acquire, PidFile(path).owner):
            with pytest.raises(DaemonError, match="is a symbolic link"):
                what()
        path.unlink()
    assert target.read_text() == "precious"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["made", "precious"]


def bind_at(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, bind_at])
def test_what_is_not_a_file_is_refused(path, make):
    path.parent.mkdir()
    make(path)
    for what in (PidFile(path).acquire, PidFile(path).owner):
        with pytest.raises(DaemonError):
            what()
    assert path.exists()


def test_a_hard_link_is_replaced_and_not_written(path, tmp_path):
    path.parent.mkdir()
    other = tmp_path / "precious"
    other.write_text("precious")
    path.hardlink_to(other)
    pidfile = PidFile(path)
    pidfile.acquire()
    with pidfile:
        assert path.read_text() == f"{os.getpid()}\n"
    assert other.read_text() == "precious"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(
    ("owner", "mode", "taken"),
    [(0, 0o1777, True), (1, 0o755, True), (1, 0o1777, False), (1, 0o777, False)],
)
def test_a_file_of_somebody_else_where_everybody_may_write(path, owner, mode, taken):
    path.parent.mkdir()
    path.parent.chmod(mode)
    path.write_text("999999999\n")
    os.chown(path, owner, owner)
    pidfile = PidFile(path)
    if taken:
        pidfile.acquire()
        pidfile.release()
        return
    with pytest.raises(DaemonError, match="belongs to another user"):
        pidfile.acquire()
    assert path.read_text() == "999999999\n"


@pytest.mark.parametrize("text", ["999999999\n", "", "what?", "-1"])
def test_somebodys_lock_on_a_stale_file_does_not_block(path, text):
    path.parent.mkdir()
    path.write_text(text)
    lock = locked_by_somebody(path)
    try:
        pidfile = PidFile(path)
        pidfile.acquire()
        with pidfile:
            assert path.read_text() == f"{os.getpid()}\n"
            with pytest.raises(BlockingIOError):
                fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)
    assert list(path.parent.iterdir()) == []


def test_one_that_lives_blocks_by_its_lock_whatever_it_is_called(path):
    path.parent.mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        path.write_text(f"{process.pid}\n")
        lock = locked_by_somebody(path)
        with pytest.raises(DaemonError, match=f"is already running as process {process.pid}"):
            PidFile(path).acquire()
        os.close(lock)
        PidFile(path).acquire()  # the process id belongs to something else by now
        process.kill()


# Takes the place when told to, says so, and keeps it until its input ends.
STARTER = """
import pathlib, sys
from statelessd.process.daemon import DaemonError, PidFile
pidfile = PidFile(pathlib.Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
try:
    pidfile.acquire()
    print("taken", flush=True)
except DaemonError as error:
    print(error, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("before", [None, "999999999\n"])
def test_of_starts_at_the_same_time_one_wins(path, tmp_path, before):
    path.parent.mkdir()
    if before:
        path.write_text(before)
    program = tmp_path / "statelessd"
    program.write_text(STARTER)
    command = [sys.executable, program, "-c", path]
    starters = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for each in starters:
        assert each.stdout.readline() == "ready\n"
    for each in starters:
        each.stdin.write("go\n")
        each.stdin.flush()
    told = [each.stdout.readline() for each in starters]
    recorded = int(path.read_text().split()[0])
    for each in starters:
        each.communicate("end\n")
    assert told.count("taken\n") == 1
    assert starters[told.index("taken\n")].pid == recorded
    assert sum(f"is already running as process {recorded}" in each for each in told) == 5
    assert list(path.parent.iterdir()) == [path]


def test_a_command_that_starts_a_daemon_is_not_the_daemon(path, tmp_path):
    program = tmp_path / "statelessd"
    program.write_text(STARTER)
    command = [sys.executable, program, "-c", path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as starter:
        starter.stdin.write("go\n")
        starter.stdin.flush()
        assert [starter.stdout.readline() for _ in range(2)] == ["ready\n", "taken\n"]
        # SIGHUP would end it.
        with pytest.raises(DaemonError, match="statelessd is still starting"):
            PidFile(path).owner()
        starter.communicate("end\n")
    with pytest.raises(DaemonError, match="statelessd is not running"):
        PidFile(path).owner()


def test_its_mode_whatever_the_umask(path):
    for umask in (0o077, 0):
        before = os.umask(umask)
        try:
            for stale in (False, True):
                pidfile = PidFile(path)
                pidfile.acquire()
                assert stat.S_IMODE(path.stat().st_mode) == 0o644
                os.close(pidfile.descriptor)
                path.write_text("999999999\n" if stale else "")
        finally:
            os.umask(before)
        path.unlink()


def test_only_our_own_file_is_removed(path):
    pidfile = PidFile(path)
    pidfile.acquire()
    with pidfile:
        path.unlink()
        path.write_text("1\n")
    assert path.read_text() == "1\n"
    for gone in (path, path.parent):
        path.unlink(missing_ok=True)
        pidfile = PidFile(path)
        pidfile.acquire()
        with pidfile:
            path.unlink()
            if gone == path.parent:
                path.parent.rmdir()


def test_it_goes_on_after_a_reload(path):
    pidfile = PidFile(path)
    pidfile.acquire()
    with PidFile(path, pidfile.descriptor):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


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
