"""The limit of open files, raised to what the configured connections need."""

import resource

import pytest

from statelessd.config.settings import Config
from statelessd.process.limits import make_room

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("before", "is_root", "after", "told"),
    [
        ((1024, 1_048_576), False, (11_140, 1_048_576), ""),  # a shell's
        ((1024, INFINITE), False, (11_140, INFINITE), ""),
        ((INFINITE, INFINITE), False, (INFINITE, INFINITE), ""),
        ((65_536, 65_536), False, (65_536, 65_536), ""),
        ((1024, 4096), True, (11_140, 11_140), ""),
        ((1024, 4096), False, (4096, 4096), "only 4096 files may be open, and the configured "
                                            "connections need 11140"),
    ],
)  # fmt: skip
def test_what_the_connections_need(monkeypatch, caplog, before, is_root, after, told):
    limits = before

    def setrlimit(_, wanted):
        nonlocal limits
        beyond = before[1] != INFINITE and (wanted[1] == INFINITE or wanted[1] > before[1])
        if wanted[0] > wanted[1] != INFINITE or (beyond and not is_root):
            raise ValueError("not allowed to raise maximum limit")
        limits = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    make_room(Config())
    assert limits == after
    assert told in caplog.text
    assert bool(caplog.records) is bool(told)
