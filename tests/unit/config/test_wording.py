"""Errors say what the file must have, in the words of YAML and not in those of Python."""

import re

import pytest

from statelessd.config.loader import ConfigError, environment_name, leaves, load
from statelessd.config.settings import SECTIONS

PYTHON = re.compile(
    r"Expected|`|\b(?:str|int|float|bool|dict|NoneType|null|array|object|regex|enum)\b"
)
SOCKET = "a Unix socket such as unix:/run/statelessd.sock"
WORDS = {
    "MODE": 'must be an octal mode in quotes, such as "0660"',
    "ONE": "must be a whole number of at least 1",
    "NUMBER": "must be a whole number from 1 to 65535",
    "SECONDS": "must be a number above 0 and at most 60",
    "TEXT": "must be text of at least 1 character",
    "PASSWORD": "must be text of at most 512 characters",
    "APP_ID": "must be text of at most 63 characters",
    "PORT": f"must be a port from 1 to 65535, or {SOCKET}",
}
CASES = """
HTTPServer.unix_mode: 0660 => {MODE}, not a number: quote it: "0660"
HTTPServer.unix_mode: 0600 => {MODE}, not a number: quote it: "0600"
HTTPServer.unix_mode: 640 => {MODE}, not a number: quote it: "640"
HTTPServer.unix_mode: u=rw => {MODE}
HTTPServer.unix_mode: "0660\\n" => {MODE}
HTTPServer.ports: 8000 => must be a list with at least one element, not a number: put it in brackets
HTTPServer.ports: unix:/x => must be a list with at least one element, not text: put it in brackets
HTTPServer.ports: [] => must be a list with at least one element
HTTPServer.ports: {a: b} => must be a list with at least one element, not a mapping
HTTPServer.ports: => has no value
HTTPServer.ports: ["8000"] => {PORT}: remove the quotes
HTTPServer.ports: [true] => {PORT}, not true or false
HTTPServer.ports: [8000.5] => {PORT}, not a fraction
HTTPServer.ports: [[8000]] => {PORT}, not a list
HTTPServer.ports: [null] => has no value
HTTPServer.ports: [0] => {PORT}
HTTPServer.ports: ["unix:/x\\ny"] => {PORT}
HTTPServer.ports: [99999999999999999999] => {PORT}, not that large
HTTPServer.pages.listener: "9000" => {PORT}: remove the quotes
HTTPServer.max_connections: 10:00 => {ONE}, not text
HTTPServer.max_connections: 99999999999999999999 => {ONE}, not that large
HTTPServer.max_connections: .inf => {ONE}, not .inf
HTTPServer.tls.minimum_version: 1.1 => must be "1.2" or "1.3"
HTTPServer.tls: [1] => must be a mapping, not a list
Application.debug: maybe => must be true or false, not text
Application.debug: "true" => must be true or false, not text: remove the quotes
Application.debug: 1 => must be true or false, not a number
Application.log: loud => must be auto, console, json or syslog
Application.access_log: yes => must be a whole number of at least 0, not true or false
Application.rabbitmq.port: "5672" => {NUMBER}, not text: remove the quotes
Application.rabbitmq.port: 65536 => {NUMBER}
Application.rabbitmq.port: -1 => {NUMBER}
Application.rabbitmq.host: no => {TEXT}, not true or false: quote it: "no"
Application.rabbitmq.host: 5 => {TEXT}, not a number: quote it: "5"
Application.rabbitmq.host: [a] => {TEXT}, not a list
Application.rabbitmq.host: "" => {TEXT}
Application.rabbitmq.hosts: [1] => must be text, not a number: put it in quotes
Application.rabbitmq.connect_timeout: .nan => {SECONDS}, not .nan
Application.rabbitmq.connect_timeout: 0 => {SECONDS}
Application.rabbitmq.connect_timeout: "5" => {SECONDS}, not text: remove the quotes
Application.rabbitmq.connect_timeout: 2026-11-27 => {SECONDS}, not text
Application.rabbitmq.idle_timeout: .inf => must be a number above 0 and at most 31536000, not .inf
Application.rabbitmq.refused_for: -1 => must be a number from 0 to 3600
Application.rabbitmq.probe.password: 4711 => {PASSWORD}, not a number: put it in quotes
Application.publish.stamp_app_id: on => {APP_ID}, not true or false: quote it: "on"
Daemon.user: 1000 => must be text, not a number: quote it: "1000"
"""


@pytest.fixture
def errors(tmp_path):
    def errors(text):
        path = tmp_path / "statelessd.yml"
        path.write_text(text)
        with pytest.raises(ConfigError) as error:
            load(path, {})
        return [each.removeprefix(f"{path}: ") for each in error.value.errors]

    return errors


def in_a_file(key_path, value):
    *sections, name = key_path.split(".")
    text = f"{{{name}: {value}}}" if value else f"{{{name}: }}"
    for section in reversed(sections):
        text = f"{section}: {text}" if section == sections[0] else f"{{{section}: {text}}}"
    return text


@pytest.mark.parametrize("case", CASES.strip().splitlines())
def test_what_a_setting_must_be(errors, case):
    given, _, words = case.partition(" => ")
    words = re.sub(r"{(\w+)}", lambda found: WORDS[found[1]], words)
    key_path, _, value = given.partition(":")
    [error] = errors(in_a_file(key_path, value.strip()))
    assert re.fullmatch(rf"{re.escape(key_path)}(\[0\])?: {re.escape(words)}", error), error


SETTINGS = [leaf for section, (_, cls) in SECTIONS.items() for leaf in leaves(cls, section)]
VALUES = ["[]", "[[1]]", "{a: b}", "text!", "-7", "1.5", "true", ".nan", "~", "9" * 30, '"\\0"']


@pytest.mark.parametrize("path", [path for path, _, _ in SETTINGS])
def test_no_error_speaks_python(tmp_path, path):
    file = tmp_path / "statelessd.yml"
    for value in VALUES:
        file.write_text(in_a_file(path, value))
        try:
            load(file, {})
        except ConfigError as error:
            for each in error.errors:
                assert not PYTHON.search(each.removeprefix(f"{file}: ")), each


@pytest.mark.parametrize("path", [path for path, _, _ in SETTINGS])
def test_nor_about_the_environment(path):
    for value in ("", "text!", "-7", "1.5", "yes", "nan", "inf", "9" * 5000):
        try:
            load(None, {environment_name(path): value})
        except ConfigError as error:
            for each in error.errors:
                assert not PYTHON.search(each), each


def test_a_variable_is_told_without_yaml():
    with pytest.raises(ConfigError) as error:
        load(None, {"STATELESSD_APPLICATION_RABBITMQ_PORT": "many"})
    assert error.value.errors == [
        "environment: STATELESSD_APPLICATION_RABBITMQ_PORT: must be a whole number from 1 to 65535"
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "1e30"])
def test_no_time_out_is_endless(value):
    for name in ("RABBITMQ_IDLE_TIMEOUT", "PUBLISH_TIMEOUT"):
        with pytest.raises(ConfigError, match="must be a number above 0 and at most"):
            load(None, {f"STATELESSD_APPLICATION_{name}": value})
