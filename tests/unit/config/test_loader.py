import msgspec
import pytest
from certificates import Authority
from hypothesis import given
from hypothesis import strategies as st

import document_metrics
import document_settings
from statelessd.config import loader as config_loader
from statelessd.config import report as config_report
from statelessd.config.hosts import hosts_of
from statelessd.config.loader import ConfigError, environment_name, leaves, load
from statelessd.config.settings import SECTIONS, Config


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        path = tmp_path / "statelessd.yml"
        path.write_text(text)
        return path

    return write


def errors(path, environment=None):
    with pytest.raises(ConfigError) as error:
        load(path, environment or {})
    return error.value.errors


def test_the_originals_file_loads_and_means_what_it_says(pytestconfig):
    path = pytestconfig.rootpath / "examples" / "original.yaml"
    loaded = load(path, {})
    config = loaded.config
    assert config.daemon.pidfile == "/var/run/statelessd/statelessd.pid"
    assert config.daemon.user == "nginx"
    assert config.application.debug is False
    assert config.application.paths.static == "/usr/share/statelessd/static"
    assert config.application.paths.templates == "/usr/share/statelessd/templates"
    assert (config.application.rabbitmq.host, config.application.rabbitmq.port) == (
        "localhost",
        5672,
    )
    assert config.http_server.ports == (8000, 8001, 8002, 8003, 8004)
    assert config.http_server.address == ""  # all interfaces, as the original
    assert [route.endpoint for route in config.routes] == [
        "statelessd.Publisher",
        "statelessd.Stats",
        "statelessd.Dashboard",
    ]
    assert config.logging["disable_existing_loggers"] is True
    assert loaded.warnings == []


def test_no_file_at_all():
    config = load(None, {}).config
    assert config == Config()
    assert config.http_server.ports == (8000,)
    assert config.http_server.address == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "%YAML 1.2\n---\n", "Application:\nHTTPServer: {}\n"])
def test_a_file_that_says_nothing(write, text):
    config = load(write(text), {}).config
    assert config == msgspec.structs.replace(
        Config(), http_server=msgspec.structs.replace(Config().http_server, address="")
    )


