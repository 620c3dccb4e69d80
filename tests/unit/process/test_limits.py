"""The limit of open files, raised to what the configured connections need."""

import logging
import resource

import msgspec
import pytest

from statelessd.config.settings import Config, HTTPServer
from statelessd.process import limits as descriptors

INFINITE = resource.RLIM_INFINITY


@pytest.fixture
def limit(monkeypatch):
    """The process's limit, which only root may raise beyond the second number."""

    def given(soft, hard, *, root=False):
        state = [soft, hard]

        def setrlimit(_, wanted):
            beyond = hard != INFINITE and (wanted[1] == INFINITE or wanted[1] > hard)
            if wanted[0] > wanted[1] != INFINITE or (beyond and not root):
                raise ValueError("not allowed to raise maximum limit")
            state[:] = wanted

        monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(state))
        monkeypatch.setattr(resource, "setrlimit", setrlimit)
        return state

    return given


def config(max_connections=10_000):
    http_server = msgspec.structs.replace(HTTPServer(), max_connections=max_connections)
    return msgspec.structs.replace(Config(), http_server=http_server)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 1_048_576), [11_100, 1_048_576]),  # a shell's
        ((1024, INFINITE), [11_100, INFINITE]),
        ((INFINITE, INFINITE), [INFINITE, INFINITE]),
        ((65_536, 65_536), [65_536, 65_536]),
    ],
)
def test_what_the_connections_need(limit, before, after, caplog):
    state = limit(*before)
    descriptors.make_room(config())
    assert state == after
    assert not caplog.records


def test_a_hard_limit_is_raised_by_root(limit, caplog):
    state = limit(1024, 4096, root=True)
    descriptors.make_room(config())
    assert state == [11_100, 11_100]
    assert not caplog.records


def test_a_hard_limit_that_stays_is_told(limit, caplog):
    state = limit(1024, 4096)
    with caplog.at_level(logging.WARNING):
        descriptors.make_room(config())
    assert state == [4096, 4096]
    assert "only 4096 files may be open, and the configured connections need 11100" in caplog.text
