"""Passwords are nowhere to be read: in no printed setting, error, warning, repr or digest."""

import logging

import msgspec
import pytest
import yaml

from statelessd.config.loader import ConfigError, load
from statelessd.config.report import print_config
from statelessd.config.secrets import hidden, redacted, without_secrets

LOGGING = """
Logging:
  version: 1
  formatters:
    plain: {format: "%(levelname)s:%(name)s@%(process)d token=%(token)s {x}:y@z"}
  handlers:
    mail:
      class: logging.handlers.SMTPHandler
      mailhost: [mail.example.com, 587]
      fromaddr: ops@example.com
      credentials: [ops, hush]
    http: {class: logging.handlers.HTTPHandler, url: "/log?token=hush&x=1", credentials: [a, hush]}
    syslog: {class: logging.handlers.SysLogHandler, address: "u:hush@loghost"}
    other:
      (): logging.NullHandler
      dsn: https://hush@example.com/1
      url: "https://u:hu/sh@hush@example.com/x"
      options:
        - {api_key: hush, Password: 4711, authorization: hush, key: hush}
        - {secret: {of: [hush, {mine: hush}]}, tokens: [hush], "https://u:hush@x": 1}
      header: "X: Basic aHVzaDpodXNo"
      query: "a=1&password=hush&b=2"
      webhook: https://hooks.example.com/hush
"""
SHOWN = ["mail.example.com", "587", "ops@example.com", "loghost", "/log?token=", "x=1", "b=2",
         "%(levelname)s:%(name)s@%(process)d token=%(token)s {x}:y@z"]  # fmt: skip


@pytest.fixture
def write(tmp_path_factory):
    def write(text):
        path = tmp_path_factory.mktemp("secrets") / "statelessd.yml"
        path.write_text(text)
        return path

    return write


def test_the_section_logging(write):
    loaded = load(write(LOGGING), {})
    assert loaded.config.logging["handlers"]["mail"]["credentials"] == ["ops", "hush"]
    printed = print_config(loaded)
    for each in (printed, repr(loaded), repr(without_secrets(loaded.config))):
        assert "hush" not in each
        assert "aHVzaD" not in each
        assert "4711" not in each
    for each in SHOWN:
        assert each in printed
    assert yaml.safe_load(printed)["Logging"].keys() == loaded.config.logging.keys()


def test_the_digest_of_the_settings_does_not_have_them(write):
    documents = [
        msgspec.json.encode(without_secrets(load(write(LOGGING.replace("hush", each)), {}).config))
        for each in ("hush", "other")
    ]
    assert documents[0] == documents[1]


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("Application.publish.stamp_app_id", "https://u:hush@h"),
        ("Application.paths.static", "/srv/u:hush@h"),
        ("Daemon.user", "u:hush@h"),
    ],
)
def test_a_url_in_a_setting_that_may_be_anything(write, setting, text):
    section, *middle, name = setting.split(".")
    value = {name: text}
    for each in reversed(middle):
        value = {each: value}
    for environment in ({}, {f"STATELESSD_{setting.replace('.', '_').upper()}": text}):
        loaded = load(write(yaml.safe_dump({section: value})), environment)
        assert "hush" not in print_config(loaded)


URLS = ["amqp://u:hush@h", "amqps://u:hush@h:5671/v", "//u:hush@h", "u:hush@h", "u:hu@sh@h",
        "amqp://u:hu/hush@h", "amqp://u:hu sh hush@h", "http://hush@h",
        "amqp:/u:hush@h"]  # fmt: skip
PLACES = ["Application.rabbitmq.host", "Application.rabbitmq.hosts", "HTTPServer.address",
          "HTTPServer.pages.address", "Application.rabbitmq.tls.server_name",
          "HTTPServer.trusted_proxies", "HTTPServer.pages.networks", "HTTPServer.cors.origins",
          "HTTPServer.ports", "HTTPServer.hosts", "HTTPServer.unix_mode",
          "Application.log", "Application.debug", "Application.tracing.endpoint",
          "Application.rabbitmq.port", "HTTPServer.tls.minimum_version", "HTTPServer.tls.key",
          "Application.rabbitmq.tls.ca", "Application.rabbitmq.tls.certificate"]  # fmt: skip
LISTS = ("hosts", "trusted_proxies", "networks", "origins", "ports")


@pytest.mark.parametrize("setting", PLACES)
@pytest.mark.parametrize("url", URLS)
def test_no_error_shows_one(write, setting, url):
    section, *middle, name = setting.split(".")
    value = {name: [url] if name in LISTS else url}
    if middle == ["rabbitmq", "tls"]:
        value["enabled"] = True
    for each in reversed(middle):
        value = {each: value}
    environment = {f"STATELESSD_{setting.replace('.', '_').upper()}": url}
    for path, variables in ((write(yaml.safe_dump({section: value})), {}), (None, environment)):
        try:
            told = load(path, variables).warnings
        except ConfigError as error:
            told = error.errors
        assert told
        assert "hush" not in "".join(told)


@pytest.mark.parametrize("url", [*URLS, "amqp://h", "h:5672", "[::1]", "[::1]:5672"])
def test_a_url_or_a_port_in_host_is_refused_with_its_place(write, url):
    path = write(yaml.safe_dump({"Application": {"rabbitmq": {"host": url}}}))
    with pytest.raises(ConfigError) as error:
        load(path, {})
    [told] = error.value.errors
    hint = {
        "h:5672": "has a port; set Application.rabbitmq.port",
        "[::1]:5672": "has a port; set Application.rabbitmq.port",
        "[::1]": "write the address without brackets",
    }.get(url, "is a URL, not a name or an address; its parts are the settings")
    assert told.startswith(f"{path}: Application.rabbitmq.host: ")
    assert hint in told


def test_what_is_no_secret_stays():
    for text in ("a: b@c", "ops@example.com", "http://example.com/x", "%(a)s:%(b)s@c", "10:00", ""):
        assert redacted(text) == text
    value = {"filename": "/var/log/x", "level": 10, "handlers": ["a"], "delay": True, "x": None}
    assert hidden(value) == value
    assert hidden({"password": None, "token": ""}) == {"password": None, "token": ""}


def test_the_section_is_used_as_it_is(write):
    config = load(write(LOGGING), {}).config
    without_secrets(config)
    assert config.logging["handlers"]["http"]["credentials"] == ["a", "hush"]
    assert logging.NullHandler.__name__ in config.logging["handlers"]["other"]["()"]
