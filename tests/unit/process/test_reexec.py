"""What a program before a reload has left in the environment, also one of another version."""

import json
import os
import socket

import pytest

from statelessd.process.reexec import Former
from statelessd.process.sockets import close

SERVED = [
    {"listener": 8000, "descriptors": [], "pid": 7, "ours": False},
    {"listener": "unix:/run/x", "descriptors": [], "pid": 0, "ours": True},
]


@pytest.fixture
def leave(monkeypatch):
    def leave(name, **members):
        monkeypatch.setenv(name, json.dumps(members))

    return leave


def test_without_a_former_program():
    assert Former.received() is None


def test_a_former_program_is_told_once(leave):
    leave("_STATELESSD_HANDOVER", served=SERVED, board=5, pidfile=6, unknown="of a later version")
    former = Former.received()
    assert (former.scoreboard, former.pidfile) == (5, 6)
    assert former.backends() == {8000: 7}
    assert Former.received() is None


def test_the_check_of_an_earlier_version(leave):
    leave(
        "_STATELESSD_RUNNING",
        address="",
        listeners=[8000, 9000, "unix:/run/x"],
        pidfile="/run/x.pid",
        addresses={"9000": "127.0.0.1"},
    )
    former = Former.received()
    assert former.pidfile_path == "/run/x.pid"
    addresses = {each.listener: each.address for each in former.served}
    assert (addresses[8000], addresses[9000]) == ("", "127.0.0.1")


@pytest.mark.parametrize("ours", [True, False])
def test_a_unix_socket_goes_on_and_its_file_is_ours_or_a_managers(leave, tmp_path, ours):
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(path))
        listening.listen()
        descriptor = os.dup(listening.fileno())
        served = [{"listener": f"unix:{path}", "descriptors": [descriptor], "ours": ours, "pid": 1}]
        leave("_STATELESSD_HANDOVER", served=served, board=5, pidfile=-1)
        sockets = Former.received().sockets()
        [[adopted]] = sockets.values()
        assert not os.get_inheritable(descriptor)
        client.connect(str(path))
        adopted.accept()[0].close()
        close(sockets)
    assert path.exists() is not ours
