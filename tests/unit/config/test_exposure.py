"""The warning about listeners that are open to everybody: when it comes, and what it says."""

import pytest
from certificates import Authority

from statelessd.config.exposure import exposure
from statelessd.config.loader import load

OPEN = [
    "ports: [8000]",  # a file of 2013 says no more
    'address: ""',
    "address: 0.0.0.0",
    'address: "::"',
    "address: 192.0.2.7",
    "address: 10.1.2.3",
    'address: "2001:db8::7"',
    'address: "::ffff:192.0.2.7"',
    'ports: ["unix:/run/x.sock", 8000]',
    "pages: {networks: [0.0.0.0/0]}",
    'pages: {networks: [127.0.0.1, "::/0"]}',
    "pages: {networks: [0.0.0.0/1, 128.0.0.0/1]}",
    "address: 127.0.0.1, pages: {listener: 9000, address: 0.0.0.0}",
    "pages: {listener: 9000}",
    "xheaders: true",
]
CLOSED = [
    "address: 127.0.0.1",
    "address: 127.0.0.2",
    'address: "::1"',
    "address: localhost",
    'address: "::ffff:127.0.0.1"',
    'ports: ["unix:/run/x.sock"]',
    "pages: {networks: [10.0.0.0/8]}",
    "pages: {networks: [127.0.0.1]}, xheaders: true",
    "pages: {listener: 9000, address: 127.0.0.1}",
    'pages: {listener: "unix:/run/x.sock"}',
]


def told(write, settings):
    return exposure(load(write(f"HTTPServer: {{{settings}}}"), {}).config.http_server)


@pytest.mark.parametrize("settings", OPEN)
def test_open_to_everybody(write, settings):
    warning = told(write, settings)
    for words in ("without TLS", "/stats", "HTTPServer.tls", "HTTPServer.pages.networks"):
        assert words in warning


@pytest.mark.parametrize("settings", CLOSED)
def test_not_open_to_everybody(write, settings):
    assert told(write, settings) is None


def test_tls_is_enough(write, tmp_path):
    Authority(tmp_path)
    assert told(write, 'address: "", tls: {certificate: certificate.pem, key: key.pem}') is None


def test_it_names_where_and_the_setting_that_closes_it(write):
    warning = told(write, 'address: "", ports: [8000, 8001, "unix:/run/x.sock"]')
    assert "(all interfaces, port 8000, 8001)" in warning
    assert warning.startswith("HTTPServer.address: ")
    assert "set HTTPServer.address: 127.0.0.1" in warning
    warning = told(write, "ports: [8000], pages: {listener: 9000, address: 192.0.2.7}")
    assert "(192.0.2.7, port 9000)" in warning
    assert "set HTTPServer.pages.address: 127.0.0.1" in warning


def test_the_addresses_that_are_listened_on_count(write):
    """systemd's sockets have their own."""
    settings = load(write('HTTPServer: {address: ""}'), {}).config.http_server
    assert exposure(settings, {8000: ["127.0.0.1", "::1"]}) is None
    warning = exposure(settings, {8000: ["0.0.0.0", "::"]})
    assert "(all interfaces, port 8000)" in warning
    assert "ListenStream" in warning  # HTTPServer.address does not close them


def test_without_a_file_nothing_is_open():
    assert exposure(load(None, {}).config.http_server) is None
    everywhere = {"STATELESSD_HTTPSERVER_ADDRESS": ""}
    assert exposure(load(None, everywhere).config.http_server) is not None