def test_everything_that_is_wrong_is_told_at_once(write):
    path = write(
        """
Daemon: {pid: x}
Application:
  debug: maybe
  rabbitmq: {prot: 5672, port: 99999, host: 5, heartbeat: }
  publish: 5
HTTPServer:
  ports: [8000, x, 0]
Rotues: []
Routes:
  - [/x, statelessd.Stat]
  - ['/(a', statelessd.Stats]
  - ['/([^/]+)', statelessd.Publisher]
  - 5
  - [/z, no.such.Thing]
Logging: 5
"""
    )
    got = errors(path, {"STATELESSD_PORT": "1", "STATELESSD_APPLICATION_XSRF_COOKIES": "perhaps"})
    text = "\n".join(got)
    for expected in (
        "environment: STATELESSD_PORT is no setting (did you mean STATELESSD_HTTPSERVER_PORTS?)",
        "environment: STATELESSD_APPLICATION_XSRF_COOKIES: Expected bool",
        f"{path}: Rotues: unknown section (did you mean Routes?)",
        f"{path}: Daemon.pid: unknown key (did you mean pidfile?)",
        f"{path}: Application.debug: Expected bool, got str",
        f"{path}: Application.rabbitmq.prot: unknown key (did you mean port?)",
        f"{path}: Application.rabbitmq.port: Expected int <= 65535",
        f"{path}: Application.rabbitmq.host: Expected str, got int",
        f"{path}: Application.rabbitmq.heartbeat: has no value",
        f"{path}: Application.publish: must be a mapping",
        f"{path}: HTTPServer.ports[1]: Expected str matching regex",
        f"{path}: HTTPServer.ports[2]: Expected int >= 1",
        f"{path}: Routes[0]: there is no class statelessd.Stat (did you mean statelessd.Stats?)",
        f"{path}: Routes[1]: '/(a' is no regular expression",
        f"{path}: Routes[2]: '/([^/]+)' has 1 groups",
        f"{path}: Routes[3]: must be [regular expression, class]",
        f"{path}: Routes[4]: No module named 'no'",
        f"{path}: Logging: must be a mapping",
    ):
        assert expected in text
    assert len(got) == 18


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HTTPServer: {ports: [8000, 8000]}", "has 8000 more than once"),
        ("HTTPServer: {ports: []}", "length >= 1"),
        ("HTTPServer: {ports: ['unix:/x', 'unix:/x']}", "has unix:/x more than once"),
        ("HTTPServer: {ports: ['unix:x']}", "ports[0]: Expected str matching regex '^unix:/"),
        (f"HTTPServer: {{ports: ['unix:/{'é' * 54}']}}", "is longer than 107 bytes"),
        ("HTTPServer: {tls: {key: /x}}", "HTTPServer.tls.certificate: is needed"),
        ("HTTPServer: {tls: {minimum_version: '1.1'}}", "minimum_version: Invalid enum value"),
        (
            "Application: {rabbitmq: {tls: {ca: /x}}}",
            "Application.rabbitmq.tls.enabled: is needed, for there are other settings of TLS",
        ),
        (
            "Application: {rabbitmq: {tls: {enabled: true, key: /x}}}",
            "Application.rabbitmq.tls.certificate: is needed, for there is a key",
        ),
        (
            "Application: {rabbitmq: {tls: {enabled: true, ca: /no/such.pem}}}",
            "rabbitmq.tls.ca: /no/such.pem cannot be read: No such file or directory",
        ),
        (
            "Application: {rabbitmq: {tls: {enabled: true, ca: /dev/null}}}",
            "Application.rabbitmq.tls.ca: /dev/null holds no certificate in PEM form",
        ),
        (
            "Application: {rabbitmq: {tls: {enabled: true, server_name: .x}}}",
            "Application.rabbitmq.tls.server_name: '.x' is no host name",
        ),
        (
            'Application: {rabbitmq: {tls: {enabled: true, server_name: "a\\0"}}}',
            "Application.rabbitmq.tls.server_name: 'a\\x00' is no host name",
        ),
        ("HTTPServer: {unix_mode: rw}", "unix_mode: Expected str matching regex"),
        ("HTTPServer: {unix_mode: '0888'}", "unix_mode: Expected str matching regex"),
        ("HTTPServer: {trusted_proxies: [here]}", "trusted_proxies[0]: 'here' does not appear"),
        ("a: [", "no valid YAML at line 1, column 5"),
        ("Daemon: {user: a, user: b}", "the key 'user' is given twice"),
        ("- a list", "the file must be a mapping"),
        ("Daemon: [1]", "Daemon: must be a mapping, not a list"),
        ("Routes: {a: b}", "Routes: must be a list"),
        ("Routes: [['/\\u0041', statelessd.Stats]]", "no regular expression for paths"),
        ("Routes: [['(?u)/', statelessd.Stats]]", "no regular expression for paths"),
        ("Routes: [[/x, ..foo]]", "there is no class ..foo"),
        ("Routes: [['/(.*)', statelessd.pages.Publisher]]", "has 1 groups"),
        ("Application: !!python/object:os.system {}", "no valid YAML"),
    ],
)
def test_one_thing_wrong(write, text, words):
    [error] = errors(write(text))
    assert words in error


def test_a_file_that_is_not_there(tmp_path):
    [error] = errors(tmp_path / "missing.yml")
    assert error.endswith("missing.yml: cannot be read: No such file or directory")


def test_the_environment_overrides_the_file(write):
    path = write("Application: {rabbitmq: {host: a, port: 1}}\nHTTPServer: {ports: [1]}")
    loaded = load(
        path,
        {
            "STATELESSD_APPLICATION_RABBITMQ_HOST": "b",
            "STATELESSD_APPLICATION_PUBLISH_TIMEOUT": "2.5",
            "STATELESSD_APPLICATION_DEBUG": "True",
            "STATELESSD_HTTPSERVER_PORTS": "8001, 8002",
            "STATELESSD_HTTPSERVER_TRUSTED_PROXIES": "",
            "PATH": "/bin",
        },
    )
    config = loaded.config
    assert (config.application.rabbitmq.host, config.application.rabbitmq.port) == ("b", 1)
    assert config.application.publish.timeout == 2.5
    assert config.application.debug is True
    assert config.http_server.ports == (8001, 8002)
    assert config.http_server.trusted_proxies == ()
    printed = config_report.print_config(loaded)
    assert "host: b  # environment (STATELESSD_APPLICATION_RABBITMQ_HOST)" in printed
    assert "port: 1  # file" in printed
    assert "heartbeat: 30  # default" in printed


def test_the_environment_alone():
    config = load(None, {"STATELESSD_HTTPSERVER_ADDRESS": ""}).config
    assert config.http_server.address == ""


@pytest.mark.parametrize("text", ["8000,8001", " 8000 , 8001,", "[8000, 8001]", "['8000', '8001']"])
def test_a_list_of_the_environment(text):
    assert load(None, {"STATELESSD_HTTPSERVER_PORTS": text}).config.http_server.ports == (
        8000,
        8001,
    )


