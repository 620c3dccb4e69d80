import contextlib
import importlib.util

import msgspec
import pytest
import yaml
from certificates import Authority
from hypothesis import given
from hypothesis import strategies as st
from wrong_settings import errors

import document_metrics
import document_settings
from setting_examples import EXAMPLES
from statelessd.config.hosts import hosts_of
from statelessd.config.loader import ConfigError, environment_name, leaves, load
from statelessd.config.report import print_config
from statelessd.config.settings import SECTIONS, Config
from statelessd.config.webhooks import Webhook


def cases(table):
    return [line.split(" => ") for line in table.strip().splitlines()]


def test_the_originals_file_loads_and_means_what_it_says(pytestconfig, write):
    loaded = load(pytestconfig.rootpath / "examples" / "original.yaml", {})
    daemon, application = loaded.config.daemon, loaded.config.application
    assert daemon.pidfile == "/var/run/statelessd/statelessd.pid"
    assert daemon.user == "nginx"
    assert application.debug is False
    assert application.paths.static == "/usr/share/statelessd/static"
    assert application.paths.templates == "/usr/share/statelessd/templates"
    assert (application.rabbitmq.host, application.rabbitmq.port) == ("localhost", 5672)
    assert loaded.config.http_server.ports == (8000, 8001, 8002, 8003, 8004)
    assert loaded.config.http_server.address == ""  # all interfaces, as the original
    endpoints = [route.endpoint for route in loaded.config.routes]
    assert endpoints == ["statelessd.Publisher", "statelessd.Stats", "statelessd.Dashboard"]
    assert loaded.config.logging["disable_existing_loggers"] is True
    assert loaded.warnings == []
    # What is printed loads to the same.
    assert load(write(print_config(loaded)), {}).config == loaded.config


def test_no_file_at_all():
    config = load(None, {}).config
    assert config == Config()
    assert config.http_server.listeners == (8000,)
    assert config.http_server.address == "127.0.0.1"
    assert load(None, {"STATELESSD_HTTPSERVER_ADDRESS": ""}).config.http_server.address == ""


EMPTY = ["", "\n", "# Application:\n#   debug: true\n", "%YAML 1.2\n---\n", "{}", "[]", "~", "''"]


@pytest.mark.parametrize("text", [*EMPTY, "\ufeff", "---\n...\n"])
def test_an_empty_file_is_refused(write, text):
    path = write(text)
    [error] = errors(path, {"STATELESSD_APPLICATION_DEBUG": "true"})
    assert error.startswith(f"{path}: the file is empty. It needs at least one setting")


@pytest.mark.parametrize("text", ["Application:\n", "HTTPServer: {}\nDaemon:\nRoutes: []\n"])
def test_a_file_with_empty_sections_only_is_refused(write, text):
    path = write(text)
    [error] = errors(path)
    assert error.startswith(f"{path}: the file is empty. It needs at least one setting")


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
        "environment: unknown setting STATELESSD_PORT (did you mean STATELESSD_HTTPSERVER_PORTS?)",
        "environment: STATELESSD_APPLICATION_XSRF_COOKIES: must be true or false",
        f"{path}: Rotues: unknown section (did you mean Routes?)",
        f"{path}: Daemon.pid: unknown setting (did you mean pidfile?)",
        f"{path}: Application.debug: must be true or false, not text",
        f"{path}: Application.rabbitmq.prot: unknown setting (did you mean port?)",
        f"{path}: Application.rabbitmq.port: must be a whole number from 1 to 65535",
        f"{path}: Application.rabbitmq.host: must be text of at least 1 character, not a number",
        f"{path}: Application.rabbitmq.heartbeat: has no value",
        f"{path}: Application.publish: must be a mapping",
        f"{path}: HTTPServer.ports[1]: must be a port from 1 to 65535, or a Unix socket such as",
        f"{path}: HTTPServer.ports[2]: must be a port from 1 to 65535, or a Unix",
        f"{path}: Routes[0]: unknown class statelessd.Stat (did you mean statelessd.Stats?)",
        f"{path}: Routes[1]: '/(a' is not a regular expression",
        f"{path}: Routes[2]: '/([^/]+)' has 1 groups",
        f"{path}: Routes[3]: must be [regular expression, class]",
        f"{path}: Routes[4]: No module named 'no'",
        f"{path}: Logging: must be a mapping",
    ):
        assert expected in text
    assert len(got) == 18


