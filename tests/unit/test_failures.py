"""What fails again and again goes on, and is logged without a flood."""

import errno
import logging

import pytest

from statelessd.failures import QUIET, Failures


@pytest.fixture
def clock():
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def failures(clock):
    return Failures(logging.getLogger("statelessd.test"), clock)


def fails(error):
    def work():
        raise error

    return work


def test_each_kind_is_logged_once_a_minute_with_the_number_of_the_others(failures, clock, caplog):
    for _ in range(5):
        assert not failures.guard("sweeping", fails(KeyError("x")))
    assert failures.guard("sweeping", lambda: None)
    failures.guard("sweeping", lambda: 1 / 0)
    failures.guard("reporting", fails(KeyError("x")))
    said = [record.getMessage() for record in caplog.records]
    assert said == ["sweeping failed", "sweeping failed", "reporting failed"]
    assert caplog.records[0].exc_info[0] is KeyError
    caplog.clear()
    clock.now += QUIET
    failures.guard("sweeping", fails(KeyError("x")))
    assert caplog.messages == ["sweeping failed (4 more like it since the last entry)"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_of_the_system_is_a_warning_without_a_traceback(failures, caplog, number):
    failures.guard("reporting", fails(OSError(number, "is used up")))
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert caplog.messages == ["reporting failed: is used up"]


def test_endless_kinds_do_not_fill_the_memory(failures, caplog):
    for number in range(300):
        failures.guard(f"work {number}", fails(KeyError("x")))
    assert len(caplog.records) == 300