def test_unix_sockets_beside_ports(write):
    text = "HTTPServer: {ports: [8000, 'unix:/run/a b.sock'], unix_mode: '0600', unix_group: adm}"
    server = load(write(text), {}).config.http_server
    assert server.ports == (8000, "unix:/run/a b.sock")
    assert (server.unix_mode, server.unix_group) == ("0600", "adm")
    given = {"STATELESSD_HTTPSERVER_PORTS": "8000,unix:/run/a b.sock"}
    assert load(None, given).config.http_server.ports == server.ports
    [error] = errors(None, {"STATELESSD_HTTPSERVER_PORTS": "70000,unix:/x"})
    assert "STATELESSD_HTTPSERVER_PORTS[0]: Expected int <= 65535" in error


def test_pages(write):
    text = "HTTPServer: {pages: {networks: [10.0.0.0/8, '::1'], listener: 9000, address: '::1'}}"
    server = load(write(text), {}).config.http_server
    assert server.pages.networks == ("10.0.0.0/8", "::1")
    assert server.listeners == (8000, 9000)
    assert (server.address_of(8000), server.address_of(9000)) == ("", "::1")
    given = {"STATELESSD_HTTPSERVER_PAGES_LISTENER": "9000"}
    assert load(None, given).config.http_server.pages.listener == 9000
    given = {"STATELESSD_HTTPSERVER_PAGES_LISTENER": "unix:/run/pages.sock"}
    assert load(None, given).config.http_server.pages.listener == "unix:/run/pages.sock"


def test_pages_are_open_and_everywhere_by_default(write):
    server = load(write("HTTPServer: {ports: [8000, 8001]}"), {}).config.http_server
    assert server.pages.networks == ()
    assert server.listeners == (8000, 8001)
    assert server.has_pages(8000)
    assert server.has_pages(8001)


@pytest.mark.parametrize(
    ("pages", "error"),
    [
        ("{networks: [10.0.0.0/8, 10.0.0.0/33]}", "networks[1]: '10.0.0.0/33' does not appear"),
        ("{networks: [example.com]}", "networks[0]: 'example.com' does not appear"),
        ("{networks: 10.0.0.0/8}", "networks: Expected array"),
        ("{listener: 8000}", "listener: 8000 is one of HTTPServer.ports"),
        ("{listener: 70000}", "listener: Expected int <= 65535"),
        ("{listener: nonsense}", "listener: Expected str matching regex"),
        (f"{{listener: 'unix:/{'x' * 107}'}}", "x is longer than 107 bytes"),
        ("{address: 127.0.0.1}", "address: is of no use without a port"),
        ("{listener: 'unix:/x', address: 127.0.0.1}", "address: is of no use without a port"),
    ],
)
def test_pages_that_cannot_be_restricted_so(write, pages, error):
    path = write(f"HTTPServer: {{pages: {pages}}}")
    [found] = errors(path)
    assert found.startswith(f"{path}: HTTPServer.pages.")
    assert error in found


def test_tls(write, tmp_path):
    authority = Authority(tmp_path)
    text = "HTTPServer: {tls: {certificate: certificate.pem, key: key.pem, minimum_version: 1.3}}"
    tls = load(write(text), {}).config.http_server.tls
    assert (tls.certificate, tls.key) == (str(authority.certificate), str(authority.key))
    assert tls.minimum_version == "1.3"
    authority.key.unlink()
    path = write(text)
    [error] = errors(path)
    assert error.startswith(f"{path}: HTTPServer.tls.key: ")
    assert error.endswith("key.pem cannot be read: No such file or directory")


def test_tls_to_the_broker(write, tmp_path):
    authority = Authority(tmp_path)
    files = "ca: ca.pem, certificate: certificate.pem, key: key.pem"
    text = f"Application: {{rabbitmq: {{tls: {{enabled: true, {files}}}}}}}"
    loaded = load(write(text), {})
    rabbitmq = loaded.config.application.rabbitmq
    assert (rabbitmq.tls.ca, rabbitmq.tls.key) == (str(authority.ca), str(authority.key))
    assert rabbitmq.port == 5671
    assert "port: 5671  # default" in config_report.print_config(loaded)
    authority.issue()
    authority.key.write_text("x")
    [error] = errors(write(text))
    assert "Application.rabbitmq.tls.key: " in error
    assert "holds no private key that can be used" in error
    # Switched off, it waits to be switched on, and needs nothing yet.
    off = load(write(text.replace("true", "false")), {}).config.application.rabbitmq
    assert (off.tls.enabled, off.port) == (False, 5672)


