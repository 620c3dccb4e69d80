import os
import pwd

import pytest

from statelessd.process import daemon
from statelessd.process.daemon import DaemonError, PidFile, check_user


def test_a_pidfile_holds_the_process_id_and_goes_at_the_end(tmp_path):
    path = tmp_path / "made" / "s.pid"
    pidfile = PidFile(path)
    pidfile.acquire()
    with pidfile:
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_second_one_is_refused_while_the_first_lives(tmp_path):
    path = tmp_path / "s.pid"
    first = PidFile(path)
    first.acquire()
    with first:
        with pytest.raises(DaemonError, match=f"runs already, as process {os.getpid()}"):
            PidFile(path).acquire()
        assert path.read_text() == f"{os.getpid()}\n"
    PidFile(path).acquire()


def test_a_stale_one_is_noticed_and_replaced(tmp_path, caplog):
    path = tmp_path / "s.pid"
    path.write_text("999999999\n")
    pidfile = PidFile(path)
    pidfile.acquire()
    with pidfile:
        assert path.read_text() == f"{os.getpid()}\n"
    assert "is stale" in caplog.text


def test_garbage_in_it_is_no_process(tmp_path):
    path = tmp_path / "s.pid"
    path.write_text("what?")
    pidfile = PidFile(path)
    pidfile.acquire()
    with pidfile:
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DaemonError):
        PidFile(tmp_path / "file" / "s.pid").acquire()


def test_users():
    check_user(None)
    check_user(pwd.getpwuid(os.getuid()).pw_name)
    with pytest.raises(DaemonError, match="no user 'no-such-user'"):
        check_user("no-such-user")


def test_our_own_process_id_and_that_of_others_are_stale(tmp_path):
    path = tmp_path / "s.pid"
    for pid in (os.getpid(), os.getppid()):  # as in a container that was started again
        path.write_text(f"{pid}\n")
        pidfile = PidFile(path)
        pidfile.acquire()
        os.close(pidfile.descriptor)


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        (["statelessd", "-d"], True),
        (["/usr/bin/python3", "/usr/bin/statelessd", "-c", "x"], True),
        (["python3.11", "-m", "statelessd"], True),
        (["vi", "statelessd.yml"], False),
        (["python3", "-c", "time.sleep(8)", "statelessd"], False),
        (["grep", "statelessd"], False),
    ],
)
def test_what_runs_this_program(command, runs, monkeypatch):
    data = b"\0".join(part.encode() for part in command) + b"\0"
    monkeypatch.setattr(daemon.Path, "read_bytes", lambda _: data)
    assert daemon._is_statelessd(1) is runs
