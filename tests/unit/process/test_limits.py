"""The limit of open files, raised to what the configured connections need."""

import resource

import pytest

from statelessd.config.settings import Application, Config, HTTPServer, RabbitMQ
from statelessd.process.limits import make_room, room

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("before", "is_root", "after", "told"),
    [
        ((1024, 1_048_576), False, (11_640, 1_048_576), ""),  # a shell's
        ((1024, INFINITE), False, (11_640, INFINITE), ""),
        ((INFINITE, INFINITE), False, (INFINITE, INFINITE), ""),
        ((65_536, 65_536), False, (65_536, 65_536), ""),
        ((1024, 4096), True, (11_640, 11_640), ""),
        ((1024, 4096), False, (4096, 4096), "the limit of open files is 4096, and the configured "
                                            "connections need 11640"),
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


@pytest.mark.parametrize("files", [INFINITE, 1_048_576, 11_640])
def test_with_enough_files_the_settings_count(files):
    assert room(Config(), files)[:2] == (10_000, 1000)


@pytest.mark.parametrize("files", [64, 100, 256, 400, 1024, 4096, 11_639])
@pytest.mark.parametrize(("clients", "to_broker"), [(10_000, 1000), (50, 1000), (10_000, 3)])
def test_with_fewer_there_is_room_for_both_kinds_and_a_reserve(files, clients, to_broker):
    config = Config(
        http_server=HTTPServer(max_connections=clients),
        application=Application(rabbitmq=RabbitMQ(max_connections=to_broker)),
    )
    made = room(config, files)
    assert 0 < made.clients <= clients
    assert 0 < made.to_broker <= to_broker
    assert made.spare > 0
    reserve = files - made.clients - made.to_broker - made.spare - 5 * made.logins
    assert reserve >= min(100, files // 4)