def test_a_port_that_is_set_is_kept_with_tls(write):
    path = write("Application: {rabbitmq: {port: 5672, tls: {enabled: true}}}")
    assert load(path, {}).config.application.rabbitmq.port == 5672
    given = {"STATELESSD_APPLICATION_RABBITMQ_TLS_ENABLED": "true"}
    assert load(None, given).config.application.rabbitmq.port == 5671
    given["STATELESSD_APPLICATION_RABBITMQ_PORT"] = "1"
    assert load(None, given).config.application.rabbitmq.port == 1


def test_settings_of_tornado_are_named_in_a_warning_and_do_no_harm(write):
    loaded = load(
        write("Application: {gzip: true, cookie_secret: x}\nHTTPServer: {ssl_options: {}}"), {}
    )
    text = "\n".join(loaded.warnings)
    assert "Application.cookie_secret, Application.gzip" in text
    assert "HTTPServer.ssl_options (TLS is HTTPServer.tls)" in text


def test_xsrf_cookies_are_not_ignored_without_a_word(write):
    assert "xsrf_cookies" in load(write("Application: {xsrf_cookies: true}"), {}).warnings[0]


@pytest.mark.parametrize(("frame_max", "warned"), [(4096, True), (8191, True), (8192, False)])
def test_frames_smaller_than_newer_brokers_take_are_warned_of(write, frame_max, warned):
    text = f"Application: {{rabbitmq: {{frame_max: {frame_max}}}}}"
    warnings = load(write(text), {}).warnings
    assert bool(warnings) is warned
    assert all("frame_max" in warning and "4.1" in warning for warning in warnings)


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com/",
        "https://app.example.com/app",
        "https://app.example.com?",
        "https://user@app.example.com",
        "https://*.example.com",
        "https://bücher.example",
        "https://app.example.com:",
        "https://app.example.com\\n",
        "app.example.com",
        "app.example.com:8000",
        "//app.example.com",
        "null",
        "",
        "HTTPS://app.example.com:443",
        "http://localhost:80",
    ],
)
def test_an_origin_that_no_browser_would_send_is_an_error(write, origin):
    path = write(f'HTTPServer: {{cors: {{origins: ["*", "{origin}"]}}}}')
    [error] = errors(path)
    assert f"{path}: HTTPServer.cors.origins[1]: " in error


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://App.example.com",
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://[::1]:8080",
        "https://app.example.com:80",
        "https://xn--bcher-kva.example",
        "chrome-extension://abcdefgh",
    ],
)
def test_an_origin_as_browsers_send_it_is_none(write, origin):
    path = write(f'HTTPServer: {{cors: {{origins: ["{origin}"]}}}}')
    assert load(path, {}).config.http_server.cors.origins == (origin,)


def test_relative_paths_start_where_the_command_was_started(write, tmp_path):
    config = load(
        write(
            "Daemon: {pidfile: run/p.pid}\n"
            "Application: {paths: {base: web, static: static, templates: /abs}}"
        ),
        {},
    ).config
    assert config.daemon.pidfile == str(tmp_path / "run" / "p.pid")
    assert config.application.paths.static == str(tmp_path / "web" / "static")
    assert config.application.paths.templates == "/abs"


def test_what_is_printed_loads_to_the_same(write, pytestconfig, tmp_path):
    loaded = load(pytestconfig.rootpath / "examples" / "original.yaml", {})
    printed = config_report.print_config(loaded)
    assert load(write(printed), {}).config == loaded.config


def test_a_form_of_the_log_beside_a_section_is_not_ignored_without_a_word(write):
    text = "Application: {log: json}\nLogging: {version: 1}\n"
    [warning] = load(write(text), {}).warnings
    assert "the section Logging rules" in warning


PROBE = "Application: {rabbitmq: {probe: {username: watch, password: hush-hush}}}"


def test_the_probes_password_is_nowhere_to_be_read(write):
    environment = {"STATELESSD_APPLICATION_RABBITMQ_PROBE_PASSWORD": "hush-2"}
    for loaded in (load(write(PROBE), {}), load(write(PROBE), environment)):
        assert loaded.config.application.rabbitmq.probe.password.startswith("hush")
        printed = config_report.print_config(loaded)
        assert "username: watch  # file" in printed
        assert 'password: "\\u2026"' in printed
        assert "hush" not in printed + repr(loaded) + str(loaded.config.application.rabbitmq.probe)


