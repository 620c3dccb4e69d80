"""Checks of settings that need more than the type and bounds of one setting."""

import importlib.util
import ipaddress
import os
import posixpath
import re
from collections.abc import Callable, Container, Iterator, Sequence
from urllib.parse import urlsplit

from ..tls import client
from ..tls import server as server_tls
from ..tls.files import TlsError
from .header_names import wrong_with_names
from .hosts import Host, is_url, parse, wrong_with_host
from .http_server import Cors, HTTPServer, Listener
from .settings import BrokerTls, Config, RabbitMQ, Tracing
from .webhook_checks import doubtful_webhooks
from .wording import Wrong

ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", re.IGNORECASE | re.ASCII
)
NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.IGNORECASE | re.ASCII)
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
UNIX_PATH_BYTES = 107  # sun_path of unix(7), without the NUL at its end

LEAST_FRAME_MAX = 8192  # bytes, of RabbitMQ from 4.1 on
HOST, HOSTS = "Application.rabbitmq.host", "Application.rabbitmq.hosts"
PARTS_OF_URL = (
    "its parts are the settings Application.rabbitmq.host, Application.rabbitmq.port and, for "
    "amqps, Application.rabbitmq.tls.enabled; each client sends its user, password and virtual host"
)
PARTS_OF_NODE = f"is a URL, not name or name:port; {PARTS_OF_URL}"


def wrong_with(config: Config, given: Container[str]) -> Iterator[Wrong]:
    """Yield all that is wrong with settings of the right types. ``given`` are those set."""
    server, broker = config.http_server, config.application.rabbitmq
    yield from _listeners(server)
    yield from _networks("HTTPServer.trusted_proxies", server.trusted_proxies)
    yield from _networks("HTTPServer.pages.networks", server.pages.networks)
    yield from _own_names(server.hosts)
    yield from _origins(server.cors)
    yield from _names(config)
    yield from _hosts(broker)
    yield from _forwarded(config.application.publish.forward_headers)
    if broker.probe.password and not broker.probe.username:
        yield "Application.rabbitmq.probe.password", "", "has no effect without a username"
    enabled = f"{client.SECTION}.enabled"
    if enabled not in given and broker.tls != BrokerTls():
        # Plain text would be the opposite of what the other settings ask for.
        yield enabled, "", "is required beside other settings of TLS: true or false"
    yield from _tracing(config.application.tracing)
    # Loading checks the files. They are loaded again where they are used.
    yield from _tls(lambda: server_tls.check(server.tls))
    if broker.tls.enabled and not _wrong_with_server_name(broker.tls.server_name):
        yield from _tls(lambda: client.make_context(broker.tls))


def warnings_of(config: Config, given: Container[str]) -> Iterator[str]:
    """Yield warnings about valid settings that may not do what the user expects."""
    application = config.application
    if config.logging is not None and application.log != "auto":
        yield "Application.log has no effect, because there is a section Logging."
    if application.xsrf_cookies:
        yield (
            "Application.xsrf_cookies: publishes with neither Origin nor Sec-Fetch-Site are "
            "refused. Browsers send one of them; curl and PHP send neither."
        )
    if application.rabbitmq.frame_max < LEAST_FRAME_MAX:
        yield (
            f"Application.rabbitmq.frame_max: RabbitMQ 4.1 and later need {LEAST_FRAME_MAX} bytes; "
            "with them, that is used instead."
        )
    if application.rabbitmq.hosts and "Application.rabbitmq.host" in given:
        yield f"Application.rabbitmq.host has no effect, because {HOSTS} is set."
    yield from doubtful_webhooks(config)


def _tracing(tracing: Tracing) -> Iterator[Wrong]:
    if tracing.endpoint is not None and (what := wrong_with_endpoint(tracing.endpoint)):
        yield "Application.tracing.endpoint", "", what
    if tracing.enabled:
        for package in ("sdk", "exporter.otlp.proto.http"):
            try:
                found = importlib.util.find_spec(f"opentelemetry.{package}")
            except ImportError:  # a package above it is missing
                found = None
            if found is None:
                what = (
                    "needs OpenTelemetry, which is not installed: install statelessd from its "
                    "checkout or wheel with the extra otel, as in: pip install '.[otel]'"
                )
                yield "Application.tracing.enabled", "", what
                return


def wrong_with_endpoint(endpoint: str) -> str:
    """Return what is wrong, "" if nothing. The URL is not quoted, as it may have a password."""
    try:
        url = urlsplit(endpoint)
        is_url = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_url = False
    if not is_url or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        return "is not a URL such as http://localhost:4318"
    if url.username is not None or url.query or url.fragment:
        return (
            "must have no user, password, query or fragment: a secret belongs in a header, in "
            "the variable OTEL_EXPORTER_OTLP_HEADERS"
        )
    return ""


