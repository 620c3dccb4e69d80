import gc
import json
import os
import socket
from types import SimpleNamespace

import pytest
import yaml

from statelessd import cli
from statelessd.form import FORM
from statelessd.version import __version__


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in os.environ:
        if name.startswith("STATELESSD_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(cli.logs, "configure", lambda *_, **__: None)
    monkeypatch.setattr(cli.logs, "check", lambda *_, **__: [])
    yield
    gc.unfreeze()  # what a start froze is the tests' here


@pytest.mark.parametrize(
    ("option", "status", "words"),
    [
        ("--version", 0, f"statelessd {__version__} ({FORM})"),
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


@pytest.fixture
def run(capsys, tmp_path):
    """Run the command with a configuration, and return its status and what it says."""
    path = tmp_path / "statelessd.yml"

    def run(document, *arguments):
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        status = cli.main(["-c", str(path), *arguments])
        shown = capsys.readouterr()
        return status, shown.out + shown.err.replace(f"{path}: ", "")

    return run


@pytest.mark.parametrize("arguments", [["--check-config"], ["-f"], ["--print-config"]])
def test_an_empty_file_is_status_2(run, arguments):
    status, shown = run("# nothing\n", *arguments)
    assert status == 2
    assert "statelessd: the file is empty" in shown


def test_the_check_tells_all_that_is_wrong_with_the_machine_at_once(run):
    server = {"unix_group": "no-such-group", "ports": ["unix:/no/such/x.sock", "unix:/etc/passwd"]}
    daemon = {"user": "no-such-user", "pidfile": "/etc/passwd/x.pid"}
    status, shown = run({"HTTPServer": server, "Daemon": daemon}, "--check-config", "-d")
    assert (status, len(shown.splitlines())) == (2, 5)
    for words in (
        "HTTPServer.unix_group: there is no group 'no-such-group'",
        "HTTPServer.ports[0]: unix:/no/such/x.sock: the directory /no/such does not exist",
        "HTTPServer.ports[1]: unix:/etc/passwd: the file exists and is not a socket",
        "Daemon.user: there is no user 'no-such-user'",
        "Daemon.pidfile: /etc/passwd is not a directory",
    ):
        assert f"statelessd: {words}\n" in shown


def test_what_concerns_a_daemon_only_is_a_warning(run):
    status, shown = run({"Daemon": {"user": "no-such-user"}}, "--check-config")
    assert status == 0
    assert "warning: Daemon.user: there is no user 'no-such-user' (it applies to -" in shown
    assert "The configuration is valid." in shown


def test_a_logging_section_that_cannot_be_used_shows_no_password(capsys, monkeypatch, tmp_path):
    monkeypatch.undo()  # the real check of the section
    path = tmp_path / "statelessd.yml"
    handler = {"class": "logging.handlers.SysLogHandler", "address": "syslog://u:hush@loghost"}
    path.write_text(yaml.safe_dump({"Logging": {"version": 1, "handlers": {"x": handler}}}))
    assert cli.main(["-c", str(path), "--check-config"]) == 0
    shown = capsys.readouterr().err
    assert "the log handler 'x' is not used" in shown
    assert "hush" not in shown


def test_no_complaint_shows_a_password(run):
    for settings, status in (
        ({"Daemon": {"user": "u:hush@host"}}, 1),
        ({"HTTPServer": {"ports": ["unix:/tmp/x"], "unix_group": "u:hush@host"}}, 1),
        ({"Application": {"rabbitmq": {"host": "amqp://u:hush@host"}}}, 2),
    ):
        done, shown = run(settings, "-d")
        assert done == status
        assert shown
        assert "hush" not in shown


ALL = {
    "Daemon": {"pidfile": "/run/x.pid"},
    "Application": {"debug": False},
    "HTTPServer": {"address": "127.0.0.1"},
    "Routes": [["/stats", "statelessd.Stats"]],
    "Logging": {"version": 1},
}


class TestReload:
    """The running program gives its sections to the check of the new configuration."""

    @pytest.fixture
    def former(self, monkeypatch):
        def former(*sections, **members):
            document = {"served": [], "sections": sections, **members}
            monkeypatch.setenv("_STATELESSD_HANDOVER", json.dumps(document))

        return former

    @pytest.mark.parametrize("gone", ALL)
    @pytest.mark.parametrize("is_empty", [False, True])
    def test_a_section_that_is_gone_is_refused(self, run, former, gone, is_empty):
        former(*ALL)
        left = {name: section for name, section in ALL.items() if name != gone}
        if is_empty:
            left[gone] = None
        status, shown = run(left, "--check-config")
        assert (status, shown) == (
            2,
            f"statelessd: the section {gone} was removed or is empty. If that is intended, "
            "restart to apply it\n",
        )

    def test_a_file_that_is_cut_off(self, run, former):
        whole = yaml.safe_dump(ALL, sort_keys=False)
        for length in range(0, whole.index("Logging:"), 7):
            former(*ALL)
            assert run(whole[:length], "--check-config")[0] == 2

    def test_a_file_that_is_half_written_after_the_check_is_waited_for(
        self, former, monkeypatch, tmp_path
    ):
        """By then the program is a new one, and the former cannot come back."""
        started = []

        class Parent:
            def __init__(self, config, *_, **__):
                self.run = lambda: started.append(config) or 0

        former(*ALL)
        path = tmp_path / "statelessd.yml"
        path.write_text("")
        whole = yaml.safe_dump(ALL, sort_keys=False)
        parts = iter(["", "# soon", whole[:-20], whole])
        monkeypatch.setattr(cli.time, "sleep", lambda _: path.write_text(next(parts)))
        monkeypatch.setattr(cli, "Scoreboard", lambda _: SimpleNamespace(descriptor=-1))
        monkeypatch.setattr(cli, "Supervisor", Parent)
        monkeypatch.setattr(cli, "bind", lambda *_: {})
        assert cli.main(["-c", str(path)]) == 0
        assert [each.http_server.address for each in started] == ["127.0.0.1"]
        assert list(parts) == []

    def test_a_file_that_is_gone_is_refused(self, capsys, former, tmp_path):
        former(*ALL)
        assert cli.main(["-c", str(tmp_path / "gone.yml"), "--check-config"]) == 2
        assert "gone.yml: cannot be read: No such file or directory" in capsys.readouterr().err

    @pytest.mark.parametrize("sections", [(), ("Application",)])
    def test_a_section_more_is_welcome(self, run, former, monkeypatch, sections):
        monkeypatch.setattr(cli, "bind", lambda *_: {})
        former(*sections)
        assert run({**ALL, "Daemon": {}}, "--check-config")[0] == 0

    def test_without_a_file_nothing_can_be_gone(self, former, monkeypatch):
        monkeypatch.setattr(cli, "bind", lambda *_: {})
        former()
        assert cli.main(["--check-config"]) == 0

    def test_a_former_program_of_before_that_tells_no_sections(self, run, monkeypatch):
        monkeypatch.setattr(cli, "bind", lambda *_: {})
        monkeypatch.setenv("_STATELESSD_HANDOVER", json.dumps({"served": []}))
        assert run({"Application": {"debug": False}}, "--check-config")[0] == 0


def test_a_daemon_that_cannot_listen_leaves_no_pidfile(run, tmp_path):
    pidfile = tmp_path / "statelessd.pid"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = {"address": "127.0.0.1", "ports": [taken.getsockname()[1]]}
        settings = {"HTTPServer": server, "Daemon": {"pidfile": str(pidfile)}}
        assert run(settings, "-d")[0] == 1
    assert list(tmp_path.glob("*.pid")) == []


def test_print_config(capsys):
    assert cli.main(["--print-config"]) == 0
    assert "ports: [8000]  # default" in capsys.readouterr().out


def test_backends_do_not_collect_what_the_parent_has_loaded(monkeypatch):
    """A full collection of it would hold the event loop of each for some 40 ms."""
    frozen = []

    class Parent:
        def __init__(self, *_, **__):
            self.run = lambda: frozen.append(gc.get_freeze_count()) or 0

    monkeypatch.setattr(cli, "Supervisor", Parent)
    monkeypatch.setattr(cli, "bind", lambda *_: {})
    assert cli.main([]) == 0
    assert frozen[0] > 10_000  # objects


def test_a_port_in_use_is_status_1(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("STATELESSD_HTTPSERVER_PORTS", str(port))
        assert cli.main(["-f"]) == 1
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use\n" in (
        capsys.readouterr().err
    )
