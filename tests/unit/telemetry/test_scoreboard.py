"""What backends leave for each other, and that it outlives them."""

import os
import signal
import subprocess
import sys

import msgspec

from statelessd.telemetry import scoreboard
from statelessd.telemetry.scoreboard import Scoreboard, Snapshot


def raw(value):
    return msgspec.Raw(msgspec.msgpack.encode(value))


def snapshot(pid, **counters):
    counted = {(name,): [value] for name, value in counters.items()}
    return Snapshot(pid, 1.0, counted, {("up", "x"): 0.5}, {"n": raw(1)})


def gone():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_each_listener_has_its_page():
    shared = Scoreboard.make()
    assert shared.pages() == []
    shared.write(8000, snapshot(os.getpid(), a=1))
    shared.write("unix:/x", snapshot(os.getpid(), a=2))
    shared.write(8000, snapshot(os.getpid(), a=3))
    first, second = Scoreboard(shared.descriptor).pages()
    assert (first.listener, first.living[0].counters, first.past) == (8000, {("a",): [3]}, {})
    assert (second.listener, bytes(second.living[0].documents["n"])) == ("unix:/x", b"\x01")


def test_those_who_are_gone_become_the_past_once():
    shared = Scoreboard.make()
    for counted in (5, 7):
        shared.write(8000, snapshot(gone(), a=counted, b=1))
    shared.write(8000, snapshot(os.getpid(), a=1))
    for _ in range(2):
        [page] = shared.pages()
        assert page.past == {("a",): [12], ("b",): [2]}
        assert [each.pid for each in page.living] == [os.getpid()]


def test_who_came_last_stays_the_last():
    """A backend that retires goes on telling, beside its successor."""
    shared, other = Scoreboard.make(), os.getppid()
    for counted, pid in enumerate([other, os.getpid(), other]):
        shared.write(8000, snapshot(pid, a=counted))
    [page] = shared.pages()
    found = [(each.pid, each.counters["a",]) for each in page.living]
    assert found == [(other, [2]), (os.getpid(), [1])]
    assert page.total() == {("a",): [3]}
    assert page.total(without=other) == {("a",): [1]}


def test_a_writer_that_is_killed_leaves_the_last_whole_page(monkeypatch):
    shared = Scoreboard.make()
    shared.write(8000, snapshot(os.getpid(), a=1))
    pid = os.fork()
    if not pid:  # it is killed with its page half written, and the lock in its hands
        monkeypatch.setattr(
            scoreboard.msgspec.msgpack, "encode", lambda page: os.kill(os.getpid(), 9)
        )
        shared.write(8000, snapshot(os.getpid(), a=9))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    [page] = shared.pages()
    assert page.living[0].counters == {("a",): [1]}


def test_what_is_too_large_leaves_the_last_one():
    shared = Scoreboard.make()
    assert shared.write(8000, snapshot(os.getpid(), a=1))
    assert not shared.write(
        8000, Snapshot(os.getpid(), 1.0, {}, {}, {"n": raw("x" * scoreboard.HALF)})
    )
    [page] = shared.pages()
    assert page.living[0].counters == {("a",): [1]}


def test_what_another_version_left_is_as_good_as_nothing():
    descriptor = os.memfd_create("another")
    os.ftruncate(descriptor, scoreboard.SIZE // 2)
    os.pwrite(descriptor, b"\x01" + bytes(7) + (4).to_bytes(4, "big") + b"\xc1\xff\xff\xff", 0)
    shared = Scoreboard(descriptor)
    assert shared.pages() == []
    shared.write(8000, snapshot(os.getpid(), a=1))
    [page] = shared.pages()
    assert page.living[0].counters == {("a",): [1]}
