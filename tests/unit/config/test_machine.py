"""What --check-config finds out about the machine: groups, users, directories, addresses."""

import socket

import pytest

from statelessd.config.loader import load
from statelessd.config.machine import doubtful_here, wrong_here


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def here(text, check=wrong_here, *, daemon=False):
        path = tmp_path / "statelessd.yml"
        path.write_text(text)
        loaded = load(path, {})
        found = [loaded.told(each) for each in check(loaded.config, daemon=daemon)]
        return [each.removeprefix(f"{path}: ") for each in found]

    return here


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HTTPServer: {unix_group: no-such-group}", "unix_group: there is no group 'no-such"),
        ("HTTPServer: {unix_group: '33'}", "unix_group: there is no group '33'"),
        ("HTTPServer: {ports: [1, 'unix:/no/such/x']}", "ports[1]: unix:/no/such/x: the directory"),
        ("HTTPServer: {ports: ['unix:/etc/passwd/x']}", "the directory /etc/passwd does not exist"),
        ("HTTPServer: {ports: ['unix:/etc/passwd']}", "the file exists and is not a socket"),
        ("HTTPServer: {ports: ['unix:/tmp']}", "the file exists and is not a socket"),
        ("HTTPServer: {pages: {listener: 'unix:/no/such/x'}}", "pages.listener: unix:/no/such/x:"),
        ("HTTPServer: {address: no.such.invalid}", "HTTPServer.address: 'no.such.invalid' is not"),
        ("HTTPServer: {pages: {listener: 1, address: x.invalid}}", "pages.address: 'x.invalid' is"),
    ],
)
def test_what_would_end_a_start(here, text, words):
    [error] = here(text)
    assert words in error
    assert here(text, doubtful_here) == []


def test_a_symbolic_link_in_the_place_of_a_socket(here, tmp_path):
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "x.sock"))
    assert here(f"HTTPServer: {{ports: ['unix:{tmp_path}/x.sock']}}") == []
    (tmp_path / "link").symlink_to("x.sock")
    [error] = here(f"HTTPServer: {{ports: ['unix:{tmp_path}/link']}}")
    assert "the file exists and is not a socket" in error


DAEMONS = [
    ("Daemon: {user: no-such-user}", "Daemon.user: there is no user 'no-such-user'"),
    ("Daemon: {pidfile: /etc/passwd/x}", "Daemon.pidfile: /etc/passwd is not a directory"),
    ("Daemon: {pidfile: /tmp}", "Daemon.pidfile: /tmp is not a regular file"),
]


@pytest.mark.parametrize(("text", "words"), DAEMONS)
def test_a_daemon_has_settings_of_its_own(here, text, words):
    assert here(text, daemon=True) == [words]
    assert here(text, doubtful_here, daemon=True) == []
    assert here(text) == []
    assert here(text, doubtful_here) == [f"{words} (it applies to --daemon only)"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Daemon: {pidfile: run/x.pid}", "run does not exist; a daemon creates it"),
        ("Application: {paths: {base: no/such}}", "Application.paths.base: "),
        ("Application: {paths: {static: no/such}}", "no/such is not a directory; the packaged"),
        ("HTTPServer: {address: 192.0.2.1}", "192.0.2.1 is not an address of this machine"),
        ("HTTPServer: {address: '2001:db8::1'}", "2001:db8::1 is not an address of this machine"),
    ],
)
def test_what_is_no_reason_to_refuse_it(here, text, words):
    [warning] = here(text, doubtful_here, daemon=True)
    assert words in warning
    assert here(text, daemon=True) == []


@pytest.mark.parametrize(
    "text",
    [
        "HTTPServer: {unix_group: root, address: localhost, ports: [1, 'unix:/tmp/not-there']}",
        "HTTPServer: {address: '', ports: [1]}",
        "HTTPServer: {address: 192.0.2.1, ports: ['unix:/tmp/not-there']}",
        "Daemon: {user: root, pidfile: /tmp/not-there}",
        "Application: {paths: {base: .}}",
    ],
)
def test_what_is_as_it_should_be(here, text):
    for daemon in (False, True):
        assert here(text, daemon=daemon) == []
        assert here(text, doubtful_here, daemon=daemon) == []