def _forwarded(names: Sequence[str]) -> Iterator[Wrong]:
    for i, what in wrong_with_names(names):
        yield "Application.publish.forward_headers", f"[{i}]", what


def _names(config: Config) -> Iterator[Wrong]:
    """Yield names and addresses that are not one, such as URLs."""
    server, broker = config.http_server, config.application.rabbitmq
    port = f"set Application.rabbitmq.port, or use {HOSTS}"
    if what := wrong_with_host(broker.host, PARTS_OF_URL, port):
        yield HOST, "", what
    if what := _wrong_with_server_name(broker.tls.server_name):
        yield f"{client.SECTION}.server_name", "", what
    for setting, address, ports in (
        ("HTTPServer.address", server.address, "HTTPServer.ports"),
        ("HTTPServer.pages.address", server.pages.address, "HTTPServer.pages.listener"),
    ):
        if address == "*":
            yield setting, "", 'must be "" for all interfaces, not *'
        elif address:
            hint = f"write the address alone, because ports are in {ports}"
            if what := wrong_with_host(address, hint, hint):
                yield setting, "", what


def _wrong_with_server_name(name: str | None) -> str:
    hint = "write the name alone, as it is in the certificate"
    return "" if name is None else wrong_with_host(name, hint, hint)


def _hosts(broker: RabbitMQ) -> Iterator[Wrong]:
    known: set[Host] = set()
    for i, text in enumerate(broker.hosts):
        try:
            host = parse(text, broker.port)
        except ValueError as error:
            yield HOSTS, f"[{i}]", PARTS_OF_NODE if is_url(text) else f"{error}"
            continue
        if host in known:
            yield HOSTS, "", f"lists {host} more than once"
        known.add(host)


def _tls(check: Callable[[], object]) -> Iterator[Wrong]:
    try:
        check()
    except TlsError as error:
        yield error.setting, "", error.reason


def _listeners(server: HTTPServer) -> Iterator[Wrong]:
    ports, pages = server.ports, server.pages
    known: set[Listener] = set()
    for listener in ports:
        if _normal(listener) in known:
            yield "HTTPServer.ports", "", f"lists {listener} more than once"
        known.add(_normal(listener))
        yield from _path("HTTPServer.ports", listener)
    if pages.listener is not None:
        if _normal(pages.listener) in known:
            yield "HTTPServer.pages.listener", "", f"{pages.listener} is one of HTTPServer.ports"
        yield from _path("HTTPServer.pages.listener", pages.listener)
    if pages.address is not None and not isinstance(pages.listener, int):
        # It is set to hide the pages, and without a port it would not do so.
        what = "has no effect unless HTTPServer.pages.listener is a port"
        yield "HTTPServer.pages.address", "", what


def _normal(listener: Listener) -> Listener:
    """Return the listener as it is compared: /run/x and /run//x are one path."""
    if isinstance(listener, int):
        return listener
    # POSIX leaves the meaning of two slashes at the start to the system; to Linux they are one.
    return "unix:" + posixpath.normpath("/" + listener.removeprefix("unix:").lstrip("/"))


def _path(setting: str, listener: Listener) -> Iterator[Wrong]:
    path = str(listener).removeprefix("unix:")
    if len(os.fsencode(path)) > UNIX_PATH_BYTES:
        yield setting, "", f"{path} is longer than {UNIX_PATH_BYTES} bytes"


def _networks(setting: str, networks: Sequence[str]) -> Iterator[Wrong]:
    for i, network in enumerate(networks):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            what = "is not a network such as 10.0.0.0/8, or an address"
            yield setting, f"[{i}]", what if is_url(network) else f"{network!r} {what}"


def _own_names(hosts: Sequence[str]) -> Iterator[Wrong]:
    for i, host in enumerate(hosts):
        if not NAME.fullmatch(host):
            yield "HTTPServer.hosts", f"[{i}]", f"{host!r} is not a host name without a port"


def _origins(cors: Cors) -> Iterator[Wrong]:
    """Yield the origins that no browser sends, and so would never match."""
    for i, origin in enumerate(cors.origins):
        found, wrong = ORIGIN.fullmatch(origin), ""
        if found is None and origin != "*":
            wrong = "is not an origin: write scheme, host in ASCII and, if needed, port; no path"
        elif found and found[2] and found[2] == DEFAULT_PORTS.get(found[1].lower()):
            wrong = f"has the default port of {found[1]}, which browsers leave out"
        if wrong:
            # A user and a password may be in front of an @.
            text = wrong if "@" in origin else f"{origin!r} {wrong}"
            yield "HTTPServer.cors.origins", f"[{i}]", text