WRONG = r"""
HTTPServer: {ports: [8000, 8000]} => lists 8000 more than once
HTTPServer: {ports: []} => must be a list with at least one element
HTTPServer: {ports: ['unix:/x', 'unix:/x']} => lists unix:/x more than once
HTTPServer: {ports: ['unix:x']} => ports[0]: must be a port from 1 to 65535, or a Unix socket
HTTPServer: {tls: {key: /x}} => HTTPServer.tls.certificate: is required
HTTPServer: {tls: {minimum_version: '1.1'}} => minimum_version: must be "1.2" or "1.3"
Application: {rabbitmq: {tls: {ca: /x}}} => rabbitmq.tls.enabled: is required beside
Application: {rabbitmq: {tls: {enabled: true, key: /x}}} => tls.certificate: is required
Application: {rabbitmq: {tls: {enabled: true, ca: /no/such.pem}}} => /no/such.pem cannot be read
Application: {rabbitmq: {tls: {enabled: true, ca: /dev/null}}} => has no certificate
Application: {rabbitmq: {tls: {enabled: true, server_name: .x}}} => '.x' is neither a host name nor
HTTPServer: {unix_mode: rw} => unix_mode: must be an octal mode in quotes
HTTPServer: {unix_mode: '0888'} => unix_mode: must be an octal mode in quotes
HTTPServer: {trusted_proxies: [here]} => trusted_proxies[0]: 'here' is not a network
HTTPServer: {hosts: ['gateway.example:8000']} => HTTPServer.hosts[0]: 'gateway.example:8000' is not
HTTPServer: {hosts: [a.example, 'http://b.example']} => hosts[1]: 'http://b.example' is not a host
HTTPServer: {hosts: ['*']} => hosts[0]: '*' is not a host name
HTTPServer: {hosts: a.example} => hosts: must be a list
a: [ => not valid YAML at line 1, column 5
Daemon: {user: a, user: b} => the key 'user' is given twice
- a list => the file must be a mapping
Daemon: [1] => Daemon: must be a mapping, not a list
Routes: {a: b} => Routes: must be a list
Routes: [['(?u)/', statelessd.Stats]] => not a regular expression for paths
Routes: [[/x, ..foo]] => unknown class ..foo
Routes: [['/(.*)', statelessd.pages.Publisher]] => has 1 groups
Application: !!python/object:os.system {} => not valid YAML
HTTPServer: {pages: {networks: ['::1', 10.0.0.0/33]}} => networks[1]: '10.0.0.0/33'
HTTPServer: {pages: {networks: [example.com]}} => networks[0]: 'example.com' is not a network
HTTPServer: {pages: {networks: 10.0.0.0/8}} => networks: must be a list, not text
HTTPServer: {pages: {listener: 8000}} => listener: 8000 is one of HTTPServer.ports
HTTPServer: {pages: {listener: 70000}} => listener: must be a port from 1 to 65535, or
HTTPServer: {pages: {listener: nonsense}} => listener: must be a port from 1 to 65535, or
HTTPServer: {pages: {address: '::1'}} => pages.address: has no effect unless
HTTPServer: {pages: {listener: 'unix:/x', address: '::1'}} => has no effect unless
Application: {rabbitmq: {probe: {password: x}}} => has no effect without a username
Application: {publish: {forward_headers: [X-Tenant, authorization]}} => [1]: 'authorization' is
Application: {publish: {forward_headers: [Cookie]}} => [0]: 'Cookie' is never forwarded
Application: {publish: {forward_headers: [set-cookie]}} => 'set-cookie' is never forwarded
Application: {publish: {forward_headers: [Proxy-Authorization]}} => is never forwarded
Application: {publish: {forward_headers: [proxy-x]}} => 'proxy-x' is never forwarded
Application: {publish: {forward_headers: [Content-Length]}} => is about the connection
Application: {publish: {forward_headers: [x-delay]}} => cannot be
Application: {publish: {forward_headers: ['X Tenant']}} => is not the name of a header
Application: {publish: {forward_headers: [X-A, x-a]}} => [1]: 'x-a' is listed more
Application: {publish: {forward_headers: X-A}} => forward_headers: must be a list
Application: {tracing: {sample_ratio: 1.5}} => sample_ratio: must be a number from 0 to 1
Application: {tracing: {endpoint: 'localhost:4318'}} => endpoint: is not a URL such as
Application: {tracing: {endpoint: 'grpc://h:4317'}} => endpoint: is not a URL such as
Application: {tracing: {endpoint: 'http://h:x'}} => endpoint: is not a URL such as
Application: {tracing: {endpoint: 'http://u:p@h'}} => must have no user, password, query
Application: {tracing: {endpoint: 'https://h/?key=p'}} => must have no user, password, query
Application: {tracing: {service_name: ''}} => service_name: must be text of at least 1
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *cases(WRONG),
        ("Routes: [['/\\u0041', statelessd.Stats]]", "not a regular expression for paths"),
        (f"HTTPServer: {{ports: ['unix:/{'é' * 54}']}}", "ports: /éé"),
        (f"HTTPServer: {{pages: {{listener: 'unix:/{'x' * 107}'}}}}", "is longer than 107 bytes"),
        (
            'Application: {rabbitmq: {tls: {enabled: true, server_name: "a\\0"}}}',
            "server_name: has a NUL character",
        ),
    ],
)
def test_one_thing_wrong(write, text, words):
    [error] = errors(write(text))
    assert words in error


def test_a_file_that_is_not_there(tmp_path):
    [error] = errors(tmp_path / "missing.yml")
    assert error.endswith("missing.yml: cannot be read: No such file or directory")


READ = """
HTTPServer: {ports: [1, 'unix:/run/a b.sock']} => http_server.ports == (1, "unix:/run/a b.sock")
Application: {rabbitmq: {frame_max: 8192}} => application.rabbitmq.frame_max == 8192
HTTPServer: {unix_mode: '0600'} => http_server.unix_mode == "0600"
HTTPServer: {pages: {networks: [10.0.0.0/8, '::1']}} => http_server.pages.networks[1] == "::1"
HTTPServer: {pages: {listener: 9000}} => http_server.listeners == (8000, 9000)
HTTPServer: {pages: {listener: 9000, address: '::1'}} => http_server.address_of(9000) == "::1"
HTTPServer: {pages: {listener: 9000, address: '::1'}} => http_server.address_of(8000) == ""
Daemon: {pidfile: run/p.pid} => daemon.pidfile == f"{cwd}/run/p.pid"
Application: {paths: {base: web, static: a}} => application.paths.static == f"{cwd}/web/a"
Application: {paths: {base: web, templates: /abs}} => application.paths.templates == "/abs"
Application: {rabbitmq: {tls: {enabled: true}}} => application.rabbitmq.port == 5671
Application: {rabbitmq: {port: 5672, tls: {enabled: true}}} => application.rabbitmq.port == 5672
Application: {rabbitmq: {host: '::1'}} => hosts == "[::1]:5672"
Application: {rabbitmq: {port: 1, hosts: [a, 'b.c:2', '[::1]']}} => hosts == "a:1 b.c:2 [::1]:1"
HTTPSERVER_PORTS=8000,8001 => http_server.ports == (8000, 8001)
HTTPSERVER_PORTS= 8000 , 8001, => http_server.ports == (8000, 8001)
HTTPSERVER_PORTS=[8000, 8001] => http_server.ports == (8000, 8001)
HTTPSERVER_PORTS=['8000', '8001'] => http_server.ports == (8000, 8001)
HTTPSERVER_PORTS=1,unix:/run/a b.sock => http_server.ports == (1, "unix:/run/a b.sock")
HTTPSERVER_PAGES_LISTENER=9000 => http_server.pages.listener == 9000
HTTPSERVER_PAGES_LISTENER=unix:/run/p.sock => http_server.pages.listener == "unix:/run/p.sock"
APPLICATION_RABBITMQ_TLS_ENABLED=true => application.rabbitmq.port == 5671
APPLICATION_RABBITMQ_HOSTS=a, b:1 => hosts == "a:5672 b:1"
APPLICATION_RABBITMQ_HOSTS=[a, b:1] => hosts == "a:5672 b:1"
APPLICATION_RABBITMQ_HOSTS=[::1] => hosts == "[::1]:5672"
APPLICATION_RABBITMQ_HOSTS=[::1],[::2] => hosts == "[::1]:5672 [::2]:5672"
APPLICATION_RABBITMQ_HOSTS=[[::1], [::2]:3] => hosts == "[::1]:5672 [::2]:3"
APPLICATION_RABBITMQ_HOSTS=[::1]:3,[::2] => hosts == "[::1]:3 [::2]:5672"
APPLICATION_RABBITMQ_HOSTS= => hosts == "localhost:5672"
"""


@pytest.mark.parametrize(("given", "holds"), cases(READ))
def test_what_is_read(write, tmp_path, given, holds):
    variable, is_variable, text = given.partition("=")
    environment = {f"STATELESSD_{variable}": text} if is_variable else {}
    loaded = load(None if is_variable else write(given), environment)
    sections = msgspec.structs.asdict(loaded.config)
    hosts = " ".join(map(str, hosts_of(loaded.config.application.rabbitmq)))
    assert eval(holds, {**sections, "hosts": hosts, "cwd": tmp_path})
    assert loaded.warnings == []


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
    printed = print_config(loaded)
    assert "host: b  # environment (STATELESSD_APPLICATION_RABBITMQ_HOST)" in printed
    assert "port: 1  # file" in printed
    assert "heartbeat: 30  # default" in printed


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter"])
def test_tracing_without_its_packages_is_an_error_that_names_them(write, monkeypatch, missing):
    find = importlib.util.find_spec

    def find_spec(name):
        if name.startswith(missing):
            raise ModuleNotFoundError(name)
        return find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    path = write("Application: {tracing: {enabled: true}}")
    [error] = errors(path)
    assert error.startswith(f"{path}: Application.tracing.enabled: needs OpenTelemetry")
    assert "pip install '.[otel]'" in error
    assert load(write("Application: {tracing: {sample_ratio: 0.5}}"), {}).warnings == []


def test_tls(write, tmp_path):
    authority = Authority(tmp_path)
    text = "HTTPServer: {tls: {certificate: certificate.pem, key: key.pem, minimum_version: 1.3}}"
    tls = load(write(text), {}).config.http_server.tls
    assert (tls.certificate, tls.key) == (str(authority.certificate), str(authority.key))
    assert tls.minimum_version == "1.3"
    authority.key.unlink()
    path = write(text)
    assert f"{path}: HTTPServer.tls.key: {authority.key} cannot be read" in errors(path)[0]


def test_tls_to_the_broker(write, tmp_path):
    authority = Authority(tmp_path)
    files = "ca: ca.pem, certificate: certificate.pem, key: key.pem"
    text = f"Application: {{rabbitmq: {{tls: {{enabled: true, {files}}}}}}}"
    loaded = load(write(text), {})
    rabbitmq = loaded.config.application.rabbitmq
    assert (rabbitmq.tls.ca, rabbitmq.tls.key) == (str(authority.ca), str(authority.key))
    assert rabbitmq.port == 5671
    assert "port: 5671  # default" in print_config(loaded)
    # Switched off, it waits to be switched on, and needs nothing yet.
    off = load(write(text.replace("true", "false")), {}).config.application.rabbitmq
    assert (off.tls.enabled, off.port) == (False, 5672)


WARNED = """
Application: {gzip: true, cookie_secret: x} => Application.cookie_secret, Application.gzip
HTTPServer: {ssl_options: {}} => HTTPServer.ssl_options (for TLS, set HTTPServer.tls)
Application: {xsrf_cookies: true} => xsrf_cookies
Application: {rabbitmq: {frame_max: 4096}} => RabbitMQ 4.1 and later need
Application: {rabbitmq: {frame_max: 8191}} => RabbitMQ 4.1 and later need
{Application: {log: json}, Logging: {version: 1}} => because there is a section Logging
Routes: [[/x, statelessd.Stats, {}]] => Routes[0]: its third element is ignored
Application: {rabbitmq: {host: a, hosts: [b]}} => rabbitmq.host has no effect
"""


@pytest.mark.parametrize(("text", "warning"), cases(WARNED))
def test_what_has_no_effect_or_an_unexpected_one_is_a_warning(write, text, warning):
    [found] = load(write(text), {}).warnings
    assert warning in found


def cors(origin):
    return f'HTTPServer: {{cors: {{origins: ["*", "{origin}"]}}}}'


BAD_ORIGINS = [
    "", "https://app.example.com/", "https://app.example.com/app", "https://app.example.com?",
    "https://user@app.example.com", "https://*.example.com", "https://bücher.example",
    "https://app.example.com:", "https://app.example.com\\n", "app.example.com",
    "app.example.com:8000", "//app.example.com", "null", "HTTPS://app.example.com:443",
    "http://localhost:80",
]  # fmt: skip
GOOD_ORIGINS = [
    "*", "https://App.example.com", "http://localhost:3000", "http://127.0.0.1",
    "http://[::1]:8080", "https://app.example.com:80", "https://xn--bcher-kva.example",
    "chrome-extension://abcdefgh",
]  # fmt: skip


@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_an_origin_that_no_browser_would_send_is_an_error(write, origin):
    path = write(cors(origin))
    [error] = errors(path)
    assert f"{path}: HTTPServer.cors.origins[1]: " in error


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
def test_an_origin_as_browsers_send_it_is_none(write, origin):
    assert load(write(cors(origin)), {}).config.http_server.cors.origins == ("*", origin)


PROBE = "Application: {rabbitmq: {probe: {username: watch, password: hush-hush}}}"


def test_the_probes_password_is_nowhere_to_be_read(write):
    environment = {"STATELESSD_APPLICATION_RABBITMQ_PROBE_PASSWORD": "hush-2"}
    for loaded in (load(write(PROBE), {}), load(write(PROBE), environment)):
        assert loaded.config.application.rabbitmq.probe.password.startswith("hush")
        printed = print_config(loaded)
        assert "username: watch  # file" in printed
        assert 'password: "\\u2026"' in printed
        assert "hush" not in printed + repr(loaded) + str(loaded.config.application.rabbitmq.probe)


@pytest.mark.parametrize("value", ["[hush-hush]", "4711", f"'{'4711' * 200}'"])
def test_nor_where_it_is_wrong(write, value):
    [error] = errors(write(PROBE.replace("hush-hush", value)))
    assert "Application.rabbitmq.probe.password: must be text" in error
    assert "hush" not in error
    assert "4711" not in error


@pytest.mark.parametrize(
    ("name", "reference"),
    [("configuration.md", document_settings.reference), ("metrics.md", document_metrics.reference)],
)
def test_the_reference_pages_are_up_to_date(pytestconfig, name, reference):
    page = pytestconfig.rootpath / "docs/reference" / name
    assert page.read_text() == reference(), "run: make docs"


SECTION_TYPES = {name: cls for name, (_, cls) in SECTIONS.items()} | {"Webhooks[]": Webhook}
HINTS = {path: hint for name, cls in SECTION_TYPES.items() for path, hint, _ in leaves(cls, name)}


@pytest.mark.parametrize("path", HINTS)
def test_the_example_of_each_setting_is_within_its_bounds(path):
    value = yaml.safe_load(EXAMPLES[path])
    assert msgspec.convert(value, HINTS[path], strict=False) is not None


def test_there_is_no_example_of_another_setting():
    assert set(EXAMPLES) == set(HINTS)


def test_the_examples_are_a_valid_file(write):
    """All at once, without those that need files, and of host and hosts one."""
    document = {}
    for path, text in EXAMPLES.items():
        *sections, name = path.split(".")
        left_out = ("Webhooks[]", "tls", "tracing")
        if not set(left_out) & set(sections) and path != "Application.rabbitmq.host":
            place = document
            for each in sections:
                place = place.setdefault(each, {})
            place[name] = yaml.safe_load(text)
    assert load(write(yaml.safe_dump(document)), {}).config.http_server.pages.listener == 9000


def test_each_setting_has_help_and_a_name_of_its_own_in_the_environment():
    settings = [leaf for section, (_, cls) in SECTIONS.items() for leaf in leaves(cls, section)]
    assert len({environment_name(path) for path, _, _ in settings}) == len(settings)
    for path, hint, _ in settings:
        assert hint.__metadata__[0].description, path


keys = st.sampled_from(
    ["Application", "rabbitmq", "port", "Routes", "HTTPServer", "ports", "Logging", "x"]
)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@given(st.recursive(scalars, lambda c: st.lists(c, max_size=3) | st.dictionaries(keys, c)))
def test_any_document_is_read_or_refused(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        assert isinstance(load(path, {}).config, Config)


HOSTS = "STATELESSD_APPLICATION_RABBITMQ_HOSTS"


def test_each_element_that_is_wrong_is_told(write):
    path = write(
        "Application: {rabbitmq: {hosts: ['amqp://a', '::1', 'a:0', 'a:b', '', a, 'a:5672']}}"
    )
    place = f"{path}: Application.rabbitmq.hosts"
    assert errors(path) == [
        f"{place}[0]: is a URL, not name or name:port; its parts are the settings "
        "Application.rabbitmq.host, Application.rabbitmq.port and, for amqps, "
        "Application.rabbitmq.tls.enabled; each client sends its user, password and virtual host",
        f"{place}[1]: '::1': write an IPv6 address in brackets, as [::1]:5672",
        f"{place}[2]: 'a:0': a port is a number from 1 to 65535",
        f"{place}[3]: 'a:b' is not name, name:port, address:port or [IPv6 address]:port",
        f"{place}[4]: '' is not name, name:port, address:port or [IPv6 address]:port",
        f"{place}: lists a:5672 more than once",
    ]
    [error] = errors(None, {"STATELESSD_HTTPSERVER_PORTS": "70000,unix:/x"})
    assert (
        "STATELESSD_HTTPSERVER_PORTS[0]: must be a port from 1 to 65535, or a Unix socket" in error
    )
    assert errors(None, {HOSTS: "a,b:70000"}) == [
        f"environment: {HOSTS}[1]: 'b:70000': a port is a number from 1 to 65535"
    ]
