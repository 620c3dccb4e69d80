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


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"statelessd {__version__}\n"


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for option in ("--config", "--foreground", "--daemon", "--check-config", "--print-config"):
        assert option in text


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


def test_foreground_and_daemon_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["-f", "-d"])
    assert end.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_port_in_use_is_status_1(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("STATELESSD_HTTPSERVER_PORTS", str(port))
        assert cli.main(["-f"]) == 1
    assert f"cannot listen on port {port} of 127.0.0.1" in capsys.readouterr().err