@pytest.mark.parametrize("value", ["[hush-hush]", "4711", f"'{'4711' * 200}'"])
def test_nor_where_it_is_wrong(write, value):
    [error] = errors(write(PROBE.replace("hush-hush", value)))
    assert "Application.rabbitmq.probe.password: Expected" in error
    assert "hush" not in error
    assert "4711" not in error


def test_a_probes_password_needs_a_username(write):
    [error] = errors(write("Application: {rabbitmq: {probe: {password: x}}}"))
    assert error.endswith("probe.password: is of no use without a username")


@pytest.mark.parametrize(
    ("name", "reference"),
    [("configuration.md", document_settings.reference), ("metrics.md", document_metrics.reference)],
)
def test_the_reference_pages_are_up_to_date(pytestconfig, name, reference):
    page = pytestconfig.rootpath / "docs" / name
    assert page.read_text() == reference(), "run: make docs"


def every_setting():
    return [leaf for section, (_, cls) in SECTIONS.items() for leaf in leaves(cls, section)]


def test_each_setting_has_help_and_a_name_of_its_own_in_the_environment():
    settings = every_setting()
    assert len({environment_name(path) for path, _, _ in settings}) == len(settings)
    for path, hint, _ in settings:
        assert hint.__metadata__[0].description, path


keys = st.sampled_from(
    ["Application", "rabbitmq", "port", "Routes", "HTTPServer", "ports", "Logging", "x"]
)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@given(st.recursive(scalars, lambda c: st.lists(c, max_size=3) | st.dictionaries(keys, c)))
def test_any_document_is_read_or_refused(document):
    reader = config_loader._Reader("file")
    config = reader.config(document)
    assert reader.errors or isinstance(config, Config)


HOSTS = "STATELESSD_APPLICATION_RABBITMQ_HOSTS"


def hosts(loaded):
    return [str(host) for host in hosts_of(loaded.config.application.rabbitmq)]


def test_the_nodes_of_a_cluster(write):
    path = write(
        "Application: {rabbitmq: {port: 5673, hosts: [a, 'b.c:1', 192.0.2.1, '[::1]:2', '[::1]']}}"
    )
    expected = ["a:5673", "b.c:1", "192.0.2.1:5673", "[::1]:2", "[::1]:5673"]
    loaded = load(path, {})
    assert hosts(loaded) == expected
    assert loaded.warnings == []
    assert hosts(load(write("Application: {rabbitmq: {host: '::1'}}"), {})) == ["[::1]:5672"]
    assert hosts(load(None, {})) == ["localhost:5672"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a, b:1", ["a:5672", "b:1"]),
        ("[a, b:1]", ["a:5672", "b:1"]),
        ("[::1]", ["[::1]:5672"]),
        ("[::1],[::2]", ["[::1]:5672", "[::2]:5672"]),
        ("[[::1], [::2]:3]", ["[::1]:5672", "[::2]:3"]),
        ("[::1]:3,[::2]", ["[::1]:3", "[::2]:5672"]),
        ("", ["localhost:5672"]),
    ],
)
def test_nodes_from_the_environment(text, expected):
    assert hosts(load(None, {HOSTS: text})) == expected


def test_what_is_no_node(write):
    path = write(
        "Application: {rabbitmq: {hosts: ['amqp://a', '::1', 'a:0', 'a:b', '', a, 'a:5672']}}"
    )
    place = f"{path}: Application.rabbitmq.hosts"
    assert errors(path) == [
        f"{place}[0]: 'amqp://a' is a URL; what is wanted is name or name:port",
        f"{place}[1]: '::1': an IPv6 address is written in brackets, as [::1]:5672",
        f"{place}[2]: 'a:0': a port is a number from 1 to 65535",
        f"{place}[3]: 'a:b' is not name, name:port, address:port or [IPv6 address]:port",
        f"{place}[4]: '' is not name, name:port, address:port or [IPv6 address]:port",
        f"{place}: has a:5672 more than once",
    ]
    assert errors(None, {HOSTS: "a,b:70000"}) == [
        f"environment: {HOSTS}[1]: 'b:70000': a port is a number from 1 to 65535"
    ]


def test_a_host_beside_hosts_is_told_to_mean_nothing(write):
    path = write("Application: {rabbitmq: {host: a, hosts: [b]}}")
    loaded = load(path, {})
    assert hosts(loaded) == ["b:5672"]
    assert loaded.warnings == [
        "Application.rabbitmq.host has no effect: Application.rabbitmq.hosts rules."
    ]
