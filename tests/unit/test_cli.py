import os
import socket

import pytest

from statelessd import cli
from statelessd.version import __version__


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in os.environ:
        if name.startswith("STATELESSD_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(cli.logs, "configure", lambda *_, **__: None)
    monkeypatch.setattr(cli.logs, "check", lambda *_, **__: [])


@pytest.mark.parametrize(
    ("option", "status", "words"),
    [
        ("--version", 0, f"statelessd {__version__}"),
        ("--help", 0, "--config --foreground --daemon --reload --check-config --print-config"),
        ("-fd", 2, "not allowed with"),
    ],
)
def test_what_ends_at_the_arguments(capsys, option, status, words):
    with pytest.raises(SystemExit) as end:
        cli.main([option])
    assert end.value.code == status
    shown = "".join(capsys.readouterr())
    assert all(word in shown for word in words.split())


def test_a_valid_configuration(capsys, pytestconfig):
    path = str(pytestconfig.rootpath / "examples" / "original.yaml")
    assert cli.main(["-c", path, "--check-config"]) == 0
    assert capsys.readouterr().out == "The configuration is valid.\n"


def test_an_invalid_configuration_is_status_2_with_all_errors(capsys, tmp_path):
    path = tmp_path / "x.yml"
    path.write_text("a: 1\nb: 2\n")
    assert cli.main(["-c", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"statelessd: {path}: a: unknown section",
        f"statelessd: {path}: b: unknown section",
    ]


def test_print_config(capsys):
    assert cli.main(["--print-config"]) == 0
    assert "ports: [8000]  # default" in capsys.readouterr().out


def test_a_port_in_use_is_status_1(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("STATELESSD_HTTPSERVER_PORTS", str(port))
        assert cli.main(["-f"]) == 1
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use\n" in (
        capsys.readouterr().err
    )
